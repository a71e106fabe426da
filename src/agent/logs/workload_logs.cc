#include "agent/logs/workload_logs.h"

#include <filesystem>

#include "base/log.h"

namespace gs {
namespace {

// How long one question waits for output; the guest is asked anew after it.
constexpr Millis kAsk{60'000};
constexpr Millis kRetry{1'000};
constexpr Millis kLook{200};

}  // namespace

void WorkloadLogs::changed() {
  ++changes_;
  changed_.notifyAll();
}

Task<Result<WorkloadLogs::Writer>> WorkloadLogs::open(SandboxId id) {
  co_return co_await pool_.run([folder = folder(id), limits = limits_]() -> Result<Writer> {
    GS_TRY(auto writer, LogWriter::open(folder, limits));
    return std::make_shared<LogWriter>(std::move(writer));
  });
}

Task<Status> WorkloadLogs::write(Writer writer, OutputChunk chunk) {
  if (const auto now = std::chrono::steady_clock::now(); now >= roomCheckAt_) {
    GS_CO_CHECK(checkRoom_());
    roomCheckAt_ = now + kRetry;
  }
  co_return co_await pool_.run([writer = std::move(writer), chunk = std::move(chunk)]() -> Status {
    GS_CHECK(writer->begin(chunk.run));
    for (const auto& record : chunk.records) {
      // A guest may say what it likes; what is here already is not taken twice.
      if (record.offset + record.data.size() <= writer->next()) continue;
      std::string_view data = record.data;
      auto offset = record.offset;
      if (offset < writer->next()) {
        data.remove_prefix(writer->next() - offset);
        offset = writer->next();
      }
      const auto kind = record.stream == OutputStream::kStdout ? LogKind::kStdout : LogKind::kStderr;
      GS_CHECK(writer->append({kind, record.readAtMs, offset, data}));
    }
    return {};
  });
}

Task<void> WorkloadLogs::collect(SandboxId id, GuestChannel& channel) {
  Writer writer;
  bool said = false;
  struct Forget {
    WorkloadLogs& logs;
    const SandboxId& id;
    ~Forget() { logs.taken_.erase(id); }
  } const forget{*this, id};
  while (true) {
    const auto connected = co_await channel.waitConnected(Deadline::after(kAsk));
    if (!connected && connected.error().code == ErrorCode::kCancelled) co_return;
    if (!connected) continue;
    const auto run = channel.state().outputRun;
    if (run.empty()) {
      // A guest from before there were logs: it will be another one when the container is.
      const auto revision = channel.state().revision;
      if (const auto next = co_await channel.waitChange(revision, Deadline::after(kAsk)); next.revision == revision && !next.connected) co_return;
      continue;
    }
    Status done;
    if (!writer) {
      auto opened = co_await open(id);
      if (opened) writer = std::move(*opened);
      if (!opened) done = fail(std::move(opened).error());
    }
    if (done) {
      const auto next = writer->run() == run ? writer->next() : 0;
      taken_[id] = {run, next};
      changed();
      auto chunk = co_await channel.readOutput(next, Deadline::after(kAsk));
      if (!chunk) {
        if (chunk.error().code == ErrorCode::kCancelled) co_return;
        if (chunk.error().code != ErrorCode::kDeadlineExceeded) co_await sleepFor(kLook);
        continue;
      }
      done = co_await write(writer, std::move(*chunk));
    }
    if (done) {
      said = false;
      continue;
    }
    // Opened anew: what was written of the chunk is found there.
    writer.reset();
    if (!std::exchange(said, true)) logWarn("log_not_written", {{"sandbox", id.text()}, {"error", done.error().describe()}});
    co_await sleepFor(kRetry);
  }
}

Task<void> WorkloadLogs::drained(SandboxId id, GuestChannel& channel, Deadline deadline) {
  while (!deadline.expired()) {
    const auto& state = channel.state();
    if (!state.connected || state.outputRun.empty()) co_return;
    const auto found = taken_.find(id);
    if (found == taken_.end()) co_return;
    if (found->second.run == state.outputRun && found->second.offset >= state.outputEnd) co_return;
    co_await changed_.waitUntil(deadline.earlier(Deadline::after(kLook)));
  }
}

Task<Status> WorkloadLogs::discard(SandboxId id) {
  auto done = co_await pool_.run([folder = folder(id)]() -> Status {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    if (error) return fail(errnoError(error.value(), "removing " + folder));
    return {};
  });
  changed();
  co_return done;
}

}  // namespace gs
