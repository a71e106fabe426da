#include "agent/runtimes/docker/engine_events.h"

#include <nlohmann/json.hpp>

#include "agent/runtimes/docker/container_config.h"
#include "base/json.h"

namespace gs {

Result<std::optional<SandboxId>> parseEngineEvent(std::string_view line) {
  GS_TRY(const auto json, parseJson(line));
  const auto pointer = Json::json_pointer("/Actor/Attributes");
  if (!json.is_object() || !json.contains(pointer)) return std::optional<SandboxId>();
  const auto& attributes = json[pointer];
  GS_TRY(const auto text, findString(attributes, kLabelSandbox));
  GS_TRY(const auto name, findString(attributes, "name"));
  if (!text || !name) return std::optional<SandboxId>();
  auto id = SandboxId::parse(*text);
  // The label alone proves nothing: an image may carry it, and then every container made from that image does.
  if (!id || *name != containerName(*id)) return std::optional<SandboxId>();
  return std::optional(std::move(*id));
}

Task<Result<SandboxId>> EngineWatch::next() {
  while (true) {
    const auto end = buffer_.find('\n', searched_);
    if (end == std::string::npos) {
      searched_ = buffer_.size();
      if (buffer_.size() > kMaxEventBytes) co_return fail(ErrorCode::kUnavailable, "an event of Docker is too long");
      GS_CO_TRY(const auto piece, co_await stream_->next());
      if (piece.empty()) co_return fail(ErrorCode::kUnavailable, "Docker ended its stream of events");
      buffer_ += piece;
      continue;
    }
    const auto line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    searched_ = 0;
    if (line.find_first_not_of(" \r") == std::string::npos) continue;
    auto id = parseEngineEvent(line);
    if (!id) co_return fail(ErrorCode::kUnavailable, "an event of Docker makes no sense: " + id.error().message);
    if (*id) co_return std::move(**id);
  }
}

}  // namespace gs
