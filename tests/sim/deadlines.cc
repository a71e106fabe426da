#include "deadlines.h"

namespace gs::sim {
namespace {

// The server counts in whole milliseconds.
constexpr Millis kRounding{2};

}  // namespace

std::size_t Deadlines::asked(const std::string& name, Change change) {
  auto& changes = boxes_[name].changes;
  changes.push_back({change, now()});
  return changes.size() - 1;
}

void Deadlines::answered(const std::string& name, std::size_t change) {
  auto& box = boxes_[name];
  // A change counts as use, too.
  box.lastUse = std::max(box.lastUse, box.changes[change].at);
  if (restored_) return;
  for (std::size_t i = 0; i < change; ++i) {
    auto& earlier = box.changes[i].change;
    if (box.changes[change].change.ttl) earlier.ttl.reset();
    if (box.changes[change].change.idle) earlier.idle.reset();
  }
}

void Deadlines::serverDied() {
  for (auto& [name, box] : boxes_) box.session.reset();
}

void Deadlines::databaseRestored() {
  restored_ = true;
  for (auto& [name, box] : boxes_) box.lastUse = Millis(0);
}

std::string Deadlines::whyNotExpired(const std::string& name, WallTime at) const {
  if (restored_) return "";
  const auto look = looks_.find(at);
  if (look == looks_.end()) return "the server did not look then";
  const auto found = look->second.boxes.find(name);
  if (found == look->second.boxes.end()) return "nobody knows it";
  const bool due = std::ranges::any_of(found->second.changes, [&](const Asked& asked) {
    return asked.change.ttl && *asked.change.ttl != Seconds(0) && look->second.now + kRounding >= asked.at + *asked.change.ttl;
  });
  return due ? "" : "no expiry of it is due";
}

std::string Deadlines::whyNotIdle(const std::string& name, WallTime at) const {
  if (restored_) return "";
  const auto look = looks_.find(at);
  if (look == looks_.end()) return "the server did not look then";
  const auto found = look->second.boxes.find(name);
  if (found == look->second.boxes.end()) return "nobody knows it";
  const auto& box = found->second;
  if (box.session) return "it has a session";
  std::optional<Millis> shortest;
  for (const auto& asked : box.changes) {
    const auto& idle = asked.change.idle;
    if (!idle || *idle == Seconds(0) || look->second.now + kRounding < asked.at + *idle) continue;
    if (!shortest || Millis(*idle) < *shortest) shortest = *idle;
  }
  if (!shortest) return "no idle stop of it is due";
  if (look->second.now + kRounding < box.lastUse + *shortest) return fmt::format("it was used {} ms before", (look->second.now - box.lastUse).count());
  return "";
}

}  // namespace gs::sim
