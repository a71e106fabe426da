#include "net/tls_stream.h"

namespace gs {
Task<Result<std::unique_ptr<Connection>>> acceptTls(Socket, std::shared_ptr<TlsServerContext>, Deadline) {
  co_return fail(ErrorCode::kUnimplemented, "TLS");
}
Task<Result<std::unique_ptr<Connection>>> connectTls(Socket, std::shared_ptr<TlsClientContext>, std::string, Deadline) {
  co_return fail(ErrorCode::kUnimplemented, "TLS");
}
}
