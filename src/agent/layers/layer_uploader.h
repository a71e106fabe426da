// How a taken layer gets to the control plane: in one or several goes, each from where the last one ended.
//
// Apart from LayerArchiver, so that taking layers does not depend on how they travel; see link/link_layer_uploader.h.
// For both calls: repeat is safe. kFailedPrecondition (reason not_archiving): the control plane does not want this layer
// (any more). kResourceExhausted: it has no room. kDataLoss: the bytes did not have the digest; it begins anew.
// kUnavailable, kDeadlineExceeded: not known how far it got; ask again. Cancel: what arrived, arrived.
#pragma once

#include <memory>

#include "async/deadline.h"
#include "base/digest.h"
#include "net/http_message.h"
#include "wire/sandbox_types.h"

namespace gs {

struct LayerOffer {
  SandboxId sandboxId;
  std::uint64_t generation = 0;  // in which the sandbox is to be archived
  Digest digest;
  std::uint64_t sizeBytes = 0;
};

struct UploadState {
  std::uint64_t offset = 0;  // bytes that it has
  bool complete = false;     // all of them, checked and durable
};

class LayerUploader {
 public:
  virtual ~LayerUploader() = default;
  [[nodiscard]] virtual Task<Result<UploadState>> ask(LayerOffer offer, Deadline deadline) = 0;
  // `rest`: the bytes from `offset` on, of known size.
  [[nodiscard]] virtual Task<Result<UploadState>> send(LayerOffer offer, std::uint64_t offset, std::unique_ptr<BodySource> rest,
                                                       Deadline deadline) = 0;
};

}  // namespace gs
