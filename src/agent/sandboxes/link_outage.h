// For how long the control plane has been out of reach, also over restarts of the agent.
//
// While the agent runs, and within one boot of the host, by the monotonic clock; over a reboot by the wall clock, and one
// that went back counts as no time. All doubts are for a shorter outage, which keeps sandboxes running. Loop thread only;
// journal and clock must outlive it. Restart: what was last known is in the journal, at most kRememberEvery old.
#pragma once

#include <optional>
#include <string>

#include "agent/sandboxes/journal.h"
#include "base/clock.h"

namespace gs {

class LinkOutage {
 public:
  // How often remember() is to be called while there is a link.
  static constexpr Millis kRememberEvery{30'000};

  LinkOutage(Journal& journal, const Clock& clock, std::string bootId);

  // Once, before anything else. Until the first link the outage goes on that the journal knows of; without memory of one
  // it begins now. Errors as Journal::readValue.
  [[nodiscard]] Task<Status> recover();
  void linkUp();
  void linkDown();  // a repeat does not begin it anew
  // Nothing: there is a link.
  [[nodiscard]] std::optional<Millis> downFor() const;
  // Journals what is known now. Errors as Journal::writeValue.
  [[nodiscard]] Task<Status> remember();

 private:
  Journal& journal_;
  const Clock& clock_;
  std::string bootId_;
  std::optional<SteadyTime> downSince_;
  Millis before_{0};  // how long it had lasted at downSince_
};

}  // namespace gs
