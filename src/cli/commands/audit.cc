#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

constexpr std::size_t kDefaultLines = 50;

struct ListArgs {
  std::size_t lines = kDefaultLines;
};

Result<int> listAudit(Context& context, const ListArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  std::size_t seen = 0;
  GS_TRY(auto entries, api->list("/api/audit", {}, [&](const Json&) { return ++seen >= args.lines; }));
  if (entries.size() > args.lines) entries.resize(args.lines);
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(entries)), 0;
  if (out.isQuiet()) {
    for (const auto& entry : entries) out.line(textAt(entry, "subject"));
    return 0;
  }
  Table table({{"TIME"}, {"ACTION"}, {"SUBJECT"}, {"ACTOR"}, {"DETAIL"}});
  for (const auto& entry : entries) {
    table.add({textAt(entry, "at"), textAt(entry, "action"), textAt(entry, "subject"), textAt(entry, "actor"),
               textAt(entry, "detail")});
  }
  out.table(table);
  return 0;
}

}  // namespace

void addAuditCommands(Command& root) {
  Command& audit = root.add("audit", "Who did what: for admins");
  const auto args = std::make_shared<ListArgs>();
  Command& list = audit.add("list", "List what was done, newest first");
  list.option(
      "--last", "N",
      [args](const std::string& text) -> Status {
        if (text.empty() || text.size() > 6 || text.find_first_not_of("0123456789") != std::string::npos || text == "0") {
          return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not a number of lines", text));
        }
        args->lines = std::stoul(text);
        return {};
      },
      "How many lines (default 50)");
  list.run([args](Context& context) { return listAudit(context, *args); });
}

}  // namespace gs::cli
