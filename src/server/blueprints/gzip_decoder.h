// Incremental gzip (RFC 1952), several members one after the other included: some image builders write one a file.
//
// Bounded by its caller: the sink is given at most 256 KiB at a time and may stop it. Any thread; one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace gs {

class GzipDecoder {
 public:
  using Sink = std::function<Status(std::string_view)>;
  GzipDecoder();
  ~GzipDecoder();

  // kInvalidArgument when it is no gzip or its checksum is wrong; the sink's error as it is.
  [[nodiscard]] Status feed(std::string_view bytes, const Sink& sink);
  // kInvalidArgument (reason archive_truncated) when a member has not ended.
  [[nodiscard]] Status finish() const;

  [[nodiscard]] static bool looksLike(std::string_view head) { return head.starts_with("\x1f\x8b"); }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gs
