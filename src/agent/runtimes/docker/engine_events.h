// The stream of GET /events, cut into lines and read as sandbox ids.
//
// Lines are bounded: an image's author chooses labels that the engine repeats in every event. A line that is too long
// or makes no sense ends the watch rather than being skipped, because a missed change would go unseen; its owner lists
// and watches again. Loop thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/runtimes/runtime.h"
#include "net/http_message.h"

namespace gs {

inline constexpr std::size_t kMaxEventBytes = 8 * 1024 * 1024;

// The sandbox that an event is about; nothing when it is about a container that is not ours. Pure.
[[nodiscard]] Result<std::optional<SandboxId>> parseEngineEvent(std::string_view line);

class EngineWatch final : public RuntimeWatch {
 public:
  explicit EngineWatch(std::unique_ptr<BodyReader> stream) : stream_(std::move(stream)) {}
  [[nodiscard]] Task<Result<SandboxId>> next() override;

 private:
  std::unique_ptr<BodyReader> stream_;
  std::string buffer_;
  std::size_t searched_ = 0;  // bytes of buffer_ known to hold no end of line
};

}  // namespace gs
