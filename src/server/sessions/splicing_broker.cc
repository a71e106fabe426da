#include "server/sessions/splicing_broker.h"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>
#include <nlohmann/json.hpp>

#include "async/task_group.h"
#include "async/with_deadline.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "server/core/fault.h"
#include "server/core/sandbox_view.h"
#include "server/sessions/open_request.h"
#include "server/sessions/session_directory.h"
#include "server/sessions/splice.h"
#include "wire/messages.h"
#include "wire/problem.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr std::uint16_t kGone = 1001;
constexpr std::uint16_t kViolation = 1002;
constexpr std::uint16_t kOpenTooLate = 4408;
constexpr std::size_t kMaxProgram = 120;
constexpr std::string_view kTerminalFeature = "terminal";
constexpr std::array<std::string_view, 3> kAttachModes{"write", "take_over", "view"};
const std::string kLoginShell = "(login shell)";
// How often a waiting session looks whether its client is still there.
constexpr Millis kLook{1'000};

std::string errorFrame(const Error& error, std::uint16_t closeCode) {
  Json problem = Json::parse(problemJson(error, RequestId::make().text(), "/api/sessions"), nullptr, false);
  problem["status"] = closeCode - 4000;
  for (const auto& line : error.details) {
    const auto fault = parseFaultLine(line);
    problem["errors"].push_back({{"pointer", fault.pointer}, {"detail", fault.detail}});
  }
  return makeSessionFrame(SessionFrameType::kError, canonicalJson(problem));
}

// It will not run without help: over and done with, and no start is on its way.
bool hasSettled(const SandboxRecord& record) {
  switch (record.state) {
    case SandboxState::kDeleting:
    case SandboxState::kDeleted: return true;
    case SandboxState::kFailed:
    case SandboxState::kStopped:
    case SandboxState::kArchived: return isCurrent(record) || record.desired != DesiredState::kRunning;
    default: return false;
  }
}

std::string describe(const SandboxRecord& record) {
  std::string out = fmt::format("the sandbox {} is {}", record.name, sandboxStateName(record.state));
  if (!record.reason.empty()) out += fmt::format(" ({})", record.reason);
  if (!record.message.empty()) out += ": " + record.message;
  return out;
}

Error gone() { return makeError(ErrorCode::kCancelled, "the client went away"); }

}  // namespace

// Counts a session for as long as it runs.
class SplicingBroker::Registration {
 public:
  Registration(SplicingBroker& broker, TenantId tenant, const std::shared_ptr<WebSocket>& client)
      : broker_(broker), tenant_(std::move(tenant)), client_(client.get()) {
    ++broker_.open_[tenant_];
    broker_.clients_[client_] = client;
  }
  ~Registration() {
    broker_.clients_.erase(client_);
    const auto it = broker_.open_.find(tenant_);
    if (--it->second == 0) broker_.open_.erase(it);
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  SplicingBroker& broker_;
  TenantId tenant_;
  WebSocket* client_;
};

SplicingBroker::SplicingBroker(Store& store, LinkHub& hub, SandboxEvents& events, const Clock& clock,
                               SessionBrokerSettings settings)
    : store_(store), events_(events), settings_(settings), account_(store, hub, clock, settings.channelTimeout) {}

Status SplicingBroker::checkQuota(const TenantId& tenant) const {
  const auto it = open_.find(tenant);
  if (it == open_.end() || it->second < settings_.maxPerTenant) return {};
  return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the tenant has {} sessions open already", it->second))
                  .withReason("too_many"));
}

Task<void> SplicingBroker::run(Actor actor, std::shared_ptr<WebSocket> client, std::optional<TicketGrant> grant) {
  using namespace asio::experimental::awaitable_operators;
  if (stopping_) co_return co_await client->close(kGone, "the server stops");
  SessionId session = SessionId::make();
  std::expected<Opening, Refusal> opening = std::unexpected(Refusal{});
  if (auto quota = checkQuota(actor.tenantId); !quota) {
    opening = std::unexpected(refusalOf(quota.error()));
  } else {
    const Registration registration(*this, actor.tenantId, client);
    opening = co_await open(actor, client, std::move(grant), session);
    if (opening) {
      const SandboxId sandbox = opening->sandbox.id;
      logInfo("session_begin", {{"session", session.text()}, {"sandbox", sandbox.text()}, {"program", opening->program}});
      auto end = co_await splice(client, opening->channel, opening->rules);
      if (end.problem) static_cast<void>(co_await client->write(errorFrame(*end.problem, end.closeCode)));
      // An abrupt or early end means to the agent that the client is gone: HUP, then KILL. Both at once: a client that is
      // slow to close must not keep its program alive.
      const auto toHost = end.closeCode == 1000 ? std::uint16_t{1000} : kGone;
      co_await (opening->channel->close(toHost, "the session is over") &&
                client->close(end.closeCode, std::move(end.closeReason)));
      logInfo("session_end", {{"session", session.text()}, {"sandbox", sandbox.text()}, {"end", end.summary}});
      const auto noted = co_await account_.audit(actor, "session.end", sandbox, fmt::format("{} {}", session, end.summary));
      if (!noted) logError("audit_not_written", {{"session", session.text()}, {"error", noted.error().describe()}});
      co_await account_.noteActivity(opening->sandbox);
      co_return;
    }
  }
  const auto& refusal = opening.error();
  logInfo("session_refused", {{"session", session.text()}, {"code", refusal.closeCode}, {"error", refusal.error.describe()}});
  if (refusal.tell == Refusal::Tell::kProblem) {
    static_cast<void>(co_await client->write(errorFrame(refusal.error, refusal.closeCode)));
  }
  co_await client->close(refusal.closeCode, refusal.error.message);
}

SplicingBroker::Refusal SplicingBroker::refusalOf(Error error) {
  if (error.code == ErrorCode::kCancelled) return {kGone, std::move(error), Refusal::Tell::kCloseOnly};
  const auto code = sessionCloseCode(error);
  return {code, std::move(error)};
}

Task<std::expected<SplicingBroker::Opening, SplicingBroker::Refusal>> SplicingBroker::open(
    Actor actor, std::shared_ptr<WebSocket> client, std::optional<TicketGrant> grant, SessionId& session) {
  if (actor.role == Role::kViewer) {
    co_return std::unexpected(refusalOf(makeError(ErrorCode::kPermissionDenied, "a viewer may not open sessions")));
  }
  auto request = co_await readOpen(client);
  if (!request) co_return std::unexpected(std::move(request).error());
  if (grant && !request->attach) {
    co_return std::unexpected(refusalOf(makeError(ErrorCode::kPermissionDenied, "an attach ticket begins no session").withReason("ticket_mismatch")));
  }
  auto sandbox = co_await waitUntilRunning(actor.tenantId, std::move(request->sandbox), Deadline::after(request->wait), client);
  if (!sandbox) co_return std::unexpected(refusalOf(std::move(sandbox).error()));
  if (grant) {
    if (auto covered = checkGrant(*grant, sandbox->id, request->attach->session, request->attach->mode); !covered) {
      co_return std::unexpected(refusalOf(std::move(covered).error()));
    }
  }
  const auto wanted = std::make_shared<OpenRequest>(std::move(*request));
  if (auto can = co_await fitToHost(actor.tenantId, sandbox->hostId, wanted); !can) {
    co_return std::unexpected(refusalOf(std::move(can).error()));
  }
  auto inUse = account_.use(sandbox->id);
  co_await account_.noteActivity(*sandbox);
  SessionOpen message{session, sandbox->id, {}};
  SpliceRules rules;
  std::string program;
  std::string kind;
  if (wanted->attach) {
    session = wanted->attach->session;
    message.sessionId = session;
    message.kind = AttachSession{actor.userId.text(), reachOf(actor), std::move(wanted->attach->client), wanted->attach->mode,
                                 wanted->attach->outputOffset};
    rules = {SessionStreams::kUnknown, SpliceRules::Reattach::kYes};
    kind = "attach";
    program = kAttachModes.at(static_cast<std::size_t>(wanted->attach->mode));
  } else {
    auto& exec = wanted->exec;
    rules.streams = exec.terminal ? SessionStreams::kTerminal : SessionStreams::kPipes;
    if (exec.policy) {
      rules.reattach = SpliceRules::Reattach::kYes;
      if (exec.policy->lifetime == SessionPolicy::Lifetime::kDetached) rules.until = SpliceRules::Until::kOpened;
      exec.policy->owner = actor.userId.text();
    }
    kind = exec.terminal ? "terminal" : "exec";
    program = exec.argv.empty() ? kLoginShell : escapeForLog(exec.argv.front(), kMaxProgram);
    message.kind = std::move(exec);
  }
  // Written before the program can run; its arguments may hold secrets and are left out.
  auto noted = co_await account_.audit(actor, "session.begin", sandbox->id, fmt::format("{} {} {}", session, kind, program));
  if (!noted) co_return std::unexpected(refusalOf(std::move(noted).error()));
  auto channel = co_await account_.beginOnChannel(sandbox->hostId, {encode(message)});
  if (!channel) {
    auto refusal = refusalOf(std::move(channel).error());
    noted = co_await account_.audit(actor, "session.end", sandbox->id, fmt::format("{} not begun: {}", session, refusal.error.message));
    if (!noted) logError("audit_not_written", {{"session", session.text()}, {"error", noted.error().describe()}});
    co_return std::unexpected(std::move(refusal));
  }
  co_return Opening{std::move(*sandbox), std::move(*channel), std::move(program), rules, std::move(inUse)};
}

// An agent that does not know of terminals would run the program without one; one that does not know of attaching would
// close the channel without a word.
Task<Status> SplicingBroker::fitToHost(TenantId tenant, HostId host, std::shared_ptr<OpenRequest> request) {
  auto& exec = request->exec;
  if (!exec.terminal && !exec.policy && !request->attach) co_return Status();
  GS_CO_TRY(const auto record, co_await store_.getHost(std::move(tenant), std::move(host)));
  const auto knows = [&](std::string_view feature) { return std::ranges::find(record.features, feature) != record.features.end(); };
  if (exec.terminal && !knows(kTerminalFeature)) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition,
                             fmt::format("the agent of host {} is too old for terminals", record.name))
                       .withReason("terminals_unsupported")
                       .withFix("upgrade gstacks-agent there, or run the program without a terminal"));
  }
  if (knows(kFeatureReattach)) co_return Status();
  const bool offered = exec.policy && exec.policy->lifetime != SessionPolicy::Lifetime::kDetached;
  if (offered) exec.policy.reset();
  if (!exec.policy && !request->attach) co_return Status();
  co_return fail(reattachUnsupported(record.name));
}

Task<std::expected<OpenRequest, SplicingBroker::Refusal>> SplicingBroker::readOpen(std::shared_ptr<WebSocket> client) {
  const auto message = co_await withDeadline(Deadline::after(settings_.openTimeout), "the open frame", client->read());
  if (!message) {
    if (message.error().code == ErrorCode::kDeadlineExceeded) co_return std::unexpected(Refusal{kOpenTooLate, message.error()});
    co_return std::unexpected(refusalOf(gone()));
  }
  const auto frame = parseSessionFrame(*message, SessionSide::kFromClient);
  if (!frame || frame->type != SessionFrameType::kOpen) {
    co_return std::unexpected(Refusal{kViolation, makeError(ErrorCode::kInvalidArgument, "the first frame must be open"),
                                      Refusal::Tell::kCloseOnly});
  }
  auto request = parseOpenRequest(frame->payload);
  if (!request) co_return std::unexpected(refusalOf(std::move(request).error()));
  co_return std::move(*request);
}

Task<Result<SandboxRecord>> SplicingBroker::waitUntilRunning(TenantId tenant, std::string sandbox, Deadline deadline,
                                                             std::shared_ptr<WebSocket> client) {
  auto record = co_await store_.findSandbox(tenant, std::move(sandbox));
  for (;;) {
    if (!record) co_return fail(std::move(record).error());
    if (record->state == SandboxState::kRunning) co_return record;
    if (hasSettled(*record)) {
      co_return fail(makeError(ErrorCode::kFailedPrecondition, describe(*record))
                         .withReason("sandbox_not_running")
                         .withFix(fmt::format("start it: gstacks sandbox start {}", record->name)));
    }
    if (!client->isOpen()) co_return fail(gone());
    if (deadline.expired()) {
      const bool unheard = record->state == SandboxState::kUnknown;
      co_return fail(unheard ? ErrorCode::kUnavailable : ErrorCode::kDeadlineExceeded, describe(*record));
    }
    co_await events_.wait(deadline.earlier(Deadline::after(kLook)));
    // By id from now on: a name may meanwhile be another sandbox's.
    record = co_await store_.getSandbox(tenant, record->id);
  }
}

Task<void> SplicingBroker::stop() {
  stopping_ = true;
  TaskGroup closers(co_await asio::this_coro::executor);
  std::vector<std::shared_ptr<WebSocket>> clients;
  for (const auto& [key, weak] : clients_) {
    if (auto client = weak.lock()) clients.push_back(std::move(client));
  }
  for (const auto& client : clients) closers.spawn("close session", client->close(kGone, "the server stops"));
  co_await closers.join();
}

}  // namespace gs
