#include "cli/sandbox_wait.h"

#include <nlohmann/json.hpp>

#include "cli/resources.h"
#include "cli/text_width.h"

namespace gs::cli {
namespace {

constexpr std::array kStates{"requested", "placing", "provisioning", "starting", "running", "stopped",
                             "archived",  "failed",  "deleting",     "deleted",  "unknown"};
// How long one request waits at the server: short where a clock ticks, or where the present state may end unnoticed.
constexpr Millis kTick(1000);
constexpr Millis kLongPoll(15'000);

enum class Verdict : std::uint8_t { kReached, kFailed, kOnTheWay };

bool isObserved(const Json& sandbox) {
  // The host is gone for good: nothing newer will ever be observed.
  if (textAt(sandbox, "reason") == "host_removed") return true;
  return numberAt(sandbox, "observedGeneration") >= numberAt(sandbox, "generation");
}

Verdict judge(const Json& sandbox, WaitGoal goal) {
  if (!isObserved(sandbox)) return Verdict::kOnTheWay;
  // Nothing happens before somebody confirms it.
  const std::string reason = textAt(sandbox, "reason");
  if (reason == "deletion_held" || reason == "deletion_rejected") return Verdict::kFailed;
  if (goal == WaitGoal::kGone) return Verdict::kOnTheWay;
  const std::string state = textAt(sandbox, "state");
  if (goal == WaitGoal::kStopped) {
    // A workload that failed while it was asked to stop is not running either.
    const bool ended = state == "stopped" || state == "archived" || state == "failed";
    return ended ? Verdict::kReached : Verdict::kOnTheWay;
  }
  if (goal == WaitGoal::kArchived) {
    if (state == "archived") return Verdict::kReached;
    return state == "failed" || textAt(sandbox, "desiredState") != "archived" ? Verdict::kFailed : Verdict::kOnTheWay;
  }
  if (state == "running") return Verdict::kReached;
  if (state == "stopped" && textAt(sandbox, "reason") == "workload_exited") return Verdict::kReached;
  const bool over = state == "failed" || state == "stopped" || state == "archived" || state == "deleting";
  return over ? Verdict::kFailed : Verdict::kOnTheWay;
}

std::string otherStates(const std::string& present) {
  std::string states;
  for (const std::string_view state : kStates) {
    if (state != present) states += fmt::format("{}{}", states.empty() ? "" : ",", state);
  }
  return states;
}

std::string label(const Json& sandbox) {
  return textAt(sandbox, "name");
}

std::string whyText(const Json& sandbox) {
  const std::string message = textAt(sandbox, "message");
  return message.empty() ? textAt(sandbox, "reason") : message;
}

Error failure(const Json& sandbox) {
  std::string why = whyText(sandbox);
  if (why.ends_with('.')) why.pop_back();
  std::string message = fmt::format("sandbox {} is {}", label(sandbox), textAt(sandbox, "state"));
  if (!why.empty()) message += ": " + why;
  if (textAt(sandbox, "reason") == "deletion_held") {
    return makeError(ErrorCode::kFailedPrecondition, std::move(message))
        .withReason("deletion_held")
        .withFix(fmt::format("see gstacks host info {}: its condition deletions_held says how to confirm", textAt(sandbox, "hostId")));
  }
  if (textAt(sandbox, "reason") == "deletion_rejected") {
    return makeError(ErrorCode::kFailedPrecondition, std::move(message))
        .withReason("deletion_rejected")
        .withFix(fmt::format("gstacks sandbox start {0} withdraws the wish, gstacks sandbox delete {0} makes it again", label(sandbox)));
  }
  return makeError(ErrorCode::kFailedPrecondition, std::move(message))
      .withReason(textAt(sandbox, "reason"))
      .withFix(fmt::format("see gstacks sandbox info {0}; gstacks sandbox delete {0} removes it", label(sandbox)));
}

std::string seconds(Millis elapsed) {
  return fmt::format("{:6.1f} s", static_cast<double>(elapsed.count()) / 1000);
}

std::string stateNote(Output& out, const Json& sandbox, Millis elapsed) {
  std::string note = fmt::format("{}  {}", seconds(elapsed), out.noteState(textAt(sandbox, "state")));
  if (const std::string message = textAt(sandbox, "message"); !message.empty())
    note += fmt::format("  {}", printable(message));
  return note;
}

}  // namespace

Result<Json> waitForSandbox(Context& context, ApiClient& api, Json sandbox, WaitGoal goal) {
  Output& out = context.out();
  const SystemClock clock;
  const SteadyTime start = clock.steadyNow();
  const auto elapsed = [&] { return std::chrono::duration_cast<Millis>(clock.steadyNow() - start); };
  const std::string path = resourcePath(kSandboxes, textAt(sandbox, "id"));
  std::string shown;
  while (true) {
    const std::string state = textAt(sandbox, "state");
    if (const std::string key = state + textAt(sandbox, "reason"); key != shown) {
      out.note(stateNote(out, sandbox, elapsed()));
      shown = key;
    }
    const Verdict verdict = judge(sandbox, goal);
    if (verdict == Verdict::kReached) return sandbox;
    if (verdict == Verdict::kFailed) return fail(failure(sandbox));

    const Millis left = context.waitTimeout() - elapsed();
    if (left <= Millis(0)) {
      std::string message = fmt::format("sandbox {} is still {} after {:.0f} s", label(sandbox), state,
                                        static_cast<double>(elapsed().count()) / 1000);
      if (const std::string why = whyText(sandbox); !why.empty()) message += ": " + why;
      return fail(makeError(ErrorCode::kDeadlineExceeded, std::move(message))
                      .withFix(fmt::format(
                          "it goes on by itself: look with gstacks sandbox info {}, or allow more time with --timeout",
                          label(sandbox))));
    }
    const bool ticks = out.notesOnTerminal() || !isObserved(sandbox);
    const Millis slice = std::min(left, ticks ? kTick : kLongPoll);
    if (out.notesOnTerminal()) out.liveLine(fmt::format("{}  {} …", seconds(elapsed()), out.noteState(state)));
    auto next = api.get(path, {{"waitFor", otherStates(state)}, {"waitMs", fmt::format("{}", slice.count())}}, slice);
    if (!next) {
      if (goal == WaitGoal::kGone && next.error().code == ErrorCode::kNotFound) {
        out.note(fmt::format("{}  gone", seconds(elapsed())));
        return Json::object();
      }
      return fail(std::move(next).error());
    }
    sandbox = std::move(*next);
  }
}

void addWaitFlags(Command& command, bool& wait, std::string_view untilWhat) {
  command.flag("--wait", wait, fmt::format("Wait until {}, --timeout at most (the default)", untilWhat));
  bool& target = wait;
  Option& no = command.flag("--no-wait", wait, "Return as soon as the server has taken note");
  no.store = [&target](const std::string&) {
    target = false;
    return Status();
  };
}

}  // namespace gs::cli
