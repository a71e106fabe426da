#include <nlohmann/json.hpp>

#include <unistd.h>

#include "base/encoding.h"
#include "cli/commands/commands.h"
#include "cli/quantities.h"
#include "cli/resources.h"
#include "cli/stream_follower.h"

namespace gs::cli {

void addLogsCommand(Command& sandbox);

namespace {

struct LogsArgs {
  std::string sandbox;
  bool follow = false;
  bool timestamps = false;
  std::string since;
  std::optional<std::uint64_t> tail;
};

// A moment, or how long ago.
Result<std::string> sinceText(const std::string& text) {
  // People leave the milliseconds out.
  const std::string whole = text.find('.') == std::string::npos && text.ends_with('Z') ? text.substr(0, text.size() - 1) + ".000Z" : text;
  if (const auto time = parseTime(whole)) return formatTime(*time);
  const auto ago = parseDuration(text);
  if (!ago) {
    return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("'{}' is neither a time nor a duration", text))
                    .withFix("--since 10m, or --since 2026-01-02T03:04:05Z"));
  }
  return formatTime(SystemClock().wallNow() - *ago);
}

class Printer final : public StreamFollower {
 public:
  Printer(Context& context, ApiClient& api, const std::string& id, const LogsArgs& args, Query query)
      : StreamFollower(context, api, resourcePath(kSandboxes, id) + "/logs"), args_(args), query_(std::move(query)) {}

 private:
  Query query(Turn) const override { return query_; }

  void show(const StreamEvent& event) override {
    if (event.name == "end") finish();
    const auto data = parseJson(event.data);
    if (event.name != "output" || !data || !data->is_object()) return;
    if (out().isJson()) return out().raw(canonicalJson(*data) + "\n");
    if (const auto lost = numberAt(*data, "lostBytes"); lost > 0) {
      endLine();
      out().note(fmt::format("{} bytes before this are no longer kept", lost));
    }
    std::string bytes = textAt(*data, "text");
    if (data->contains("bytes")) bytes = fromBase64(textAt(*data, "bytes")).value_or("");
    print(bytes, textAt(*data, "time"), textAt(*data, "stream") == "stderr" ? STDERR_FILENO : STDOUT_FILENO);
  }

  void print(std::string_view bytes, const std::string& time, int fd) {
    std::string text;
    // Lines of the two streams are kept apart; the bytes themselves are not changed.
    if (!args_.timestamps) {
      text = bytes;
    } else {
      for (const char c : bytes) {
        if (atLineStart_) text += time + " ";
        atLineStart_ = c == '\n';
        text.push_back(c);
      }
    }
    if (fd == STDOUT_FILENO) return out().raw(text);
    writeTo(fd, text);
  }

  void endLine() {
    if (args_.timestamps && !std::exchange(atLineStart_, true)) out().raw("\n");
  }

  const LogsArgs& args_;
  Query query_;
  bool atLineStart_ = true;
};

Result<int> sandboxLogs(Context& context, const LogsArgs& args) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, args.sandbox));
  Query query;
  if (args.follow) query.emplace_back("follow", "true");
  if (!args.since.empty()) {
    GS_TRY(auto since, sinceText(args.since));
    query.emplace_back("since", std::move(since));
  }
  if (args.tail) query.emplace_back("tail", fmt::format("{}", *args.tail));
  return Printer(context, *api, id, args, std::move(query)).run();
}

Status parseTail(const std::string& text, std::optional<std::uint64_t>& target) {
  if (text == "all") return {};
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is no number of lines", text));
  }
  target = std::stoull(text);
  return {};
}

}  // namespace

void addLogsCommand(Command& sandbox) {
  const auto args = std::make_shared<LogsArgs>();
  Command& logs = sandbox.add("logs", "Show or follow what a sandbox's workload writes");
  logs.argument("SANDBOX", args->sandbox, "Id or name");
  logs.flag("-f,--follow", args->follow, "Go on with what comes, over stops and starts; ends when the sandbox is gone");
  logs.flag("-t,--timestamps", args->timestamps, "Put the time before each line");
  logs.option("--since", "TIME", args->since, "Only what was written since: 10m, 24h, or 2026-01-02T03:04:05Z");
  logs.option(
      "--tail", "LINES", [args](const std::string& text) { return parseTail(text, args->tail); },
      "Only the last so many lines, of both streams together (default: all that are kept)");
  logs.details(
      "Standard output and standard error come out as such. Also of a sandbox that is stopped: its host keeps the newest 16 MiB until\n"
      "the sandbox is deleted or archived. What is no longer kept is said. With --output json each piece is one line.");
  logs.run([args](Context& context) { return sandboxLogs(context, *args); });
}

}  // namespace gs::cli
