#include "server/store/sql_rows.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace gs::sql {

std::optional<WallTime> findTimeAt(const Row& row, int column) {
  const auto value = row.findInteger(column);
  if (!value) return std::nullopt;
  return fromUnixMillis(*value);
}

SqlValue bind(const std::optional<WallTime>& time) {
  if (!time) return std::monostate{};
  return toUnixMillis(*time);
}

std::optional<ExitInfo> findExitAt(const Row& row, int codeColumn, int causeColumn) {
  const int atColumn = codeColumn + 3;
  if (row.isNull(atColumn)) return std::nullopt;
  return ExitInfo{static_cast<int>(row.integer(codeColumn)), static_cast<int>(row.integer(codeColumn + 1)),
                  row.integer(codeColumn + 2) != 0, timeAt(row, atColumn), parseExitCause(row.text(causeColumn))};
}

void appendExit(std::vector<SqlValue>& values, const std::optional<ExitInfo>& exit) {
  if (!exit) {
    values.insert(values.end(), 4, std::monostate{});
    return;
  }
  values.insert(values.end(), {std::int64_t{exit->code}, std::int64_t{exit->signal},
                               std::int64_t{exit->oomKilled ? 1 : 0}, bind(exit->at)});
}

std::string packStrings(const std::vector<std::string>& values) { return canonicalJson(Json(values)); }

std::vector<std::string> unpackStrings(std::string_view text) {
  std::vector<std::string> out;
  // Written by packStrings; what is damaged reads as nothing rather than hiding the whole record.
  const auto parsed = parseJson(text);
  if (!parsed || !parsed->is_array()) return out;
  for (const auto& item : *parsed) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

std::string packPairs(const std::vector<std::pair<std::string, std::string>>& values) {
  Json out = Json::array();
  for (const auto& [key, value] : values) out.push_back(Json::array({key, value}));
  return canonicalJson(out);
}

std::vector<std::pair<std::string, std::string>> unpackPairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto parsed = parseJson(text);
  if (!parsed || !parsed->is_array()) return out;
  for (const auto& item : *parsed) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_string()) continue;
    out.emplace_back(item[0].get<std::string>(), item[1].get<std::string>());
  }
  return out;
}

std::string auditActor(const Actor& actor) {
  if (!actor.system.empty()) return std::string(actor.system);
  return actor.apiKeyId.empty() ? actor.userId.text() : actor.userId.text() + "/" + actor.apiKeyId.text();
}

Status audit(Database& db, const Actor& actor, AuditLine line, WallTime at) {
  return audit(db, actor.tenantId, auditActor(actor), std::move(line), at);
}

Status audit(Database& db, const TenantId& tenant, std::string actor, AuditLine line, WallTime at) {
  GS_TRY([[maybe_unused]] const auto rows,
         db.execute("INSERT INTO audit (tenant_id, actor, action, subject, detail, at) VALUES ($1, $2, $3, $4, $5, $6)",
                    {bind(tenant), std::move(actor), std::string(line.action), std::move(line.subject),
                     std::move(line.detail), bind(at)}));
  return {};
}

Error noSuch(std::string_view what, std::string_view id) {
  return makeError(ErrorCode::kNotFound, fmt::format("no such {}: {}", what, id));
}

Status orNameTaken(const Result<std::int64_t>& done, std::string_view what, std::string_view name) {
  if (done) return {};
  if (done.error().code != ErrorCode::kAlreadyExists) return fail(done.error());
  return fail(makeError(ErrorCode::kAlreadyExists, fmt::format("the name {} is taken by another {}", name, what))
                  .withReason("name_taken")
                  .withFix("choose another name"));
}

Error staleVersion(std::string_view what, std::int64_t present) {
  return makeError(ErrorCode::kAborted, fmt::format("the {} was changed meanwhile; its version is {} now", what, present))
      .withReason("version_mismatch")
      .withFix("read it again, then decide again");
}

Result<std::string> finishPageQuery(PageQuery& query, const PageRequest& page) {
  std::string text = query.select;
  if (!page.cursor.empty()) {
    GS_TRY(auto key, decodeCursor(query.scope, page.cursor));
    const std::size_t first = query.values.size() + 1;
    text += fmt::format(" AND ({0}, {1}) < (${2}, ${3})", query.timeColumn, query.idColumn, first, first + 1);
    query.values.emplace_back(key.time);
    query.values.emplace_back(std::move(key.id));
  }
  query.values.emplace_back(page.limit + 1);
  text += fmt::format(" ORDER BY {} DESC, {} DESC LIMIT ${}", query.timeColumn, query.idColumn, query.values.size());
  return text;
}

}  // namespace gs::sql
