// Blueprints in rows. Internal to store/.
#pragma once

#include "server/store/sql_rows.h"

namespace gs::sql {

// Of the tenant; kNotFound.
[[nodiscard]] Result<BlueprintRecord> readBlueprint(Database& db, const TenantId& tenant, const BlueprintId& id);

}  // namespace gs::sql
