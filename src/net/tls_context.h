// The two TLS contexts as this module's sources see them, and the judgement about a server's chain. Internal to
// src/net.
#pragma once

#include <optional>
#include <string>

#include "net/openssl.h"

namespace gs {

class TlsServerContext {
 public:
  SslCtxPtr ssl;
};

class TlsClientContext {
 public:
  SslCtxPtr ssl;
  X509StorePtr authorities;  // none: the pin decides
  std::string pin;
};

// What a client's handshake expects, and why it was refused. Hangs on the SSL as its app data and outlives it.
struct TlsExpectation {
  const TlsClientContext* context = nullptr;
  std::string host;
  std::optional<Error> refused;
};

}  // namespace gs
