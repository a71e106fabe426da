#include "server/api/health_probe.h"

#include "base/log.h"

namespace gs {
namespace {

constexpr Millis kTrust = std::chrono::seconds(1);

}  // namespace

Task<Status> HealthProbe::check() {
  if (stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
  if (clock_.steadyNow() < goodUntil_) co_return Status{};
  const auto status = co_await probe_();
  if (!status) {
    // What is wrong with the database is for the log: this operation is public.
    logError("health_check_failed", {{"error", status.error().describe()}});
    co_return fail(ErrorCode::kUnavailable, "the server cannot use its database");
  }
  goodUntil_ = clock_.steadyNow() + kTrust;
  co_return Status{};
}

}  // namespace gs
