// Which hosts have told what they hold since this server's start.
//
// Before that, a sandbox that the database shows without a host may be on one: the database may have come from a backup.
// Loop thread only. Restart: empty, and fills as agents dial in.
#pragma once

#include "base/ids.h"

namespace gs {

class HostReports {
 public:
  virtual ~HostReports() = default;
  // Everything that the host holds was compared with the database, once since the start. It stays so when the host goes.
  [[nodiscard]] virtual bool hasReported(const HostId& host) const = 0;
};

}  // namespace gs
