// Where the blueprint cache gets bytes from; implemented by the link over BlobCredentialRequest and HTTPS.
//
// Nothing that comes through here is believed: the cache checks every byte against the digest that the assignment
// named. Loop thread only; outlives the cache's calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "async/deadline.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/secret.h"
#include "net/http_message.h"

namespace gs {

// The right to download the blobs of one blueprint version, for a few minutes.
struct BlobGrant {
  std::string manifest;  // canonical JSON, at most kMaxManifestBytes
  SecretString credential;
  WallTime expiresAt{};
};

struct BlobStream {
  std::unique_ptr<BodyReader> body;        // destroying it before its end drops the transfer
  std::optional<std::uint64_t> sizeBytes;  // what the sender announced
};

class BlobSource {
 public:
  virtual ~BlobSource() = default;

  // Repeat: a fresh credential. kNotFound: no assignment of this host names the digest. kUnavailable: no link.
  [[nodiscard]] virtual Task<Result<BlobGrant>> requestCredential(Digest manifest, Deadline deadline) = 0;

  // Opens the transfer of one blob; the deadline is for the opening. Repeat: from the beginning again. kUnauthenticated
  // or kPermissionDenied: the credential is not (any more) good for this blob; the cache asks for another one once.
  // kNotFound: the server has no such blob. kUnavailable: no connection.
  [[nodiscard]] virtual Task<Result<BlobStream>> openBlob(Digest blob, SecretString credential, Deadline deadline) = 0;
};

}  // namespace gs
