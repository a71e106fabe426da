// The seam through which the blueprint cache puts images into a container runtime, and looks whether they are there.
//
// Apart from Runtime, because a runtime that starts from files (LXC, QEMU) has none, and because the supervisor has no
// business here. There is no pull, by design: what is not handed over by load() does not come from anywhere.
// Repeat, no answer and cancel: as in runtime.h.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "async/deadline.h"
#include "base/digest.h"
#include "net/http_message.h"

namespace gs {

class ContainerImageLoader {
 public:
  virtual ~ContainerImageLoader() = default;

  // "docker": what CacheHandle::runtime is set to.
  [[nodiscard]] virtual std::string_view runtimeName() const = 0;

  // The id of the image that the local reference names: the digest of its config. Nothing when the runtime answered
  // that there is none. kUnavailable, kDeadlineExceeded: not known.
  [[nodiscard]] virtual Task<Result<std::optional<Digest>>> findImage(std::string reference, Deadline deadline) = 0;

  // Hands over an archive in the form of `docker save`, with its tags. Repeat: the same image again. The archive's own
  // error (BodySource::next) cuts the transfer, nothing is kept, and the call fails; the caller knows its own error.
  // Bytes that the runtime refuses as an image: kDataLoss. Full disk there: kResourceExhausted.
  [[nodiscard]] virtual Task<Status> load(std::unique_ptr<BodySource> archive, Deadline deadline) = 0;

  // Takes the reference away, and the image with it when nothing else uses it. Unknown: success. In use by a
  // container: kFailedPrecondition.
  [[nodiscard]] virtual Task<Status> removeImage(std::string reference, Deadline deadline) = 0;
};

}  // namespace gs
