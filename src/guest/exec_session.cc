#include "guest/exec_session.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "globalstacks/guest/v1/guest.pb.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr Millis kHangUpGrace{2000};
// How long to wait for a background process that holds the output open: since its last byte, and in all.
constexpr Millis kDrainIdle{200};
constexpr Millis kDrainLimit{2000};

// ExecFrame's output fields on the wire: (field << 3) | 2 (length-delimited), protobuf encoding guide.
constexpr char kStdoutTag = (5 << 3) | 2;
constexpr char kStderrTag = (6 << 3) | 2;
// Length, tag, and a size of up to three bytes.
constexpr std::size_t kDataHeaderBytes = kGuestFrameHeaderBytes + 1 + 3;

// One for all sessions: it is empty again when a callback returns.
std::array<char, kDataHeaderBytes + kMaxGuestDataBytes> scratch;

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

bool makePipe(Pipe& pipe) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  pipe.read = UniqueFd(ends[0]);
  pipe.write = UniqueFd(ends[1]);
  return true;
}

// Only our end: the flag belongs to the end, and programs do not expect it on theirs.
void makeNonBlocking(const UniqueFd& fd) { ::fcntl(fd.get(), F_SETFL, O_NONBLOCK); }

// The frame around `count` bytes that lie at scratch + kDataHeaderBytes, without touching them.
std::string_view frameAround(char tag, std::size_t count) {
  std::array<char, 4> head{tag};
  std::size_t size = 1;
  for (auto rest = count; ; rest >>= 7) {
    const bool more = rest >= 0x80;
    head.at(size++) = static_cast<char>((rest & 0x7f) | (more ? 0x80 : 0));
    if (!more) break;
  }
  char* start = scratch.data() + kDataHeaderBytes - size;
  std::copy_n(head.data(), size, start);
  putGuestFrameLength(start - kGuestFrameHeaderBytes, size + count);
  return {start - kGuestFrameHeaderBytes, kGuestFrameHeaderBytes + size + count};
}

}  // namespace

ExecSession::ExecSession(EventLoop& loop, Reaper& reaper, UniqueFd socket, std::function<void()> closed)
    : loop_(loop), reaper_(reaper), closed_(std::move(closed)), socket_(std::move(socket)) {
  outputs_[0].tag = kStdoutTag;
  outputs_[1].tag = kStderrTag;
}

ExecSession::~ExecSession() {
  closed_ = [] {};
  close();
}

void ExecSession::start(std::string_view attachFrame, const LaunchSpec& spec,
                        std::span<const std::string> sharedEnv, const ChildLimits& limits) {
  // Sent first, so that the agent checks the key while the process is being made.
  send(attachFrame);
  if (phase_ == Phase::kClosed) return;
  if (const auto failure = launch(spec, sharedEnv, limits)) return sendExit(failure->exitCode, 0, failure->message);
  group_ = pid_;
  reaper_.expect(pid_, [this](ExitStatus status) { onExit(status); });

  pb::ExecFrame started;
  started.set_started_pid(pid_);
  std::string frame;
  appendFrame(frame, started);
  loop_.watch(socket_.get(), EPOLLIN | EPOLLRDHUP, [this](std::uint32_t events) { onSocket(events); });
  send(frame);
}

std::optional<StartFailure> ExecSession::launch(const LaunchSpec& spec, std::span<const std::string> sharedEnv,
                                                const ChildLimits& limits) {
  const auto outOfDescriptors = [] { return StartFailure{126, "the sandbox is out of file descriptors"}; };
  if (spec.terminal) {
    auto terminal = openTerminal(*spec.terminal);
    if (!terminal) return StartFailure{126, "cannot open a terminal: " + errnoText(terminal.error())};
    stdin_ = duplicate(terminal->ours);
    outputs_[0].pipe = duplicate(terminal->ours);
    if (!stdin_.isOpen() || !outputs_[0].pipe.isOpen()) return outOfDescriptors();
    const int theirs = terminal->theirs.get();
    const auto pid = startProcess(spec, sharedEnv, {theirs, theirs, theirs}, limits);
    if (!pid) return pid.error();
    terminal_ = std::move(terminal->ours);
    pid_ = *pid;
    return std::nullopt;
  }
  Pipe in;
  Pipe out;
  Pipe err;
  if (!makePipe(in) || !makePipe(out) || !makePipe(err)) return outOfDescriptors();
  const auto pid = startProcess(spec, sharedEnv, {in.read.get(), out.write.get(), err.write.get()}, limits);
  if (!pid) return pid.error();
  pid_ = *pid;
  stdin_ = std::move(in.write);
  outputs_[0].pipe = std::move(out.read);
  outputs_[1].pipe = std::move(err.read);
  makeNonBlocking(stdin_);
  for (const auto& output : outputs_) makeNonBlocking(output.pipe);
  return std::nullopt;
}

void ExecSession::announceStop() const {
  if (pid_ > 0) ::kill(-group_, SIGHUP);
}

pid_t ExecSession::signalGroup() const {
  const pid_t foreground = terminal_.isOpen() ? ::tcgetpgrp(terminal_.get()) : -1;
  return foreground > 0 ? foreground : group_;
}

void ExecSession::onSocket(std::uint32_t events) {
  // Half a close is a close: the agent never does that, and with input unread it would go unnoticed.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return hangUp();
  if ((events & EPOLLOUT) != 0) {
    if (outgoing_.flush(socket_.get()) == Outgoing::Verdict::kBroken) return hangUp();
    if (phase_ == Phase::kExiting && outgoing_.empty()) return close();
    tellSize();
    finishIfDrained();
    if (phase_ == Phase::kClosed) return;
  }
  if ((events & EPOLLIN) != 0 && stdinPending_.empty()) {
    const auto space = parser_.prepare();
    const auto count = ::read(socket_.get(), space.data(), space.size());
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return hangUp();
    if (count > 0) parser_.commit(static_cast<std::size_t>(count));
    if (!readFrames()) return hangUp();
  }
  updateWatches();
}

bool ExecSession::readFrames() {
  // Stops at input that the pipe does not take; the rest stays in the parser.
  while (stdinPending_.empty()) {
    const auto payload = parser_.next();
    if (!payload) return !parser_.broken();
    pb::ExecFrame frame;
    if (!frame.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) return false;
    switch (frame.frame_case()) {
      case pb::ExecFrame::kStdinData: takeStdin(frame.stdin_data()); break;
      case pb::ExecFrame::kStdinEof: takeEof(); break;
      case pb::ExecFrame::kResize:
        if (const auto size = terminalSize(frame.resize().rows(), frame.resize().columns())) takeSize(*size);
        break;
      case pb::ExecFrame::kSignal:
        if (pid_ > 0 && frame.signal() >= 1 && frame.signal() <= 64) {
          ::kill(-signalGroup(), static_cast<int>(frame.signal()));
        }
        break;
      default: break;
    }
  }
  return true;
}

void ExecSession::takeStdin(std::string_view data) {
  if (!stdin_.isOpen()) return;
  while (!data.empty()) {
    const auto count = ::write(stdin_.get(), data.data(), data.size());
    if (count > 0) {
      data.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    // The process closed its input: what follows has no reader, as with any pipe.
    if (errno != EAGAIN) return closeStdin();
    stdinPending_.assign(data);
    stdinWritten_ = 0;
    loop_.watch(stdin_.get(), EPOLLOUT, [this](std::uint32_t) { onStdinWritable(); });
    stdinWatched_ = true;
    return;
  }
}

void ExecSession::takeEof() {
  stdinEof_ = true;
  if (terminal_.isOpen() && stdin_.isOpen()) typeEndOfFile(stdin_);
  closeStdin();
}

void ExecSession::takeSize(TerminalSize size) {
  if (!terminal_.isOpen()) return;
  resizeTerminal(terminal_, size);
  newSize_ = size;
  tellSize();
}

// One answer waits at a time, so that an agent that asks without reading fills nothing.
void ExecSession::tellSize() {
  if (!newSize_ || !outgoing_.empty() || (phase_ != Phase::kRunning && phase_ != Phase::kDraining)) return;
  pb::ExecFrame frame;
  frame.mutable_resized()->set_rows(newSize_->rows);
  frame.mutable_resized()->set_columns(newSize_->columns);
  newSize_.reset();
  std::string bytes;
  appendFrame(bytes, frame);
  send(bytes);
}

void ExecSession::onStdinWritable() {
  while (stdinWritten_ < stdinPending_.size()) {
    const auto count =
        ::write(stdin_.get(), stdinPending_.data() + stdinWritten_, stdinPending_.size() - stdinWritten_);
    if (count > 0) {
      stdinWritten_ += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return;
    closeStdin();
    break;
  }
  if (stdin_.isOpen()) loop_.forget(stdin_.get());
  stdinWatched_ = false;
  stdinPending_ = {};
  stdinWritten_ = 0;
  if (!readFrames()) return hangUp();
  updateWatches();
}

void ExecSession::onOutput(Output& output) {
  const auto count = ::read(output.pipe.get(), scratch.data() + kDataHeaderBytes, kMaxGuestDataBytes);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    closeOutput(output);
  } else if (phase_ == Phase::kHungUp) {
    return;  // dropped: nobody listens any more
  } else {
    const auto bytes = static_cast<std::size_t>(count);
    output.owed -= std::min(output.owed, bytes);
    send(frameAround(output.tag, bytes));
    if (phase_ == Phase::kDraining) {
      // The clock runs from the last byte, unless the process's own output is not through yet.
      loop_.cancel(timer_);
    }
  }
  finishIfDrained();
  updateWatches();
}

void ExecSession::onExit(ExitStatus status) {
  pid_ = 0;
  exit_ = status;
  // Hung up: descendants may live on, and SIGKILL is still to come to them.
  if (phase_ != Phase::kRunning) return;
  phase_ = Phase::kDraining;
  closeStdin();
  for (auto& output : outputs_) {
    int waiting = 0;
    if (output.pipe.isOpen() && ::ioctl(output.pipe.get(), FIONREAD, &waiting) == 0 && waiting > 0) {
      output.owed = static_cast<std::size_t>(waiting);
    }
  }
  drainEnd_ = {};
  finishIfDrained();
  updateWatches();
}

void ExecSession::finishIfDrained() {
  if (phase_ != Phase::kDraining || !outgoing_.empty()) return;
  if (!outputs_[0].pipe.isOpen() && !outputs_[1].pipe.isOpen()) return sendExit(exit_.code, exit_.signal, {});
  if (timer_ != 0 || outputs_[0].owed + outputs_[1].owed > 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (drainEnd_ == std::chrono::steady_clock::time_point{}) drainEnd_ = now + kDrainLimit;
  if (now >= drainEnd_) return sendExit(exit_.code, exit_.signal, {});
  timer_ = loop_.after(std::min(kDrainIdle, std::chrono::ceil<Millis>(drainEnd_ - now)), [this] { onDrainTimer(); });
}

void ExecSession::onDrainTimer() {
  timer_ = 0;
  sendExit(exit_.code, exit_.signal, {});
}

void ExecSession::sendExit(int code, int signal, const std::string& startError) {
  loop_.cancel(timer_);
  for (auto& output : outputs_) closeOutput(output);
  closeStdin();
  terminal_.reset();
  phase_ = Phase::kExiting;
  pb::ExecFrame frame;
  frame.mutable_exit()->set_exit_code(code);
  frame.mutable_exit()->set_signal(signal);
  frame.mutable_exit()->set_start_error(startError);
  std::string bytes;
  appendFrame(bytes, frame);
  // A process that could not be started has no watch yet.
  loop_.watch(socket_.get(), EPOLLIN | EPOLLRDHUP, [this](std::uint32_t events) { onSocket(events); });
  send(bytes);
  if (phase_ == Phase::kExiting && outgoing_.empty()) close();
}

void ExecSession::send(std::string_view bytes) {
  if (outgoing_.send(socket_.get(), bytes) == Outgoing::Verdict::kBroken) return hangUp();
  updateWatches();
}

void ExecSession::updateWatches() {
  if (phase_ == Phase::kHungUp || phase_ == Phase::kClosed) return;
  std::uint32_t events = EPOLLRDHUP;
  if (stdinPending_.empty()) events |= EPOLLIN;
  if (!outgoing_.empty()) events |= EPOLLOUT;
  loop_.change(socket_.get(), events);
  watchOutputs();
}

void ExecSession::watchOutputs() {
  // A pipe whose writer is gone reports that whether asked or not, so while the agent is slow it is not watched at all.
  const bool wanted = phase_ == Phase::kHungUp ||
                      (outgoing_.empty() && (phase_ == Phase::kRunning || phase_ == Phase::kDraining));
  for (auto& output : outputs_) {
    if (!output.pipe.isOpen() || output.watched == wanted) continue;
    output.watched = wanted;
    if (wanted) {
      loop_.watch(output.pipe.get(), EPOLLIN, [this, &output](std::uint32_t) { onOutput(output); });
    } else {
      loop_.forget(output.pipe.get());
    }
  }
}

void ExecSession::hangUp() {
  if (phase_ == Phase::kHungUp || phase_ == Phase::kClosed) return;
  if (pid_ == 0) return close();
  phase_ = Phase::kHungUp;
  loop_.forget(socket_.get());
  socket_.reset();
  outgoing_.clear();
  if (terminal_.isOpen()) {
    // The kernel hangs up the terminal's processes when our last end of it is closed.
    foreground_ = signalGroup();
    for (auto& output : outputs_) closeOutput(output);
    terminal_.reset();
  }
  // Its output still has a reader, which drops it: a program that cleans up at SIGHUP may say so, and must not die of
  // SIGPIPE instead (a shell reports the end of its child before it runs the trap).
  watchOutputs();
  closeStdin();
  ::kill(-group_, SIGHUP);
  // To the group even when its leader is gone by then. Should the number have gone round to another group of this
  // sandbox within two seconds, that one is hit; it takes all process numbers to be used up in that time.
  timer_ = loop_.after(kHangUpGrace, [this] {
    timer_ = 0;
    ::kill(-group_, SIGKILL);
    if (foreground_ > 0) ::kill(-foreground_, SIGKILL);
    close();
  });
}

void ExecSession::closeOutput(Output& output) {
  if (!output.pipe.isOpen()) return;
  loop_.forget(output.pipe.get());
  output.watched = false;
  output.owed = 0;
  output.pipe.reset();
}

void ExecSession::closeStdin() {
  stdinPending_ = {};
  stdinWritten_ = 0;
  if (!stdin_.isOpen()) return;
  if (stdinWatched_) loop_.forget(stdin_.get());
  stdinWatched_ = false;
  stdin_.reset();
}

void ExecSession::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  loop_.cancel(timer_);
  if (pid_ > 0) reaper_.forget(pid_);
  for (auto& output : outputs_) closeOutput(output);
  closeStdin();
  terminal_.reset();
  if (socket_.isOpen()) loop_.forget(socket_.get());
  socket_.reset();
  closed_();
}

}  // namespace gs::guest
