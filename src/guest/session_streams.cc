// The half of an exec that faces the agent: who is connected, and what each of them has been told.
#include <algorithm>
#include <csignal>

#include "globalstacks/guest/v1/guest.pb.h"
#include "guest/exec_session.h"

namespace gs::guest {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::size_t kMaxViewers = 8;
// Input that the process has not taken and that is held for it. Beyond it nothing more is read: acknowledgements of output
// come on the same connection, and without them a process that is made to wait for them would wait for ever.
constexpr std::size_t kInputWindow = 256 * 1024;
// More often would be a frame for every key.
constexpr std::uint64_t kTellInputEvery = 32 * 1024;

}  // namespace

ExecSession::State ExecSession::state() const {
  if (phase_ == Phase::kEnded || phase_ == Phase::kClosed) return State::kEnded;
  if (writer_) return State::kAttached;
  return scrollBack_ ? State::kDetached : State::kWaiting;
}

ExecSession::PeerPtr ExecSession::makePeer(UniqueFd socket, SessionPeer::Role role) {
  return std::make_shared<SessionPeer>(
      loop_, std::move(socket), role,
      SessionPeer::Handler{.frame = [this](SessionPeer& peer, const Frame& frame) { return onFrame(peer, frame); },
                           .emptied = [this](SessionPeer& peer) { onEmptied(peer); },
                           .gone = [this](SessionPeer& peer) { onGone(peer); }});
}

ExecSession::AttachVerdict ExecSession::check(const AttachRequest& request) const {
  if (request.outputOffset && *request.outputOffset > buffer_.end()) return AttachVerdict::kNoSuchOffset;
  if (request.mode == AttachRequest::Mode::kView) {
    return viewers_.size() < kMaxViewers ? AttachVerdict::kWelcome : AttachVerdict::kTooMany;
  }
  const bool others = writer_ && phase_ != Phase::kEnded && identity_.client != request.client;
  return others && request.mode == AttachRequest::Mode::kWrite ? AttachVerdict::kConflict : AttachVerdict::kWelcome;
}

void ExecSession::attach(UniqueFd socket, std::string_view attachFrame, const AttachRequest& request) {
  // Lost between two looks: the connection is closed, and whoever asked asks again and hears why.
  if (phase_ == Phase::kClosed || check(request) != AttachVerdict::kWelcome) return;
  const bool views = request.mode == AttachRequest::Mode::kView;
  const auto peer = makePeer(std::move(socket), views ? SessionPeer::Role::kViewer : SessionPeer::Role::kWriter);
  peer->send(attachFrame);
  const auto from = request.outputOffset.value_or(buffer_.begin());
  if (views) {
    peer->sent = std::max(from, buffer_.begin());
    viewers_.push_back(peer);
  } else {
    if (const auto before = std::exchange(writer_, peer)) cut(*before, pb::CUT_TAKEN_OVER);
    identity_.client = request.client;
    loop_.cancel(graceTimer_);
    scrollBack_ = false;
    left_ = false;
    inputTold_ = 0;  // what was told may have been lost
    peer->sent = buffer_.rewind(from).value_or(buffer_.end());
  }
  peer->listen();
  tellStart(*peer);
  if (!views) tellInput();
  serve(*peer);
  watchOutputs();
}

SessionPeer::Verdict ExecSession::onFrame(SessionPeer& peer, const Frame& frame) {
  using Verdict = SessionPeer::Verdict;
  if (peer.role() == SessionPeer::Role::kViewer || &peer != writer_.get()) return Verdict::kMore;
  // The process has a connection of its own to lose: what was not read then does not count.
  if (peer.isClosing() && !isDurable()) return Verdict::kMore;
  switch (frame.frame_case()) {
    case Frame::kStdinData:
      // Closing: what does not fit now comes again, from where `attached` says.
      if (peer.isClosing() && inputWaits()) return Verdict::kMore;
      takeStdin(frame.stdin_data());
      inputTaken_ += frame.stdin_data().size();
      tellInput();
      break;
    case Frame::kStdinEof:
      if (!peer.isClosing() || !inputWaits()) takeEof();
      break;
    case Frame::kResize:
      if (const auto size = guest::terminalSize(frame.resize().rows(), frame.resize().columns())) takeSize(*size);
      break;
    case Frame::kSignal:
      if (pid_ > 0 && frame.signal() >= 1 && frame.signal() <= 64) {
        ::kill(-signalGroup(), static_cast<int>(frame.signal()));
      }
      break;
    case Frame::kOutputAck:
      if (!buffer_.ack(frame.output_ack())) return Verdict::kBroken;
      watchOutputs();
      finishIfDrained();
      break;
    case Frame::kLeave:
      if (!isDurable()) break;
      if (frame.leave() == pb::LEAVE_DETACH) {
        identity_.lifetime = SessionLifetime::kDetached;
        left_ = true;
      } else {
        hangUp();
      }
      break;
    default: break;
  }
  return inputWaits() ? Verdict::kWait : Verdict::kMore;
}

bool ExecSession::inputWaits() const { return stdinPending_.size() - stdinWritten_ > (isDurable() ? kInputWindow : 0); }

void ExecSession::onEmptied(SessionPeer& peer) {
  serve(peer);
  if (peer.role() == SessionPeer::Role::kWriter) {
    tellSize();
    tellInput();
  }
  finishIfDrained();
  watchOutputs();
}

void ExecSession::onGone(SessionPeer& peer) {
  if (peer.role() == SessionPeer::Role::kViewer) {
    std::erase_if(viewers_, [&](const PeerPtr& viewer) { return viewer.get() == &peer; });
  } else if (&peer == writer_.get()) {
    writerGone();
  }
}

void ExecSession::writerGone() {
  writer_.reset();
  if (!isDurable()) return phase_ == Phase::kEnded ? close() : hangUp();
  if (phase_ != Phase::kRunning && phase_ != Phase::kDraining) return;
  if (std::exchange(left_, false) || identity_.grace == Millis(0)) return graceOver();
  graceTimer_ = loop_.after(identity_.grace, [this] {
    graceTimer_ = 0;
    graceOver();
  });
}

void ExecSession::graceOver() {
  if (identity_.lifetime != SessionLifetime::kDetached) return hangUp();
  scrollBack_ = true;
  finishIfDrained();
  watchOutputs();
}

void ExecSession::serve(SessionPeer& peer) {
  if (!isDurable()) {
    if (phase_ == Phase::kEnded) tellExit(peer);
    return;
  }
  while (peer.isOpen() && peer.isEmpty() && !peer.isFinishing()) {
    if (peer.sent < buffer_.begin()) return cut(peer, pb::CUT_TOO_SLOW);
    const auto piece = buffer_.at(peer.sent, kMaxGuestDataBytes);
    if (!piece) break;
    std::copy(piece->bytes.begin(), piece->bytes.end(), SessionPeer::scratch());
    peer.sent += piece->bytes.size();
    peer.sendData(piece->stream, piece->bytes.size());
  }
  if (phase_ == Phase::kEnded && peer.sent == buffer_.end()) tellExit(peer);
}

void ExecSession::serveAll() {
  const auto viewers = viewers_;
  if (writer_) serve(*writer_);
  for (const auto& viewer : viewers) serve(*viewer);
}

void ExecSession::tellStart(SessionPeer& peer) {
  if (std::exchange(peer.told, true)) return;
  Frame frame;
  if (isDurable()) {
    auto& attached = *frame.mutable_attached();
    attached.set_pid(pid_);
    attached.set_output_offset(peer.sent);
    attached.set_input_offset(inputTaken_);
    if (size_) {
      attached.mutable_terminal()->set_rows(size_->rows);
      attached.mutable_terminal()->set_columns(size_->columns);
    }
  } else {
    frame.set_started_pid(pid_);
  }
  peer.send(frame);
}

void ExecSession::tellExit(SessionPeer& peer) {
  if (!peer.isOpen() || peer.isFinishing()) return;
  Frame frame;
  auto& exit = *frame.mutable_exit();
  exit.set_exit_code(exit_.code);
  exit.set_signal(exit_.signal);
  if (!isDurable()) exit.set_start_error(startError_);
  peer.send(frame);
  peer.finish();
}

// One answer waits at a time, so that an agent that asks without reading fills nothing.
void ExecSession::tellSize() {
  if (!newSize_ || !writer_ || !writer_->isEmpty() || (phase_ != Phase::kRunning && phase_ != Phase::kDraining)) return;
  Frame frame;
  frame.mutable_resized()->set_rows(newSize_->rows);
  frame.mutable_resized()->set_columns(newSize_->columns);
  newSize_.reset();
  writer_->send(frame);
}

void ExecSession::tellInput() {
  const auto used = inputTaken_ - (stdinPending_.size() - stdinWritten_);
  if (!isDurable() || used - inputTold_ < kTellInputEvery || !writer_ || !writer_->isEmpty()) return;
  inputTold_ = used;
  Frame frame;
  frame.set_input_ack(used);
  writer_->send(frame);
}

void ExecSession::cut(SessionPeer& peer, int reason) {
  if (!peer.isFinishing()) {
    Frame frame;
    frame.set_cut(static_cast<pb::SessionCut>(reason));
    peer.send(frame);
  }
  peer.abandon();
  std::erase_if(viewers_, [&](const PeerPtr& viewer) { return viewer.get() == &peer; });
}

}  // namespace gs::guest
