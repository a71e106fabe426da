#include "agent/sandboxes/link_outage.h"

#include <charconv>

namespace gs {
namespace {

constexpr const char* kKey = "link_outage";

std::int64_t monotonicMs(const Clock& clock) {
  return std::chrono::duration_cast<Millis>(clock.steadyNow().time_since_epoch()).count();
}

// "<boot id> <monotonic ms> <wall ms> <ms that it had lasted, or -1: there was a link>"
struct Memory {
  std::string bootId;
  std::int64_t monotonicMs = 0;
  std::int64_t wallMs = 0;
  std::int64_t downMs = 0;
};

std::optional<Memory> parse(std::string_view text) {
  Memory out;
  const auto space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  out.bootId = text.substr(0, space);
  text.remove_prefix(space);
  for (std::int64_t* number : {&out.monotonicMs, &out.wallMs, &out.downMs}) {
    if (text.empty()) return std::nullopt;
    text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  }
  return out;
}

}  // namespace

LinkOutage::LinkOutage(Journal& journal, const Clock& clock, std::string bootId)
    : journal_(journal), clock_(clock), bootId_(std::move(bootId)), downSince_(clock.steadyNow()) {}

Task<Status> LinkOutage::recover() {
  GS_CO_TRY(const auto text, co_await journal_.readValue(kKey));
  const auto memory = parse(text);
  if (!memory) co_return Status();
  const bool sameBoot = memory->bootId == bootId_;
  const Millis since(sameBoot ? monotonicMs(clock_) - memory->monotonicMs : toUnixMillis(clock_.wallNow()) - memory->wallMs);
  // With a link at the last word, the outage may have begun as late as the next word was due.
  const Millis known = memory->downMs >= 0 ? Millis(memory->downMs) : -kRememberEvery;
  before_ = std::max(Millis(0), std::max(Millis(0), since) + known);
  downSince_ = clock_.steadyNow();
  co_return Status();
}

void LinkOutage::linkUp() { downSince_.reset(); }

void LinkOutage::linkDown() {
  if (downSince_) return;
  downSince_ = clock_.steadyNow();
  before_ = Millis(0);
}

std::optional<Millis> LinkOutage::downFor() const {
  if (!downSince_) return std::nullopt;
  return before_ + std::chrono::duration_cast<Millis>(clock_.steadyNow() - *downSince_);
}

Task<Status> LinkOutage::remember() {
  const auto down = downFor();
  co_return co_await journal_.writeValue(kKey, fmt::format("{} {} {} {}", bootId_, monotonicMs(clock_), toUnixMillis(clock_.wallNow()),
                                                           down ? down->count() : -1));
}

}  // namespace gs
