#include "wire/convert.h"

namespace gs {
namespace {

template <class State>
struct Named {
  State state;
  std::string_view name;
};

constexpr Named<DesiredState> kDesired[] = {
    {DesiredState::kRunning, "running"}, {DesiredState::kStopped, "stopped"}, {DesiredState::kDeleted, "deleted"},
    {DesiredState::kArchived, "archived"}};

constexpr Named<SandboxState> kStates[] = {
    {SandboxState::kRequested, "requested"}, {SandboxState::kPlacing, "placing"},
    {SandboxState::kProvisioning, "provisioning"}, {SandboxState::kStarting, "starting"},
    {SandboxState::kRunning, "running"}, {SandboxState::kStopped, "stopped"},
    {SandboxState::kArchived, "archived"}, {SandboxState::kFailed, "failed"},
    {SandboxState::kDeleting, "deleting"}, {SandboxState::kDeleted, "deleted"},
    {SandboxState::kUnknown, "unknown"}};

constexpr Named<RestartMode> kRestartModes[] = {
    {RestartMode::kNever, "never"}, {RestartMode::kOnFailure, "on_failure"}, {RestartMode::kAlways, "always"}};

constexpr Named<ExitCause> kExitCauses[] = {
    {ExitCause::kUnspecified, ""},           {ExitCause::kExited, "exited"},
    {ExitCause::kOutOfMemory, "oom_killed"}, {ExitCause::kStopped, "stopped"},
    {ExitCause::kDisconnected, "disconnected"}, {ExitCause::kHostRestarted, "host_restarted"},
    {ExitCause::kRuntimeLost, "runtime_lost"},  {ExitCause::kKilled, "killed"},
    {ExitCause::kHostLost, "host_lost"}};

template <class State, std::size_t N>
std::string_view nameOf(const Named<State> (&table)[N], State state) {
  for (const auto& row : table) {
    if (row.state == state) return row.name;
  }
  return "unknown";
}

template <class State, std::size_t N>
Result<State> stateOf(const Named<State> (&table)[N], std::string_view name) {
  for (const auto& row : table) {
    if (row.name == name) return row.state;
  }
  return fail(ErrorCode::kInvalidArgument, "no such sandbox state");
}

}  // namespace

std::string_view desiredStateName(DesiredState state) { return nameOf(kDesired, state); }
std::string_view sandboxStateName(SandboxState state) { return nameOf(kStates, state); }
Result<DesiredState> parseDesiredState(std::string_view name) { return stateOf(kDesired, name); }
Result<SandboxState> parseSandboxState(std::string_view name) { return stateOf(kStates, name); }
std::string_view restartModeName(RestartMode mode) { return nameOf(kRestartModes, mode); }
Result<RestartMode> parseRestartMode(std::string_view name) { return stateOf(kRestartModes, name); }
std::string_view exitCauseName(ExitCause cause) { return nameOf(kExitCauses, cause); }
ExitCause parseExitCause(std::string_view name) { return stateOf(kExitCauses, name).value_or(ExitCause::kUnspecified); }

std::string assignmentsDigest(std::vector<AssignmentVersion> versions) {
  std::ranges::sort(versions, {}, [](const AssignmentVersion& v) { return v.sandboxId.text(); });
  Hasher hasher;
  for (const auto& version : versions) {
    hasher.update(fmt::format("{} {}\n", version.sandboxId.text(), version.generation));
  }
  return hasher.finish().raw();
}

}  // namespace gs

namespace gs::wire {
namespace {

struct WireState {
  SandboxState state;
  pb::ObservedState wire;
};
constexpr WireState kObserved[] = {
    {SandboxState::kProvisioning, pb::OBSERVED_STATE_PROVISIONING}, {SandboxState::kStarting, pb::OBSERVED_STATE_STARTING},
    {SandboxState::kRunning, pb::OBSERVED_STATE_RUNNING},           {SandboxState::kStopped, pb::OBSERVED_STATE_STOPPED},
    {SandboxState::kFailed, pb::OBSERVED_STATE_FAILED},             {SandboxState::kDeleting, pb::OBSERVED_STATE_DELETING},
    {SandboxState::kDeleted, pb::OBSERVED_STATE_DELETED},           {SandboxState::kUnknown, pb::OBSERVED_STATE_UNKNOWN},
    {SandboxState::kArchived, pb::OBSERVED_STATE_ARCHIVED}};

pb::DesiredState desiredOut(DesiredState state) {
  switch (state) {
    case DesiredState::kRunning: return pb::DESIRED_STATE_RUNNING;
    case DesiredState::kStopped: return pb::DESIRED_STATE_STOPPED;
    case DesiredState::kDeleted: return pb::DESIRED_STATE_DELETED;
    case DesiredState::kArchived: return pb::DESIRED_STATE_ARCHIVED;
  }
  return pb::DESIRED_STATE_UNSPECIFIED;
}

Result<DesiredState> desiredIn(pb::DesiredState state) {
  switch (state) {
    case pb::DESIRED_STATE_RUNNING: return DesiredState::kRunning;
    case pb::DESIRED_STATE_STOPPED: return DesiredState::kStopped;
    case pb::DESIRED_STATE_DELETED: return DesiredState::kDeleted;
    case pb::DESIRED_STATE_ARCHIVED: return DesiredState::kArchived;
    default: return fail(fieldError("desired", "is not a state that this version knows"));
  }
}

void write(const SandboxSpec& value, pb::SandboxSpec* out) {
  out->set_name(value.name);
  out->set_runtime(value.runtime);
  out->mutable_blueprint()->set_manifest_digest(value.manifest.empty() ? "" : value.manifest.text());
  out->mutable_blueprint()->set_name(value.blueprintName);
  for (const auto& arg : value.command) out->add_command(arg);
  for (const auto& [key, text] : value.env) {
    auto* item = out->add_env();
    item->set_key(key);
    item->set_value(text);
  }
  out->set_working_dir(value.workingDir);
  out->set_user(value.user);
  auto* resources = out->mutable_resources();
  resources->set_cpu_millis(value.resources.cpuMillis);
  resources->set_memory_bytes(value.resources.memoryBytes);
  resources->set_pids(value.resources.pids);
  if (value.restart.mode != RestartMode::kNever) {
    out->mutable_restart()->set_mode(static_cast<pb::RestartPolicy::Mode>(value.restart.mode));
    out->mutable_restart()->set_max_restarts(value.restart.maxRestarts);
  }
  out->set_stop_after_disconnect_s(static_cast<std::uint32_t>(value.stopAfterDisconnect.count()));
}

Result<RestartPolicy> read(const pb::RestartPolicy& in) {
  constexpr std::uint32_t kMostRestarts = 1'000'000;
  if (!pb::RestartPolicy::Mode_IsValid(in.mode())) return fail(fieldError("restart.mode", "is not one that this version knows"));
  if (in.max_restarts() > kMostRestarts) return fail(fieldError("restart.max_restarts", "is above 1000000"));
  // The numbers are the same on both sides; see write().
  return RestartPolicy{static_cast<RestartMode>(in.mode()), in.max_restarts()};
}

Result<SandboxSpec> read(const pb::SandboxSpec& in) {
  constexpr std::size_t kMostEnv = 1024;
  SandboxSpec out;
  GS_CHECK(checkLength("name", in.name().size(), 63));
  GS_CHECK(checkLength("runtime", in.runtime().size(), 63));
  GS_CHECK(checkLength("command", static_cast<std::size_t>(in.command_size()), 4096));
  GS_CHECK(checkLength("env", static_cast<std::size_t>(in.env_size()), kMostEnv));
  GS_CHECK(checkLength("working_dir", in.working_dir().size(), 4096));
  GS_CHECK(checkLength("user", in.user().size(), 256));
  out.name = in.name();
  out.runtime = in.runtime();
  GS_TRY(out.manifest, Digest::parse(in.blueprint().manifest_digest()));
  out.blueprintName = in.blueprint().name();
  out.command.assign(in.command().begin(), in.command().end());
  for (const auto& item : in.env()) {
    if (item.key().empty() || item.key().find('=') != std::string::npos) {
      return fail(fieldError("env", "has a name that is empty or contains '='"));
    }
    out.env.emplace_back(item.key(), item.value());
  }
  out.workingDir = in.working_dir();
  out.user = in.user();
  out.resources = {in.resources().cpu_millis(), in.resources().memory_bytes(), in.resources().pids()};
  if (in.has_restart()) {
    GS_TRY(out.restart, read(in.restart()));
  }
  out.stopAfterDisconnect = Seconds(in.stop_after_disconnect_s());
  return out;
}

void write(const ExitInfo& value, pb::ExitInfo* out) {
  out->set_code(value.code);
  out->set_signal(value.signal);
  out->set_oom_killed(value.oomKilled);
  wire::write(value.at, out->mutable_at());
  if (value.cause != ExitCause::kHostLost) out->set_cause(static_cast<pb::ExitCause>(value.cause));
}

// A cause of a later version is a cause that is not known here.
ExitCause causeIn(pb::ExitCause cause) {
  return pb::ExitCause_IsValid(cause) ? static_cast<ExitCause>(cause) : ExitCause::kUnspecified;
}

}  // namespace

void write(const Observation& value, pb::Observation* out) {
  out->set_sandbox_id(value.sandboxId.text());
  out->set_generation(value.generation);
  out->set_sequence(value.sequence);
  for (const auto& row : kObserved) {
    if (row.state == value.state) out->set_state(row.wire);
  }
  out->set_reason(value.reason);
  out->set_message(value.message.substr(0, 1024));
  if (value.exit) write(*value.exit, out->mutable_exit());
  write(value.observedAt, out->mutable_observed_at());
  if (value.startedAt) write(*value.startedAt, out->mutable_started_at());
  out->set_restarts(value.restarts);
}

Result<Observation> read(const pb::Observation& in) {
  Observation out;
  GS_TRY(out.sandboxId, SandboxId::parse(in.sandbox_id()));
  GS_CHECK(checkLength("reason", in.reason().size(), 63));
  GS_CHECK(checkLength("message", in.message().size(), 1024));
  out.generation = in.generation();
  out.sequence = in.sequence();
  const auto* row = std::ranges::find(kObserved, in.state(), &WireState::wire);
  if (row == std::end(kObserved)) return fail(fieldError("state", "is not a state that this version knows"));
  out.state = row->state;
  out.reason = in.reason();
  out.message = in.message();
  if (in.has_exit()) {
    out.exit = ExitInfo{in.exit().code(), in.exit().signal(), in.exit().oom_killed(), read(in.exit().at()), causeIn(in.exit().cause())};
  }
  out.observedAt = read(in.observed_at());
  if (in.has_started_at()) out.startedAt = read(in.started_at());
  out.restarts = in.restarts();
  return out;
}

void write(const Assignment& value, pb::Assignment* out) {
  out->set_sandbox_id(value.sandboxId.text());
  out->set_generation(value.generation);
  out->set_desired(desiredOut(value.desired));
  write(value.spec, out->mutable_spec());
  out->set_stop_grace_ms(static_cast<std::uint32_t>(value.stopGrace.count()));
  if (value.known) write(*value.known, out->mutable_known());
  out->set_root_generation(value.rootGeneration);
}

Result<Assignment> read(const pb::Assignment& in) {
  Assignment out;
  GS_TRY(out.sandboxId, SandboxId::parse(in.sandbox_id()));
  if (in.generation() == 0) return fail(fieldError("generation", "must be at least 1"));
  out.generation = in.generation();
  GS_TRY(out.desired, desiredIn(in.desired()));
  GS_TRY(out.spec, read(in.spec()));
  if (in.stop_grace_ms() > 600'000) return fail(fieldError("stop_grace_ms", "is above 600000"));
  out.stopGrace = Millis(in.stop_grace_ms());
  if (in.has_known()) {
    GS_TRY(out.known, read(in.known()));
    if (out.known->sandboxId != out.sandboxId) return fail(fieldError("known", "is of another sandbox"));
  }
  if (in.root_generation() > in.generation()) return fail(fieldError("root_generation", "is above generation"));
  out.rootGeneration = in.root_generation();
  return out;
}

}  // namespace gs::wire

namespace gs {

bool isObservable(SandboxState state) {
  return std::ranges::find(wire::kObserved, state, &wire::WireState::state) != std::end(wire::kObserved);
}

std::string encode(const Assignment& message) { return wire::serialize<wire::pb::Assignment>(message); }
std::string encode(const Observation& message) { return wire::serialize<wire::pb::Observation>(message); }

Result<Assignment> decodeAssignment(std::string_view bytes) {
  GS_TRY(const auto message, wire::parseMessage<wire::pb::Assignment>(bytes, "Assignment"));
  return wire::read(message);
}

Result<Observation> decodeObservation(std::string_view bytes) {
  GS_TRY(const auto message, wire::parseMessage<wire::pb::Observation>(bytes, "Observation"));
  return wire::read(message);
}

}  // namespace gs
