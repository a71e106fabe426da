#include "guest/sandbox_init.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "globalstacks/guest/v1/guest.pb.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::uint32_t kProtocol = 1;
constexpr std::size_t kMaxSharedVariables = 1024;
constexpr std::uint32_t kMaxStopGraceMs = 600'000;
constexpr Millis kShutdownGrace{10'000};
// For the agent to take the last of the output when the sandbox ends; it asks within milliseconds when it is there.
constexpr Millis kLastWords{500};
constexpr Millis kLookAgain{5};

LaunchSpec fromProto(const pb::ProcessSpec& spec) {
  return {.argv = {spec.argv().begin(), spec.argv().end()},
          .env = {spec.env().begin(), spec.env().end()},
          .workingDir = spec.working_dir(),
          .user = spec.user(),
          .terminal = std::nullopt};
}

std::string frameOf(const pb::GuestFrame& frame) {
  std::string bytes;
  appendFrame(bytes, frame);
  return bytes;
}

// For GuestHello and GateOpened alike.
template <class Message>
void describe(const Workload& workload, Message& message) {
  switch (workload.phase()) {
    case Workload::Phase::kNone: break;
    case Workload::Phase::kRunning: message.mutable_workload_started()->set_pid(workload.pid()); break;
    case Workload::Phase::kExited: {
      auto& exited = *message.mutable_workload_exited();
      exited.set_exit_code(workload.exit().code);
      exited.set_signal(workload.exit().signal);
      exited.set_start_error(workload.startError());
      break;
    }
  }
}

}  // namespace

SandboxInit::SandboxInit(InitSettings settings)
    : settings_(std::move(settings)),
      workload_(loop_, reaper_, [this] { onWorkloadExited(); }),
      output_(loop_, [this](const std::deque<WorkloadOutput::Record>& records) { sendOutput(records); }),
      control_(
          loop_, settings_.socketPath, [this] { return makeHello(); },
          [this](std::string_view payload) { return onFrame(payload); }),
      execs_(loop_, reaper_, {settings_.socketPath, settings_.childLimits},
             [this](std::string_view frame) { control_.send(frame); }),
      files_(loop_, reaper_, settings_.socketPath, settings_.childLimits.oomScoreAdj,
             [this](std::uint64_t id, FileService::Refusal why, std::string_view message) {
               execs_.refuse(id, why == FileService::Refusal::kBusy ? pb::ExecFailed::KIND_BUSY : pb::ExecFailed::KIND_INTERNAL, message);
             }) {}

int SandboxInit::run() {
  sigset_t all;
  ::sigfillset(&all);
  signals_ = UniqueFd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.isOpen()) return 1;
  loop_.watch(signals_.get(), EPOLLIN, [this](std::uint32_t) { onSignals(); });
  control_.dial();
  loop_.run();
  return workload_.phase() == Workload::Phase::kExited ? workload_.exit().shellCode() : 0;
}

std::string SandboxInit::makeHello() {
  pb::GuestFrame frame;
  auto& hello = *frame.mutable_hello();
  hello.set_protocol(kProtocol);
  hello.set_version(settings_.version);
  hello.set_gate_open(gateOpen_);
  hello.set_serves_files(true);
  hello.add_features("sessions");
  describe(workload_, hello);
  output_.forgetAsk();
  hello.mutable_output()->set_run(output_.run());
  hello.mutable_output()->set_end(output_.end());
  return frameOf(frame);
}

bool SandboxInit::onFrame(std::string_view payload) {
  pb::AgentFrame frame;
  if (!frame.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return false;
  switch (frame.frame_case()) {
    case pb::AgentFrame::kOpenGate: openGate(frame.open_gate()); break;
    case pb::AgentFrame::kStartExec: execs_.start(frame.start_exec()); break;
    case pb::AgentFrame::kAttachSession: execs_.attach(frame.attach_session()); break;
    case pb::AgentFrame::kListSessions: execs_.list(frame.list_sessions()); break;
    case pb::AgentFrame::kEndSession: execs_.end(frame.end_session()); break;
    case pb::AgentFrame::kStartFiles: startFiles(frame.start_files()); break;
    case pb::AgentFrame::kStopWorkload:
      workload_.stop(Millis(std::min(frame.stop_workload().grace_ms(), kMaxStopGraceMs)));
      break;
    case pb::AgentFrame::kPing: {
      pb::GuestFrame answer;
      answer.mutable_pong()->set_nonce(frame.ping().nonce());
      control_.send(frameOf(answer));
      break;
    }
    case pb::AgentFrame::kReadOutput: output_.ask(frame.read_output().offset()); break;
    case pb::AgentFrame::FRAME_NOT_SET: break;
  }
  return true;
}

void SandboxInit::openGate(const pb::OpenGate& request) {
  if (!gateOpen_ && !stopping_) {
    gateOpen_ = true;
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(request.env_size()), kMaxSharedVariables);
    std::vector<std::string> sharedEnv(request.env().begin(), request.env().begin() + static_cast<int>(count));
    if (request.has_workload()) {
      auto spec = fromProto(request.workload());
      // A spec that breaks a limit is a workload that cannot be started: there is no other answer to OpenGate.
      if (const auto problem = checkLaunchSpec(spec)) {
        workload_.refuse(*problem);
      } else {
        startWorkload(spec, sharedEnv);
      }
    }
    execs_.open(std::move(sharedEnv));
  }
  pb::GuestFrame answer;
  describe(workload_, *answer.mutable_gate_opened());
  control_.send(frameOf(answer));
}

void SandboxInit::startWorkload(const LaunchSpec& spec, std::span<const std::string> sharedEnv) {
  const auto ends = output_.open();
  if (!ends) return workload_.refuse("no pipes for its output: " + errnoText(errno));
  workload_.start(spec, sharedEnv, settings_.childLimits, {ends->out.get(), ends->err.get()});
}

void SandboxInit::sendOutput(const std::deque<WorkloadOutput::Record>& records) {
  pb::GuestFrame frame;
  auto& chunk = *frame.mutable_output();
  for (const auto& record : records) {
    auto& out = *chunk.add_records();
    out.set_offset(record.offset);
    out.set_stream(record.stream == WorkloadOutput::Stream::kStdout ? pb::OutputRecord::STREAM_STDOUT : pb::OutputRecord::STREAM_STDERR);
    out.set_read_at_ms(record.readAtMs);
    out.set_data(record.data);
  }
  control_.send(frameOf(frame));
}

void SandboxInit::startFiles(const pb::StartFiles& request) {
  const std::uint64_t id = request.exec_id();
  if (!gateOpen_) return execs_.refuse(id, pb::ExecFailed::KIND_INVALID, "the gate is closed");
  if (stopping_) return execs_.refuse(id, pb::ExecFailed::KIND_BUSY, "the sandbox is being stopped");
  pb::GuestFrame attach;
  attach.mutable_exec_attach()->set_exec_id(id);
  attach.mutable_exec_attach()->set_key(request.key());
  files_.start(id, frameOf(attach));
}

void SandboxInit::onWorkloadExited() {
  pb::GuestFrame frame;
  auto& exited = *frame.mutable_workload_exited();
  exited.set_exit_code(workload_.exit().code);
  exited.set_signal(workload_.exit().signal);
  exited.set_sandbox_stopping(stopping_);
  output_.drain();
  exited.set_output_end(output_.end());
  control_.send(frameOf(frame));
  if (stopping_) finish();
}

void SandboxInit::finish() { lookForLastWords(std::chrono::steady_clock::now() + kLastWords); }

void SandboxInit::lookForLastWords(std::chrono::steady_clock::time_point until) {
  if (!control_.connected() || output_.taken() >= output_.end() || std::chrono::steady_clock::now() >= until) return loop_.stop();
  loop_.after(kLookAgain, [this, until] { lookForLastWords(until); });
}

void SandboxInit::onSignals() {
  std::array<signalfd_siginfo, 16> infos{};
  const auto bytes = ::read(signals_.get(), infos.data(), sizeof(infos));
  if (bytes <= 0) return;
  const auto count = static_cast<std::size_t>(bytes) / sizeof(signalfd_siginfo);
  for (std::size_t i = 0; i < count; ++i) {
    // Only the host may end the first process: as process 1 it sees senders outside its namespace as 0, and whatever root
    // inside sends is for the sandbox's own programs.
    const bool fromInside = ::getpid() == 1 && infos.at(i).ssi_pid != 0;
    if (fromInside && infos.at(i).ssi_signo != SIGCHLD) continue;
    switch (infos.at(i).ssi_signo) {
      case SIGCHLD: reaper_.reap(); break;
      case SIGTERM:
      case SIGINT:
      case SIGPWR: beginShutdown(); break;
      default: break;
    }
  }
}

void SandboxInit::beginShutdown() {
  if (std::exchange(stopping_, true)) return;
  execs_.announceStop();
  if (workload_.phase() != Workload::Phase::kRunning) return finish();
  workload_.stop(kShutdownGrace);
}

}  // namespace gs::guest
