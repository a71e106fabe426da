#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/problem.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {
namespace {

// ArgumentVector of the contract: what one assignment can carry, which its schema cannot say.
constexpr std::size_t kMaxProcessBytes = 49'152;

template <class T>
void take(const Json& body, const char* member, T& out) {
  if (const auto found = body.find(member); found != body.end()) out = found->get<T>();
}

template <class IdType>
void takeId(const Json& body, const char* member, std::optional<IdType>& out) {
  if (const auto found = body.find(member); found != body.end()) out = IdType::trusted(found->get<std::string>());
}

SandboxWish wishFrom(const Json& body) {
  SandboxWish wish;
  take(body, "name", wish.name);
  take(body, "blueprint", wish.blueprint);
  takeId(body, "hostId", wish.host);
  takeId(body, "clusterId", wish.cluster);
  take(body, "requiredTags", wish.requiredTags);
  take(body, "requiredTraits", wish.requiredTraits);
  take(body, "runtime", wish.runtime);
  take(body, "command", wish.command);
  take(body, "workingDir", wish.workingDir);
  take(body, "user", wish.user);
  if (const auto env = body.find("env"); env != body.end()) {
    for (const auto& [name, value] : env->items()) wish.env.emplace_back(name, value.get<std::string>());
  }
  if (body.value("waitForHost", false)) wish.noHost = Store::Placing::NoHost::kWait;
  if (const auto resources = body.find("resources"); resources != body.end()) {
    take(*resources, "cpuMillis", wish.resources.cpuMillis);
    take(*resources, "memoryBytes", wish.resources.memoryBytes);
    take(*resources, "pids", wish.resources.pids);
  }
  if (const auto policy = body.find("onDisconnect"); policy != body.end()) {
    wish.stopAfterDisconnect = Seconds(policy->value("stopAfterSeconds", std::int64_t{0}));
  }
  if (const auto ttl = body.find("ttlSeconds"); ttl != body.end()) wish.ttl = Seconds(ttl->get<std::int64_t>());
  wish.idleStop = Seconds(body.value("idleStopSeconds", std::int64_t{0}));
  if (const auto restart = body.find("restart"); restart != body.end()) {
    wish.restart.mode = parseRestartMode(restart->value("mode", std::string())).value_or(RestartMode::kNever);
    take(*restart, "maxRestarts", wish.restart.maxRestarts);
  }
  return wish;
}

Status checkProcessBytes(const SandboxWish& wish) {
  std::size_t bytes = 0;
  for (const auto& argument : wish.command) bytes += argument.size();
  for (const auto& [name, value] : wish.env) bytes += name.size() + value.size();
  if (bytes <= kMaxProcessBytes) return {};
  return fail(invalidRequest({{"/command", fmt::format("together with env it has {} bytes, at most {} are allowed",
                                                       bytes, kMaxProcessBytes)}}));
}

// With why it waits, if it does.
Task<Result<HttpResponse>> explainedReply(Api& api, SandboxRecord record) {
  Json out = view::sandbox(record);
  if (record.state == SandboxState::kRequested && record.hostId.empty()) {
    GS_CO_TRY(const auto report, co_await api.parts().sandboxes.explainWaiting(std::move(record)));
    out["placement"] = view::placement(report);
  }
  co_return jsonReply(200, out);
}

HttpResponse sandboxReply(int status, const SandboxRecord& record) { return jsonReply(status, view::sandbox(record)); }

}  // namespace

Task<Result<HttpResponse>> listSandboxes(Api& api, ApiCall& call) {
  Store::SandboxFilter filter;
  takeId(call.query(), "hostId", filter.host);
  if (const auto state = call.query().find("state"); state != call.query().end()) {
    GS_CO_TRY(filter.state, parseSandboxState(state->get<std::string>()));
  }
  GS_CO_TRY(const auto page, co_await api.parts().sandboxes.list(call.actor, std::move(filter), call.page()));
  co_return listReply(view::items(page, view::sandbox), page.nextCursor);
}

Task<Result<HttpResponse>> createSandbox(Api& api, ApiCall& call) {
  SandboxWish wish = wishFrom(call.body());
  GS_CO_CHECK(checkProcessBytes(wish));
  if (const auto key = call.headers.find("Idempotency-Key"); key != call.headers.end()) {
    wish.repeat = RepeatKey{key->second, Digest::of(canonicalJson(call.body()))};
  }
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.create(call.actor, std::move(wish)));
  co_return withLocation(sandboxReply(201, sandbox), "/api/sandboxes/" + sandbox.id.text());
}

Task<Result<HttpResponse>> explainPlacement(Api& api, ApiCall& call) {
  SandboxWish wish = wishFrom(call.body());
  GS_CO_CHECK(checkProcessBytes(wish));
  GS_CO_TRY(const auto report, co_await api.parts().sandboxes.explain(call.actor, std::move(wish)));
  co_return jsonReply(200, view::placement(report));
}

Task<Result<HttpResponse>> getSandbox(Api& api, ApiCall& call) {
  const auto id = call.id<SandboxId>("sandboxId");
  std::vector<SandboxState> states;
  if (const auto waitFor = call.query().find("waitFor"); waitFor != call.query().end()) {
    for (const auto& name : *waitFor) {
      GS_CO_TRY(const SandboxState state, parseSandboxState(name.get<std::string>()));
      states.push_back(state);
    }
  }
  if (states.empty()) {
    GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.get(call.actor, id));
    co_return co_await explainedReply(api, sandbox);
  }
  const auto deadline = Deadline::after(Millis(call.query().value("waitMs", std::int64_t{0})));
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.waitFor(call.actor, id, std::move(states), deadline, call.request.clientLeft));
  co_return co_await explainedReply(api, sandbox);
}

Task<Result<HttpResponse>> setSandboxLifetime(Api& api, ApiCall& call) {
  SandboxService::LifetimeWish wish;
  const auto takeSeconds = [&call](const char* member, std::optional<Seconds>& out) {
    if (const auto found = call.body().find(member); found != call.body().end()) out = Seconds(found->get<std::int64_t>());
  };
  takeSeconds("ttlSeconds", wish.ttl);
  takeSeconds("idleStopSeconds", wish.idleStop);
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.setLifetime(call.actor, call.id<SandboxId>("sandboxId"), wish));
  co_return sandboxReply(200, sandbox);
}

Task<Result<HttpResponse>> startSandbox(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.start(call.actor, call.id<SandboxId>("sandboxId")));
  co_return sandboxReply(202, sandbox);
}

Task<Result<HttpResponse>> stopSandbox(Api& api, ApiCall& call) {
  const Millis grace(call.body().value("graceMs", kDefaultGraceMs));
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.stop(call.actor, call.id<SandboxId>("sandboxId"), grace));
  co_return sandboxReply(202, sandbox);
}

Task<Result<HttpResponse>> deleteSandbox(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto sandbox, co_await api.parts().sandboxes.remove(call.actor, call.id<SandboxId>("sandboxId")));
  co_return sandboxReply(202, sandbox);
}

}  // namespace gs::handlers
