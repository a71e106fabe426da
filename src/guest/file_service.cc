#include "guest/file_service.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <csignal>

#include "guest/file_worker.h"
#include "guest/text.h"

namespace gs::guest {
namespace {

constexpr std::size_t kMaxOperations = 32;
constexpr Millis kDialRetry{5};
constexpr int kMaxDialAttempts = 1000;
constexpr Millis kTidyTime{2'000};

}  // namespace

FileService::FileService(EventLoop& loop, Reaper& reaper, std::string socketPath, std::optional<int> oomScoreAdj,
                         std::function<void(std::uint64_t, Refusal, std::string_view)> refuse)
    : loop_(loop), reaper_(reaper), socketPath_(std::move(socketPath)), oomScoreAdj_(oomScoreAdj), refuse_(std::move(refuse)) {}

void FileService::start(std::uint64_t id, std::string attachFrame) {
  if (operations_.contains(id)) return;
  if (operations_.size() >= kMaxOperations) return refuse_(id, Refusal::kBusy, "32 file operations run already");
  operations_.emplace(id, Operation{});
  dial(id, std::move(attachFrame), 0);
}

void FileService::dial(std::uint64_t id, std::string attachFrame, int attempt) {
  auto socket = dialAgent(socketPath_);
  if (!socket && socket.error() == EAGAIN && attempt < kMaxDialAttempts) {
    loop_.after(kDialRetry, [this, id, attachFrame = std::move(attachFrame), attempt]() mutable {
      dial(id, std::move(attachFrame), attempt + 1);
    });
    return;
  }
  if (!socket) {
    operations_.erase(id);
    const bool ours = socket.error() == EMFILE || socket.error() == ENFILE || socket.error() == ENOMEM;
    return refuse_(id, ours ? Refusal::kInternal : Refusal::kBusy, "cannot connect to the agent: " + errnoText(socket.error()));
  }
  // Nothing has been read yet when the key goes out, so it fits into the socket whatever the agent does.
  Outgoing key;
  if (key.send(socket->get(), attachFrame) != Outgoing::Verdict::kSent) {
    operations_.erase(id);
    return refuse_(id, Refusal::kInternal, "cannot talk to the agent");
  }
  const pid_t pid = ::fork();
  if (pid == 0) runFileWorker(socket->get(), oomScoreAdj_);
  if (pid < 0) {
    const int error = errno;
    operations_.erase(id);
    return refuse_(id, error == EAGAIN ? Refusal::kBusy : Refusal::kInternal,
                   error == EAGAIN ? "the sandbox's process limit is reached" : "cannot start a process: " + errnoText(error));
  }
  auto& operation = operations_.at(id);
  operation.pid = pid;
  operation.socket = std::move(*socket);
  loop_.watch(operation.socket.get(), EPOLLRDHUP, [this, id](std::uint32_t) { onHangUp(id); });
  reaper_.expect(pid, [this, id](ExitStatus) { end(id); });
}

void FileService::onHangUp(std::uint64_t id) {
  auto& operation = operations_.at(id);
  // It has been said, and level-triggered it would be said again and again.
  loop_.forget(operation.socket.get());
  operation.timer = loop_.after(kTidyTime, [this, id] {
    auto& late = operations_.at(id);
    late.timer = 0;
    ::kill(late.pid, SIGKILL);
  });
}

void FileService::end(std::uint64_t id) {
  auto& operation = operations_.at(id);
  loop_.forget(operation.socket.get());
  if (operation.timer != 0) loop_.cancel(operation.timer);
  operation.socket.reset();
  loop_.later([this, id] { operations_.erase(id); });
}

}  // namespace gs::guest
