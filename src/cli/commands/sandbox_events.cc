#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/stream_follower.h"
#include "cli/text_width.h"

namespace gs::cli {

void addEventsCommand(Command& sandbox);

namespace {

constexpr std::int64_t kPageSize = 200;

struct EventsArgs {
  std::string sandbox;
  bool follow = false;
  std::optional<std::int64_t> after;
};

std::vector<std::string> cells(const Json& event) {
  return {fmt::format("{}", numberAt(event, "sequence")), textAt(event, "at"),     textAt(event, "name"),
          textAt(event, "kind"),                          textAt(event, "state"),  textAt(event, "reason"),
          textAt(event, "actor"),                         textAt(event, "message")};
}

// A line as it comes: widths are fixed, because what follows is not known.
std::string lineOf(const Json& event) {
  const auto c = cells(event);
  auto line = fmt::format("{:>8}  {}  {:<20}  {:<17}  {:<12}  {:<20}  {}  {}", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]);
  while (line.ends_with(' ')) line.pop_back();
  return printable(line);
}

// What is kept of it, whole.
Result<int> showHistory(Context& context, ApiClient& api, const std::string& id, std::int64_t after) {
  std::vector<Json> events;
  std::int64_t pruned = 0;
  const std::int64_t from = after;
  while (true) {
    GS_TRY(Json page, api.get(resourcePath(kSandboxes, id) + "/events",
                              {{"after", fmt::format("{}", after)}, {"limit", fmt::format("{}", kPageSize)}}));
    pruned = std::max(pruned, numberAt(page, "prunedThrough"));
    auto items = page.value("items", std::vector<Json>());
    if (items.empty()) break;
    after = numberAt(items.back(), "sequence");
    std::ranges::move(items, std::back_inserter(events));
  }
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(events)), 0;
  if (out.isQuiet()) {
    for (const auto& event : events) out.line(fmt::format("{}", numberAt(event, "sequence")));
    return 0;
  }
  if (pruned > from) out.note(fmt::format("events up to {} are no longer kept", pruned));
  Table table({{"SEQUENCE", Align::kRight}, {"TIME"}, {"NAME"}, {"EVENT"}, {"STATE"}, {"REASON"}, {"BY"}, {"MESSAGE"}});
  for (const auto& event : events) {
    const auto texts = cells(event);
    table.add({texts.begin(), texts.end()});
  }
  if (!events.empty()) out.table(table);
  return 0;
}

// Until the sandbox is gone, or for ever.
class Follower final : public StreamFollower {
 public:
  Follower(Context& context, ApiClient& api, std::string sandbox, std::optional<std::int64_t> after)
      : StreamFollower(context, api, "/api/events"), sandbox_(std::move(sandbox)), after_(after) {}

 private:
  Query query(Turn turn) const override {
    Query query;
    if (!sandbox_.empty()) query.emplace_back("sandboxId", sandbox_);
    if (turn == Turn::kFirst && after_) query.emplace_back("after", fmt::format("{}", *after_));
    return query;
  }

  void show(const StreamEvent& event) override {
    const auto data = parseJson(event.data);
    if (!data || !data->is_object()) return;
    if (event.name == "gap") {
      if (out().isJson()) out().raw(canonicalJson(Json{{"gap", *data}}) + "\n");
      return out().note(fmt::format("events between {} and {} are no longer kept", numberAt(*data, "after"), numberAt(*data, "through")));
    }
    if (event.name != "sandbox") return;
    if (out().isJson()) {
      out().raw(canonicalJson(*data) + "\n");
    } else {
      out().line(out().isQuiet() ? event.id : lineOf(*data));
    }
    if (!sandbox_.empty() && textAt(*data, "kind") == "deleted") finish();
  }

  std::string sandbox_;
  std::optional<std::int64_t> after_;
};

Result<int> sandboxEvents(Context& context, const EventsArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  if (args.sandbox.empty()) {
    if (!args.follow) {
      return fail(makeError(ErrorCode::kInvalidArgument, "which sandbox? Without one, events can only be followed")
                      .withFix("gstacks sandbox events SANDBOX, or gstacks sandbox events --follow"));
    }
    return Follower(context, *api, "", args.after).run();
  }
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  if (!args.follow) return showHistory(context, *api, id, args.after.value_or(0));
  return Follower(context, *api, id, args.after.value_or(0)).run();
}

Status parsePosition(const std::string& text, std::optional<std::int64_t>& target) {
  if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is not the sequence of an event", text));
  }
  target = std::stoll(text);
  return {};
}

}  // namespace

void addEventsCommand(Command& sandbox) {
  const auto args = std::make_shared<EventsArgs>();
  Command& events = sandbox.add("events", "Show or follow what happens to sandboxes");
  events.argument("SANDBOX", args->sandbox, "Id (also of one that is gone) or name; none: all, with --follow only",
                  Need::kOptional);
  events.flag("-f,--follow", args->follow, "Go on with what happens; ends when the sandbox is gone");
  events.option(
      "--after", "N", [args](const std::string& text) { return parsePosition(text, args->after); },
      "Only events after this sequence (default: all that are kept; without SANDBOX: from now on)");
  events.details(
      "With --follow and --output json each event is one line. A connection that breaks is made again, and the events go\n"
      "on where they stopped: none is lost and none comes twice. What the server no longer keeps is said.");
  events.run([args](Context& context) { return sandboxEvents(context, *args); });
}

}  // namespace gs::cli
