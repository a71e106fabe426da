#include "guest/exec_table.h"

#include <algorithm>
#include <cerrno>

#include "globalstacks/guest/v1/guest.pb.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::size_t kMaxExecs = 512;
constexpr std::size_t kMaxEnded = 64;
constexpr Millis kKeepEnded{10 * 60'000};
constexpr std::size_t kMaxTextBytes = 64;
constexpr std::size_t kMaxProgramBytes = 128;
constexpr std::uint32_t kMaxGraceMs = 3'600'000;
constexpr int kMostListed = 150;
constexpr Millis kDialRetry{5};
constexpr int kMaxDialAttempts = 1000;

std::string frameOf(const pb::GuestFrame& frame) {
  std::string bytes;
  appendFrame(bytes, frame);
  return bytes;
}

std::string attachFrame(std::uint64_t id, const std::string& key) {
  pb::GuestFrame frame;
  frame.mutable_exec_attach()->set_exec_id(id);
  frame.mutable_exec_attach()->set_key(key);
  return frameOf(frame);
}

SessionIdentity identityOf(const pb::SessionSpec& spec) {
  SessionIdentity out{.id = spec.session_id(), .owner = spec.owner(), .client = spec.client()};
  switch (spec.lifetime()) {
    case pb::SessionSpec::LIFETIME_GRACE: out.lifetime = SessionLifetime::kGrace; break;
    case pb::SessionSpec::LIFETIME_DETACHED: out.lifetime = SessionLifetime::kDetached; break;
    default: break;
  }
  out.grace = Millis(std::min(spec.grace_ms(), kMaxGraceMs));
  return out;
}

bool isTooLong(const SessionIdentity& identity) {
  return identity.id.empty() || identity.id.size() > kMaxTextBytes || identity.owner.size() > kMaxTextBytes ||
         identity.client.size() > kMaxTextBytes;
}

}  // namespace

ExecTable::ExecTable(EventLoop& loop, Reaper& reaper, ExecSettings settings, std::function<void(std::string_view)> send)
    : loop_(loop), reaper_(reaper), settings_(std::move(settings)), send_(std::move(send)) {}

void ExecTable::open(std::vector<std::string> sharedEnv) {
  if (gate_ != Gate::kClosed) return;
  gate_ = Gate::kOpen;
  sharedEnv_ = std::move(sharedEnv);
}

void ExecTable::announceStop() {
  gate_ = Gate::kStopping;
  for (const auto& [id, exec] : execs_) {
    if (exec.session) exec.session->announceStop();
  }
}

void ExecTable::start(const pb::StartExec& request) {
  const std::uint64_t id = request.exec_id();
  if (execs_.contains(id)) return;
  if (gate_ == Gate::kClosed) return refuse(id, pb::ExecFailed::KIND_INVALID, "the gate is closed");
  if (gate_ == Gate::kStopping) return refuse(id, pb::ExecFailed::KIND_BUSY, "the sandbox is being stopped");
  if (execs_.size() - ended_.size() >= kMaxExecs) return refuse(id, pb::ExecFailed::KIND_BUSY, "512 execs run already");
  LaunchSpec spec{.argv = {request.process().argv().begin(), request.process().argv().end()},
                  .env = {request.process().env().begin(), request.process().env().end()},
                  .workingDir = request.process().working_dir(),
                  .user = request.process().user()};
  if (request.has_terminal()) {
    spec.terminal = terminalSize(request.terminal().rows(), request.terminal().columns());
    if (!spec.terminal) return refuse(id, pb::ExecFailed::KIND_INVALID, "a terminal has 1 to 10,000 rows and columns");
  }
  if (const auto problem = checkLaunchSpec(spec)) return refuse(id, pb::ExecFailed::KIND_INVALID, *problem);
  Exec exec;
  if (request.has_session()) {
    exec.identity = identityOf(request.session());
    if (isTooLong(exec.identity)) return refuse(id, pb::ExecFailed::KIND_INVALID, "a session's id or owner is too long");
    if (!sessions_.emplace(exec.identity.id, id).second) {
      return refuse(id, pb::ExecFailed::KIND_INVALID, "there is a session of that id already");
    }
  }
  execs_.emplace(id, std::move(exec));
  dial(
      id,
      [this, id, attach = attachFrame(id, request.key()), spec = std::move(spec)](UniqueFd socket) {
        begin(id, std::move(socket), attach, spec);
      },
      [this, id] { forget(id); });
}

void ExecTable::begin(std::uint64_t id, UniqueFd socket, const std::string& attach, const LaunchSpec& spec) {
  auto& exec = execs_.at(id);
  exec.session = std::make_unique<ExecSession>(
      loop_, reaper_, exec.identity,
      ExecSession::Owner{.ended = [this, id] { remember(id); },
                         .closed = [this, id] { loop_.later([this, id] { forget(id); }); }});
  exec.session->start(std::move(socket), attach, spec, sharedEnv_, settings_.childLimits);
}

void ExecTable::dial(std::uint64_t execId, Connected connected, std::function<void()> failed, int attempt) {
  auto socket = dialAgent(settings_.socketPath);
  if (!socket && socket.error() == EAGAIN && attempt < kMaxDialAttempts) {
    // The agent takes connections in turn, and a burst of execs fills its queue.
    loop_.after(kDialRetry, [this, execId, connected = std::move(connected), failed = std::move(failed), attempt]() mutable {
      dial(execId, std::move(connected), std::move(failed), attempt + 1);
    });
    return;
  }
  if (socket) return connected(std::move(*socket));
  if (failed) failed();
  const bool ours = socket.error() == EMFILE || socket.error() == ENFILE || socket.error() == ENOMEM;
  refuse(execId, ours ? pb::ExecFailed::KIND_INTERNAL : pb::ExecFailed::KIND_BUSY,
         "cannot connect to the agent: " + errnoText(socket.error()));
}

void ExecTable::attach(const pb::AttachSession& request) {
  AttachRequest wanted;
  wanted.client = request.client();
  switch (request.mode()) {
    case pb::AttachSession::MODE_WRITE: break;
    case pb::AttachSession::MODE_TAKE_OVER: wanted.mode = AttachRequest::Mode::kTakeOver; break;
    case pb::AttachSession::MODE_VIEW: wanted.mode = AttachRequest::Mode::kView; break;
    default: return refuse(request.exec_id(), pb::ExecFailed::KIND_INVALID, "there is no such way to attach");
  }
  if (request.has_output_offset()) wanted.outputOffset = request.output_offset();
  auto* session = find(request.session_id(), request.owner(), request.any_owner());
  if (session == nullptr || !session->isDurable()) {
    return refuse(request.exec_id(), pb::ExecFailed::KIND_NOT_FOUND, "there is no such session, or not any more");
  }
  switch (session->check(wanted)) {
    case ExecSession::AttachVerdict::kWelcome: break;
    case ExecSession::AttachVerdict::kConflict:
      return refuse(request.exec_id(), pb::ExecFailed::KIND_CONFLICT, "another client writes to the session");
    case ExecSession::AttachVerdict::kNoSuchOffset:
      return refuse(request.exec_id(), pb::ExecFailed::KIND_INVALID, "the session has not written so much");
    case ExecSession::AttachVerdict::kTooMany:
      return refuse(request.exec_id(), pb::ExecFailed::KIND_BUSY, "eight viewers watch already");
  }
  dial(request.exec_id(),
       [this, wanted, id = session->identity().id, attach = attachFrame(request.exec_id(), request.key())](UniqueFd socket) {
         // Gone while the agent was being dialled: it sees a connection that is closed at once.
         const auto found = sessions_.find(id);
         if (found == sessions_.end()) return;
         execs_.at(found->second).session->attach(std::move(socket), attach, wanted);
       },
       {});
}

ExecSession* ExecTable::find(const std::string& sessionId, const std::string& owner, bool anyOwner) {
  const auto found = sessions_.find(sessionId);
  if (found == sessions_.end()) return nullptr;
  const auto& exec = execs_.at(found->second);
  return exec.session && (anyOwner || exec.identity.owner == owner) ? exec.session.get() : nullptr;
}

void ExecTable::list(const pb::ListSessions& request) {
  pb::GuestFrame answer;
  auto& out = *answer.mutable_session_list();
  out.set_nonce(request.nonce());
  for (auto it = sessions_.upper_bound(request.after()); it != sessions_.end() && out.sessions_size() < kMostListed; ++it) {
    if (const auto& session = execs_.at(it->second).session) describe(*session, *out.add_sessions());
  }
  send_(frameOf(answer));
}

void ExecTable::describe(const ExecSession& session, pb::SessionInfo& out) {
  const auto& identity = session.identity();
  out.set_session_id(identity.id);
  out.set_owner(identity.owner);
  out.set_program(session.program().substr(0, kMaxProgramBytes));
  if (const auto size = session.terminalSize()) {
    out.mutable_terminal()->set_rows(size->rows);
    out.mutable_terminal()->set_columns(size->columns);
  }
  out.set_lifetime(static_cast<pb::SessionSpec::Lifetime>(identity.lifetime));
  out.set_state(static_cast<pb::SessionInfo::State>(static_cast<int>(session.state()) + 1));
  out.set_viewers(static_cast<std::uint32_t>(session.viewers()));
  out.set_output_bytes(session.outputBytes());
  if (session.state() == ExecSession::State::kEnded) {
    out.mutable_exit()->set_exit_code(session.exit().code);
    out.mutable_exit()->set_signal(session.exit().signal);
  }
  const auto age = std::chrono::steady_clock::now() - session.startedAt();
  out.set_age_ms(static_cast<std::uint64_t>(std::chrono::duration_cast<Millis>(age).count()));
}

void ExecTable::end(const pb::EndSession& request) {
  auto* session = find(request.session_id(), request.owner(), request.any_owner());
  if (session != nullptr) session->end();
  pb::GuestFrame answer;
  answer.mutable_session_ending()->set_nonce(request.nonce());
  answer.mutable_session_ending()->set_found(session != nullptr);
  send_(frameOf(answer));
}

void ExecTable::refuse(std::uint64_t execId, int kind, std::string_view message) {
  pb::GuestFrame answer;
  auto& failed = *answer.mutable_exec_failed();
  failed.set_exec_id(execId);
  failed.set_kind(static_cast<pb::ExecFailed::Kind>(kind));
  failed.set_message(std::string(message));
  send_(frameOf(answer));
}

void ExecTable::remember(std::uint64_t id) {
  ended_.push_back({id, loop_.after(kKeepEnded, [this, id] { execs_.at(id).session->end(); })});
  if (ended_.size() <= kMaxEnded) return;
  // Later, because it may be what has just ended that is being dealt with.
  loop_.later([this] {
    while (ended_.size() > kMaxEnded) {
      const auto oldest = ended_.front().id;
      execs_.at(oldest).session->end();
      forget(oldest);
    }
  });
}

void ExecTable::forget(std::uint64_t id) {
  const auto found = execs_.find(id);
  if (found == execs_.end()) return;
  for (auto& ended : ended_) {
    if (ended.id == id) loop_.cancel(ended.timer);
  }
  std::erase_if(ended_, [id](const Ended& ended) { return ended.id == id; });
  sessions_.erase(found->second.identity.id);
  execs_.erase(found);
}

}  // namespace gs::guest
