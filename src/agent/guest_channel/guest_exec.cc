#include "agent/guest_channel/guest_exec.h"

#include "agent/guest_channel/guest_messages.h"

namespace gs {
namespace {

constexpr int kLastSignal = 64;

// Frames of cases that this version does not know are passed over.
Task<Result<ExecFrame>> readExecFrame(std::shared_ptr<GuestConnection> connection) {
  while (true) {
    GS_CO_TRY(const auto payload, co_await connection->readFrame());
    auto frame = decodeExecFrame(payload);
    if (!frame) {
      connection->close();
      co_return fail(std::move(frame).error());
    }
    if (!std::holds_alternative<std::monostate>(*frame)) co_return std::move(*frame);
  }
}

// Its coroutines own what they touch after a wait, so that the object may go while one of them is being cancelled.
class ConnectedExec final : public GuestExec {
 public:
  ConnectedExec(std::shared_ptr<GuestConnection> connection, ExecStreams streams, int pid, std::optional<ProcessExit> failure)
      : state_(std::make_shared<State>(State{std::move(connection), std::move(failure)})), streams_(streams), pid_(pid) {}
  ConnectedExec(std::shared_ptr<GuestConnection> connection, SessionStart session)
      : state_(std::make_shared<State>(State{std::move(connection), {}})),
        streams_(session.terminal ? ExecStreams::kTerminal : ExecStreams::kPipes),
        pid_(0),
        session_(std::move(session)) {}
  ~ConnectedExec() override { state_->connection->close(); }
  ConnectedExec(const ConnectedExec&) = delete;
  ConnectedExec& operator=(const ConnectedExec&) = delete;

  [[nodiscard]] int pid() const override { return pid_; }
  [[nodiscard]] const std::optional<SessionStart>& session() const override { return session_; }
  Task<Result<ExecEvent>> next() override { return nextEvent(state_); }
  Task<Status> write(std::string data) override { return writeStdin(state_, std::move(data)); }
  Task<Status> writeEof() override { return writeStdinEof(state_); }
  Task<Status> signal(int number) override { return sendSignal(state_, number); }
  Task<Status> resize(TerminalSize size) override { return sendSize(state_, streams_, size); }
  Task<Status> ack(std::uint64_t offset) override { return state_->connection->writeFrame(encodeExecOutputAck(offset)); }
  Task<Status> leave(SessionLeave how) override { return state_->connection->writeFrame(encodeExecLeave(how)); }
  void close() override { state_->connection->close(); }

 private:
  struct State {
    std::shared_ptr<GuestConnection> connection;
    std::optional<ProcessExit> failure;  // to be told by next()
    bool ended = false;
    bool eofSent = false;
  };
  using StatePtr = std::shared_ptr<State>;

  static Task<Result<ExecEvent>> nextEvent(StatePtr state) {
    if (state->ended) co_return fail(ErrorCode::kFailedPrecondition, "the process has ended already");
    if (state->failure) {
      state->ended = true;
      co_return std::move(*state->failure);
    }
    while (true) {
      GS_CO_TRY(auto frame, co_await readExecFrame(state->connection));
      if (auto* out = std::get_if<ExecStdout>(&frame)) {
        if (!out->data.empty()) co_return std::move(*out);
      } else if (auto* err = std::get_if<ExecStderr>(&frame)) {
        if (!err->data.empty()) co_return std::move(*err);
      } else if (const auto* size = std::get_if<TerminalSize>(&frame)) {
        co_return *size;
      } else if (const auto* input = std::get_if<ExecInputAck>(&frame)) {
        co_return *input;
      } else if (const auto* cut = std::get_if<SessionCut>(&frame)) {
        state->ended = true;
        state->connection->close();
        co_return *cut;
      } else if (auto* exit = std::get_if<ProcessExit>(&frame)) {
        state->ended = true;
        state->connection->close();
        co_return std::move(*exit);
      } else {
        state->connection->close();
        co_return fail(ErrorCode::kDataLoss, "the guest says twice that a process was started");
      }
    }
  }

  static Task<Status> writeStdin(StatePtr state, std::string data) {
    for (std::size_t at = 0; at < data.size(); at += kMaxGuestDataBytes) {
      if (state->eofSent) co_return fail(ErrorCode::kFailedPrecondition, "stdin has been closed already");
      const auto piece = std::string_view(data).substr(at, kMaxGuestDataBytes);
      GS_CO_CHECK(co_await state->connection->writeFrame(encodeExecStdin(piece)));
    }
    co_return Status();
  }

  static Task<Status> writeStdinEof(StatePtr state) {
    if (std::exchange(state->eofSent, true)) co_return Status();
    co_return co_await state->connection->writeFrame(encodeExecStdinEof());
  }

  static Task<Status> sendSignal(StatePtr state, int number) {
    if (number < 1 || number > kLastSignal) {
      co_return fail(ErrorCode::kInvalidArgument, fmt::format("no signal has the number {}", number));
    }
    co_return co_await state->connection->writeFrame(encodeExecSignal(number));
  }

  static Task<Status> sendSize(StatePtr state, ExecStreams streams, TerminalSize size) {
    if (streams == ExecStreams::kPipes) co_return fail(ErrorCode::kFailedPrecondition, "the process has no terminal");
    if (!isTerminalSize(size)) co_return fail(ErrorCode::kInvalidArgument, "a terminal has 1 to 10,000 rows and columns");
    co_return co_await state->connection->writeFrame(encodeExecResize(size));
  }

  StatePtr state_;
  ExecStreams streams_;
  int pid_;
  std::optional<SessionStart> session_;
};

}  // namespace

Task<Result<std::unique_ptr<GuestExec>>> beginExec(std::shared_ptr<GuestConnection> connection, ExecStreams streams) {
  GS_CO_TRY(auto frame, co_await readExecFrame(connection));
  if (const auto* started = std::get_if<ExecStarted>(&frame)) {
    co_return std::make_unique<ConnectedExec>(std::move(connection), streams, started->pid, std::nullopt);
  }
  if (auto* session = std::get_if<SessionStart>(&frame)) {
    co_return std::make_unique<ConnectedExec>(std::move(connection), std::move(*session));
  }
  if (auto* exit = std::get_if<ProcessExit>(&frame)) {
    connection->close();
    co_return std::make_unique<ConnectedExec>(std::move(connection), streams, 0, std::move(*exit));
  }
  connection->close();
  co_return fail(ErrorCode::kDataLoss, "the guest sent output of a process that it had not started");
}

}  // namespace gs
