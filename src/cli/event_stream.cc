#include "cli/event_stream.h"

#include <charconv>

namespace gs::cli {
namespace {

constexpr std::size_t kMaxLine = 1U << 20U;
constexpr std::int64_t kLongestRetryMs = 60'000;

}  // namespace

void EventStreamParser::takeLine(std::string_view line) {
  const auto colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "id") {
    pendingId_ = value;
  } else if (field == "event") {
    name_ = value;
  } else if (field == "data") {
    if (hasData_) data_ += '\n';
    data_ += value;
    hasData_ = true;
  } else if (field == "retry") {
    std::int64_t wanted = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), wanted);
    if (error == std::errc{} && end == value.data() + value.size() && wanted >= 0) {
      retry_ = Millis(std::min(wanted, kLongestRetryMs));
    }
  }
}

Status EventStreamParser::feed(std::string_view piece, const std::function<void(const StreamEvent&)>& take) {
  while (!piece.empty()) {
    const auto end = piece.find('\n');
    line_ += piece.substr(0, end);
    if (line_.size() > kMaxLine) return fail(ErrorCode::kInvalidArgument, "the server sent a line without an end");
    if (end == std::string_view::npos) return {};
    piece.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    if (!line_.empty()) {
      takeLine(line_);
    } else {
      // An empty line ends the event; one without data only moves the position.
      lastId_ = pendingId_;
      if (hasData_) take({lastId_, name_, data_});
      name_.clear();
      data_.clear();
      hasData_ = false;
    }
    line_.clear();
  }
  return {};
}

void EventStreamParser::reset() {
  line_.clear();
  name_.clear();
  data_.clear();
  hasData_ = false;
  pendingId_ = lastId_;
}

}  // namespace gs::cli
