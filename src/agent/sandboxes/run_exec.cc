#include "agent/sandboxes/run_exec.h"

#include <csignal>

namespace gs {
namespace {

class RunExec final : public GuestExec {
 public:
  RunExec(std::unique_ptr<GuestExec> exec, std::shared_ptr<const RunEnd> run) : exec_(std::move(exec)), run_(std::move(run)) {}

  [[nodiscard]] int pid() const override { return exec_->pid(); }
  Task<Result<ExecEvent>> next() override { return explained(exec_->next(), run_); }
  Task<Status> write(std::string data) override { return exec_->write(std::move(data)); }
  Task<Status> writeEof() override { return exec_->writeEof(); }
  Task<Status> signal(int number) override { return exec_->signal(number); }
  Task<Status> resize(TerminalSize size) override { return exec_->resize(size); }
  [[nodiscard]] const std::optional<SessionStart>& session() const override { return exec_->session(); }
  Task<Status> ack(std::uint64_t offset) override { return exec_->ack(offset); }
  Task<Status> leave(SessionLeave how) override { return exec_->leave(how); }
  void close() override { exec_->close(); }

 private:
  // Owns what it touches: the object may go while this is being cancelled.
  static Task<Result<ExecEvent>> explained(Task<Result<ExecEvent>> next, std::shared_ptr<const RunEnd> run) {
    auto event = co_await std::move(next);
    if (!event && event.error().code == ErrorCode::kUnavailable && run->wanted) co_return ProcessExit{0, SIGKILL, {}};
    co_return event;
  }

  std::unique_ptr<GuestExec> exec_;
  std::shared_ptr<const RunEnd> run_;
};

}  // namespace

std::unique_ptr<GuestExec> execOfRun(std::unique_ptr<GuestExec> exec, std::shared_ptr<const RunEnd> run) {
  return std::make_unique<RunExec>(std::move(exec), std::move(run));
}

}  // namespace gs
