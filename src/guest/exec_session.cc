#include "guest/exec_session.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "globalstacks/guest/v1/guest.pb.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

constexpr std::size_t kReplayBytes = 256 * 1024;
constexpr Millis kHangUpGrace{2000};
// How long to wait for a background process that holds the output open: since its last byte, and in all.
constexpr Millis kDrainIdle{200};
constexpr Millis kDrainLimit{2000};

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

}  // namespace

ExecSession::ExecSession(EventLoop& loop, Reaper& reaper, SessionIdentity identity, Owner owner)
    : loop_(loop), reaper_(reaper), identity_(std::move(identity)), owner_(std::move(owner)), buffer_(kReplayBytes) {
  outputs_[0].stream = OutputStream::kStdout;
  outputs_[1].stream = OutputStream::kStderr;
}

ExecSession::~ExecSession() {
  owner_ = {[] {}, [] {}};
  close();
}

void ExecSession::start(UniqueFd socket, std::string_view attachFrame, const LaunchSpec& spec,
                        std::span<const std::string> sharedEnv, const ChildLimits& limits) {
  program_ = spec.argv.empty() ? "" : spec.argv.front().substr(0, spec.argv.front().find('\0'));
  writer_ = makePeer(std::move(socket), SessionPeer::Role::kWriter);
  // Sent first, so that the agent checks the key while the process is being made.
  writer_->send(attachFrame);
  if (const auto failure = launch(spec, sharedEnv, limits)) {
    exit_.code = failure->exitCode;
    startError_ = failure->message;
    reaped_ = true;
    return finish();
  }
  group_ = pid_;
  reaper_.expect(pid_, [this](ExitStatus status) { onExit(status); });
  writer_->listen();
  tellStart(*writer_);
  watchOutputs();
}

std::optional<StartFailure> ExecSession::launch(const LaunchSpec& spec, std::span<const std::string> sharedEnv,
                                                const ChildLimits& limits) {
  const auto outOfDescriptors = [] { return StartFailure{126, "the sandbox is out of file descriptors"}; };
  if (spec.terminal) {
    size_ = spec.terminal;
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

void ExecSession::takeStdin(std::string_view data) {
  if (!stdin_.isOpen() || eofPending_) return;
  if (!stdinPending_.empty()) {
    stdinPending_.append(data);
    return;
  }
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
  if (!stdinPending_.empty()) {
    eofPending_ = true;
    return;
  }
  if (terminal_.isOpen() && stdin_.isOpen()) typeEndOfFile(stdin_);
  closeStdin();
}

void ExecSession::takeSize(TerminalSize size) {
  if (!terminal_.isOpen()) return;
  resizeTerminal(terminal_, size);
  size_ = size;
  newSize_ = size;
  tellSize();
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
    if (errno == EAGAIN) {
      tellInput();
      if (const auto writer = writer_; writer && !inputWaits()) writer->resume();
      return;
    }
    closeStdin();
    break;
  }
  if (stdin_.isOpen()) loop_.forget(stdin_.get());
  stdinWatched_ = false;
  stdinPending_ = {};
  stdinWritten_ = 0;
  if (eofPending_) takeEof();
  tellInput();
  const auto writer = writer_;
  if (writer) writer->resume();
}

void ExecSession::onOutput(Output& output) {
  const auto most = isDurable() && !scrollBack_ ? std::min(buffer_.room(), kMaxGuestDataBytes) : kMaxGuestDataBytes;
  if (most == 0) return;
  const auto count = ::read(output.pipe.get(), SessionPeer::scratch(), most);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    closeOutput(output);
  } else if (phase_ == Phase::kHungUp) {
    return;  // dropped: nobody listens any more
  } else {
    const auto bytes = static_cast<std::size_t>(count);
    output.owed -= std::min(output.owed, bytes);
    if (phase_ == Phase::kDraining) {
      // The clock runs from the last byte, unless the process's own output is not through yet.
      loop_.cancel(timer_);
    }
    if (isDurable()) {
      buffer_.append(output.stream, {SessionPeer::scratch(), bytes});
      serveAll();
    } else {
      written_ += bytes;
      writer_->sendData(output.stream, bytes);
    }
  }
  finishIfDrained();
  watchOutputs();
}

void ExecSession::onExit(ExitStatus status) {
  pid_ = 0;
  exit_ = status;
  reaped_ = true;
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
  watchOutputs();
}

void ExecSession::finishIfDrained() {
  if (phase_ != Phase::kDraining || !mayReadOutput()) return;
  if (!outputs_[0].pipe.isOpen() && !outputs_[1].pipe.isOpen()) return finish();
  if (timer_ != 0 || outputs_[0].owed + outputs_[1].owed > 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (drainEnd_ == std::chrono::steady_clock::time_point{}) drainEnd_ = now + kDrainLimit;
  if (now >= drainEnd_) return finish();
  timer_ = loop_.after(std::min(kDrainIdle, std::chrono::ceil<Millis>(drainEnd_ - now)), [this] {
    timer_ = 0;
    finish();
  });
}

// The exit is known and no more output comes.
void ExecSession::finish() {
  loop_.cancel(timer_);
  loop_.cancel(graceTimer_);
  for (auto& output : outputs_) closeOutput(output);
  closeStdin();
  terminal_.reset();
  phase_ = Phase::kEnded;
  if (isDurable()) {
    // Told by the output, where a program would say it, so that it is numbered as well.
    if (!startError_.empty()) buffer_.append(OutputStream::kStderr, startError_ + (size_ ? "\r\n" : "\n"));
    // The scroll-back is for those who come to a session that goes on.
    if (writer_ && viewers_.empty()) buffer_.dropAcked();
    owner_.ended();
    if (writer_) tellStart(*writer_);
  }
  serveAll();
  if (!isDurable() && (!writer_ || !writer_->isOpen())) close();
}

bool ExecSession::mayReadOutput() const {
  if (phase_ == Phase::kHungUp) return true;
  if (phase_ != Phase::kRunning && phase_ != Phase::kDraining) return false;
  if (!isDurable()) return writer_ && writer_->isEmpty();
  return scrollBack_ || buffer_.room() > 0;
}

void ExecSession::watchOutputs() {
  // A pipe whose writer is gone reports that whether asked or not, so while nobody takes output it is not watched at all.
  const bool wanted = mayReadOutput();
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

void ExecSession::end() {
  if (phase_ == Phase::kEnded || phase_ == Phase::kClosed) return close();
  hangUp();
}

void ExecSession::hangUp() {
  if (phase_ != Phase::kRunning && phase_ != Phase::kDraining) return;
  loop_.cancel(timer_);
  loop_.cancel(graceTimer_);
  if (pid_ == 0) return isDurable() ? finish() : close();
  phase_ = Phase::kHungUp;
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
    if (!isDurable() && !(writer_ && writer_->isOpen())) return close();
    if (!reaped_) exit_ = {.code = 0, .signal = SIGKILL};
    finish();
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
  loop_.cancel(graceTimer_);
  if (pid_ > 0) reaper_.forget(pid_);
  for (auto& output : outputs_) closeOutput(output);
  closeStdin();
  terminal_.reset();
  if (writer_) writer_->drop();
  for (const auto& viewer : viewers_) viewer->drop();
  owner_.closed();
}

}  // namespace gs::guest
