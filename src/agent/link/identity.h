// Who this host is to its control plane: ids, server, key, certificate and trust anchors, as files under identity/.
//
// host.json is written last at enrollment and is the sign of being enrolled. Files are replaced by rename, so a crash
// leaves the old or the new one. The key never leaves the host. Blocking; small.
#pragma once

#include <string>

#include "agent/core/agent_paths.h"
#include "base/ids.h"
#include "base/secret.h"
#include "net/http_client.h"

namespace gs {

struct HostIdentity {
  HostId hostId;
  ClusterId clusterId;
  std::string hostName;
  std::string serverUrl;  // https://host:port
  SecretString keyPem;
  std::string certificatePem;
  std::string caPem;
};

// kNotFound (with the fix: how to enroll) when the host is not enrolled; kDataLoss when files are damaged or missing.
[[nodiscard]] Result<HostIdentity> loadIdentity(const AgentPaths& paths);
[[nodiscard]] Status saveIdentity(const AgentPaths& paths, const HostIdentity& identity);
// After a renewal. Key and certificate are one file, so that the pair changes in one rename.
[[nodiscard]] Status saveRenewed(const AgentPaths& paths, const HostIdentity& identity);

// The endpoint with this identity's certificate and trust.
[[nodiscard]] Result<HttpEndpoint> endpointOf(const HostIdentity& identity);

}  // namespace gs
