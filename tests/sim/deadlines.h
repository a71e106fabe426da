// Expiries, idle stops and uses as the users of the world know them, and the earliest moment at which the server may act.
//
// Measured by the simulated time and the jumps forward of the server's clock, not by what the server has on record. A
// change that was not answered may or may not have been made: then what was asked before counts on beside it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "simulation.h"

namespace gs::sim {

class Deadlines {
 public:
  explicit Deadlines(Simulation& simulation) : simulation_(simulation) {}

  // Sandboxes go by their names here: that of one whose creation was not answered is all that its user knows.
  struct Change {
    std::optional<Seconds> ttl{};   // 0: never
    std::optional<Seconds> idle{};  // 0: never
  };
  // Before the request; `answered` with what came back, when it was success.
  [[nodiscard]] std::size_t asked(const std::string& name, Change change);
  void answered(const std::string& name, std::size_t change);
  // Of the server's wall clock, but never back.
  [[nodiscard]] Millis now() const { return Millis(simulation_.machine.nanoseconds() / 1'000'000) + jumped_; }
  // The server has it on record that it was used then.
  void used(const std::string& name, Millis at) { boxes_[name].lastUse = std::max(boxes_[name].lastUse, at); }
  void sessionBegan(const std::string& name) { boxes_[name].session = now(); }
  void sessionEnded(const std::string& name) { boxes_[name].session.reset(); }
  void serverDied();
  void serverClockJumped(Millis by) { jumped_ += std::max(by, Millis(0)); }
  // The server's database was replaced by an older copy: every change that was ever made may be the present one.
  void databaseRestored();

  // The server looks what is due, at this moment of its own clock, by which it dates what it wishes then.
  void serverLooks(WallTime at) { looks_.insert_or_assign(at, Look{now(), boxes_}); }
  // Empty: the server may delete it as expired, or stop it as idle, when it looked at that moment. Otherwise why not.
  [[nodiscard]] std::string whyNotExpired(const std::string& name, WallTime at) const;
  [[nodiscard]] std::string whyNotIdle(const std::string& name, WallTime at) const;

 private:
  struct Asked {
    Change change;
    Millis at{0};
  };
  struct Box {
    std::vector<Asked> changes;
    Millis lastUse{0};
    std::optional<Millis> session;
  };

  struct Look {
    Millis now;
    std::map<std::string, Box> boxes;
  };

  Simulation& simulation_;
  Millis jumped_{0};
  std::map<WallTime, Look> looks_;
  bool restored_ = false;
  std::map<std::string, Box> boxes_;
};

}  // namespace gs::sim
