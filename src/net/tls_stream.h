// TLS 1.3 over a socket. Internal to src/net.
//
// OpenSSL works on the descriptor itself instead of through asio::ssl::stream, whose BIO pair and buffers hold 68 KiB
// for every connection, idle or not: with release-buffers mode an idle connection here holds about 10 KiB.
#pragma once

#include "net/connection.h"

namespace gs {

// Both own the socket until they return. A failed handshake is kUnauthenticated with a reason ("tls_pin_mismatch",
// "tls_untrusted", "tls_host_mismatch", "tls_certificate_time", "tls_handshake_failed"), or kUnavailable when the
// connection broke.
[[nodiscard]] Task<Result<std::unique_ptr<Connection>>> acceptTls(Socket socket,
                                                                  std::shared_ptr<TlsServerContext> context,
                                                                  Deadline deadline);
[[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connectTls(Socket socket,
                                                                   std::shared_ptr<TlsClientContext> context,
                                                                   std::string host, Deadline deadline);

}  // namespace gs
