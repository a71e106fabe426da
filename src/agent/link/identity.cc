#include "agent/link/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs {
namespace {

// Written beside the target, flushed, renamed over it, folder flushed: a crash leaves the old file or the new one.
Status replaceFile(const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail(errnoError(errno, "writing " + temporary));
  std::size_t done = 0;
  int failure = 0;
  while (done < bytes.size() && failure == 0) {
    const ssize_t wrote = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (wrote < 0) {
      failure = errno;
    } else {
      done += static_cast<std::size_t>(wrote);
    }
  }
  if (failure == 0 && ::fsync(fd) != 0) failure = errno;
  ::close(fd);
  if (failure == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) failure = errno;
  if (failure != 0) {
    ::unlink(temporary.c_str());
    return fail(errnoError(failure, "writing " + path));
  }
  const int folder = ::open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

Result<std::string> readFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorCode::kDataLoss, path + " is missing or cannot be read");
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

}  // namespace

Result<HostIdentity> loadIdentity(const AgentPaths& paths) {
  if (!std::filesystem::exists(paths.hostFile())) {
    return fail(makeError(ErrorCode::kNotFound, "this host is not enrolled")
                    .withFix("run: gstacks-agent enroll --server https://HOST:8443 --token-file FILE"));
  }
  HostIdentity out;
  GS_TRY(const auto text, readFile(paths.hostFile()));
  GS_TRY(const auto json, parseJson(text));
  GS_TRY(const auto hostId, getString(json, "hostId"));
  GS_TRY(out.hostId, HostId::parse(hostId));
  GS_TRY(const auto clusterId, getString(json, "clusterId"));
  GS_TRY(out.clusterId, ClusterId::parse(clusterId));
  GS_TRY(out.hostName, getString(json, "hostName"));
  GS_TRY(out.serverUrl, getString(json, "serverUrl"));
  GS_TRY(const auto pair, readFile(paths.credentialFile()));
  const auto split = pair.find("-----BEGIN CERTIFICATE-----");
  if (split == std::string::npos || split == 0) {
    return fail(ErrorCode::kDataLoss, paths.credentialFile() + " does not hold a key and a certificate");
  }
  out.keyPem = SecretString(pair.substr(0, split));
  out.certificatePem = pair.substr(split);
  GS_TRY(out.caPem, readFile(paths.caFile()));
  return out;
}

Status saveRenewed(const AgentPaths& paths, const HostIdentity& identity) {
  GS_CHECK(replaceFile(paths.caFile(), identity.caPem));
  return replaceFile(paths.credentialFile(), std::string(identity.keyPem.reveal()) + identity.certificatePem);
}

Status saveIdentity(const AgentPaths& paths, const HostIdentity& identity) {
  GS_CHECK(saveRenewed(paths, identity));
  const Json json{{"hostId", identity.hostId.text()},
                  {"clusterId", identity.clusterId.text()},
                  {"hostName", identity.hostName},
                  {"serverUrl", identity.serverUrl}};
  return replaceFile(paths.hostFile(), json.dump(2) + "\n");
}

Result<HttpEndpoint> endpointOf(const HostIdentity& identity) {
  GS_TRY(auto endpoint, HttpEndpoint::parse(identity.serverUrl));
  TlsClientSettings settings;
  settings.caPem = identity.caPem;
  settings.certificatePem = identity.certificatePem;
  settings.privateKeyPem = identity.keyPem;
  GS_TRY(endpoint.tls, makeTlsClientContext(settings));
  return endpoint;
}

}  // namespace gs
