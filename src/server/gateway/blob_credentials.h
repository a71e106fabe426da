// Short-lived rights to download: one host, the blobs of one manifest, five minutes.
//
// `gsd_<base64url payload>_<base64url HMAC-SHA256>`; the key is random and lives with the process, so a restart voids
// them all (agents ask again). The digests of a manifest are remembered here for as long as a credential for it lives.
// Loop thread only. Limit: the 4,096 manifests that were used last.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/secret.h"

namespace gs {

class BlobCredentials {
 public:
  explicit BlobCredentials(const Clock& clock, Millis lifetime = std::chrono::minutes(5));

  struct Issued {
    SecretString credential;
    WallTime expiresAt{};
  };
  // `manifest`: canonical JSON. kInternal when it cannot be read. Repeat: another credential, the old ones stay good.
  [[nodiscard]] Result<Issued> issue(const HostId& host, const std::string& manifest);
  // kUnauthenticated: not ours, of another host, or (reason credential_expired) too old. kPermissionDenied: a blob that
  // the manifest does not name.
  [[nodiscard]] Status check(std::string_view credential, const HostId& host, const Digest& blob);

 private:
  struct Known {
    std::vector<Digest> blobs;  // sorted
    WallTime until{};
  };
  void forgetOld();

  const Clock& clock_;
  Millis lifetime_;
  SecretString key_;
  std::unordered_map<Digest, Known> known_;
};

}  // namespace gs
