// The control plane's tables, as named steps that are only ever added to.
#pragma once

#include <vector>

#include "db/database.h"

namespace gs {

[[nodiscard]] const std::vector<Migration>& serverMigrations();

}  // namespace gs
