// What the topics of the store share: times and lists in columns, pages, audit lines, and names of things in errors.
//
// Database thread only; internal to store/.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "db/database.h"
#include "server/core/records.h"
#include "server/store/cursor.h"

namespace gs::sql {

[[nodiscard]] inline WallTime timeAt(const Row& row, int column) { return fromUnixMillis(row.integer(column)); }
[[nodiscard]] std::optional<WallTime> findTimeAt(const Row& row, int column);
[[nodiscard]] inline SqlValue bind(WallTime time) { return toUnixMillis(time); }
[[nodiscard]] SqlValue bind(const std::optional<WallTime>& time);
template <class Tag>
[[nodiscard]] SqlValue bind(const Id<Tag>& id) {
  return id.text();
}
[[nodiscard]] inline SqlValue bind(std::uint64_t value) { return static_cast<std::int64_t>(value); }

// An end in columns: code, signal, oom_killed, at (NULL: none), one after the other; the cause lies elsewhere.
[[nodiscard]] std::optional<ExitInfo> findExitAt(const Row& row, int codeColumn, int causeColumn);
// The four, for a statement's values.
void appendExit(std::vector<SqlValue>& values, const std::optional<ExitInfo>& exit);

// Lists and maps are JSON text in one column: they are read and written whole.
[[nodiscard]] std::string packStrings(const std::vector<std::string>& values);
[[nodiscard]] std::vector<std::string> unpackStrings(std::string_view text);
[[nodiscard]] std::string packPairs(const std::vector<std::pair<std::string, std::string>>& values);
[[nodiscard]] std::vector<std::pair<std::string, std::string>> unpackPairs(std::string_view text);

// One line, in the caller's transaction.
struct AuditLine {
  std::string_view action;
  std::string subject;
  std::string detail;
};
// The actor of an audit line: "usr_…/key_…".
[[nodiscard]] std::string auditActor(const Actor& actor);
[[nodiscard]] Status audit(Database& db, const Actor& actor, AuditLine line, WallTime at);
[[nodiscard]] Status audit(Database& db, const TenantId& tenant, std::string actor, AuditLine line, WallTime at);

// kNotFound "no such <what>: <id>", the same for unknown and for another tenant's.
[[nodiscard]] Error noSuch(std::string_view what, std::string_view id);
// A unique violation as people understand it; every other error as it is.
[[nodiscard]] Status orNameTaken(const Result<std::int64_t>& done, std::string_view what, std::string_view name);
[[nodiscard]] Error staleVersion(std::string_view what, std::int64_t present);

// A list newest first. `select` ends inside its WHERE clause and uses the parameters of `values`; `scope` names list,
// tenant and filters for the cursor.
struct PageQuery {
  std::string scope;
  std::string select;
  std::vector<SqlValue> values;
  std::string timeColumn;
  std::string idColumn;
};
// Binds the cursor and the order to the query and returns its whole text.
[[nodiscard]] Result<std::string> finishPageQuery(PageQuery& query, const PageRequest& page);

template <class T>
[[nodiscard]] PageKey pageKeyOf(const T& item) {
  return {toUnixMillis(item.createdAt), item.id.text()};
}
[[nodiscard]] inline PageKey pageKeyOf(const AuditRecord& item) {
  return {toUnixMillis(item.at), fmt::format("{:020}", item.id)};
}

template <class F>
[[nodiscard]] auto readPage(Database& db, PageQuery query, const PageRequest& page, F map)
    -> Result<Page<std::invoke_result_t<F, const Row&>>> {
  GS_TRY(const std::string text, finishPageQuery(query, page));
  Page<std::invoke_result_t<F, const Row&>> out;
  GS_CHECK(db.query(text, query.values, [&](const Row& row) { out.items.push_back(map(row)); }));
  // One more than asked for was read, to know whether there is a next page.
  if (static_cast<std::int64_t>(out.items.size()) > page.limit) {
    out.items.pop_back();
    if (!out.items.empty()) out.nextCursor = encodeCursor(query.scope, pageKeyOf(out.items.back()));
  }
  return out;
}

}  // namespace gs::sql
