// Turns a provisioning token into a host identity, and keeps the certificate fresh afterwards.
//
// The token's pin is checked against the CA that the server sends before the token itself is sent. Enrollment burns a
// use of the token and is not repeated by itself: a failure after the server answered is reported with the host id that
// was made. Loop thread only.
#pragma once

#include "agent/link/identity.h"
#include "wire/messages.h"

namespace gs {

struct ProvisioningToken {
  SecretString text;
  std::string caSpkiSha256;  // raw 32 bytes
};
// kInvalidArgument with the expected form; never echoes the text.
[[nodiscard]] Result<ProvisioningToken> parseProvisioningToken(std::string_view text);

// kUnauthenticated: the server's CA is not the pinned one (reason tls_pin_mismatch), or the token is refused (the
// server's reason: token_expired, …). Errors of the server are passed on with their fix.
[[nodiscard]] Task<Result<HostIdentity>> enrollHost(Executor executor, std::string serverUrl, ProvisioningToken token,
                                                    std::string hostName, HostFacts facts);

// A fresh key and certificate for the same host. kPermissionDenied: revoked or removed.
[[nodiscard]] Task<Result<HostIdentity>> renewIdentity(Executor executor, HostIdentity identity);

// When to renew: a third of the certificate's life before its end, by the server's clock.
[[nodiscard]] Result<WallTime> renewalTime(const HostIdentity& identity);

}  // namespace gs
