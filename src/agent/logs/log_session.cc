#include "agent/logs/log_session.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

namespace gs {
namespace {

// With the last record that is in it a message is below the 64 KiB that a channel takes.
constexpr std::size_t kBatchBytes = 32 * 1024;
constexpr Millis kLook{1'000};

std::vector<LogsRecord> toRecords(std::vector<LogEntry> entries) {
  std::vector<LogsRecord> out;
  for (auto& entry : entries) {
    out.push_back({entry.kind == LogKind::kStderr ? LogsStream::kStderr : LogsStream::kStdout, entry.timeMs, std::move(entry.data),
                   entry.lostBytes, std::move(entry.end.run), entry.end.offset});
  }
  return out;
}

// Nobody has anything to say here; what comes is the reader's going away.
Task<void> waitGone(WebSocket& channel) {
  while (co_await channel.read()) {
  }
}

Task<Status> sendAll(WebSocket& channel, const SessionOpen& open, WorkloadLogs& logs, const std::function<bool(const SandboxId&)>& known) {
  if (!known(open.sandboxId)) co_return fail(ErrorCode::kNotFound, fmt::format("the sandbox {} is not on this host", open.sandboxId.text()));
  const LogsSession& wish = std::get<LogsSession>(open.kind);
  const auto reader = std::make_shared<LogReader>(logs.folder(open.sandboxId));
  LogQuery query;
  query.sinceMs = wish.sinceMs;
  query.tail = wish.tailLines;
  query.after = {wish.afterRun, wish.afterOffset};
  GS_CO_CHECK(co_await logs.pool().run([reader, query] { return reader->seek(query); }));
  while (true) {
    const auto seen = logs.changes();
    GS_CO_TRY(auto entries, co_await logs.pool().run([reader] { return reader->read(kBatchBytes); }));
    if (!entries.empty()) {
      GS_CO_CHECK(co_await channel.write(encode(LogsFrame{LogsBatch{toRecords(std::move(entries))}})));
      continue;
    }
    if (wish.follow == LogsFollow::kNo || !known(open.sandboxId)) co_return co_await channel.write(encode(LogsFrame{LogsEnd{}}));
    const auto deadline = Deadline::after(kLook);
    while (logs.changes() == seen && !deadline.expired()) co_await logs.waitChange(deadline);
  }
}

}  // namespace

Task<void> runLogSession(std::shared_ptr<WebSocket> channel, SessionOpen open, WorkloadLogs& logs,
                         std::function<bool(const SandboxId&)> known) {
  using namespace asio::experimental::awaitable_operators;
  auto winner = co_await (sendAll(*channel, open, logs, known) || waitGone(*channel));
  if (winner.index() == 0) {
    if (auto& done = std::get<0>(winner); !done) co_await channel->write(encode(LogsFrame{std::move(done).error()}));
    co_await channel->close(1000, "");
  } else {
    channel->abort();
  }
}

}  // namespace gs
