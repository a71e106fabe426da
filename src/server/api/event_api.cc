#include <nlohmann/json.hpp>

#include <charconv>

#include "base/log.h"
#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/views.h"

namespace gs::handlers {
namespace {

constexpr int kReconnectMs = 2'000;
// A key that was revoked meanwhile reads no longer than this.
constexpr Millis kCheckKey{15'000};

std::string eventText(std::int64_t id, std::string_view name, const Json& data) {
  return fmt::format("id: {}\nevent: {}\ndata: {}\n\n", id, name, canonicalJson(data));
}

// The events as the body of an answer that goes on until one side ends it.
class EventStreamBody final : public BodySource {
 public:
  EventStreamBody(std::unique_ptr<EventFeed::Follower> follower, Authenticator& authenticator, std::string authorization)
      : follower_(std::move(follower)), authenticator_(authenticator), authorization_(std::move(authorization)) {}

  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return std::nullopt; }

  Task<Result<std::string>> next() override {
    if (ended_) co_return std::string();
    if (!std::exchange(begun_, true)) {
      // An id without data is no event, but a client that breaks off now has a position to resume from.
      co_return fmt::format("retry: {}\nid: {}\n\n", kReconnectMs, follower_->position());
    }
    if (keyCheckAt_.expired()) {
      keyCheckAt_ = Deadline::after(kCheckKey);
      if (!co_await authenticator_.authenticate(authorization_)) co_return farewell("the API key is no longer valid");
    }
    const auto batch = co_await follower_->next();
    if (!batch) {
      logWarn("events_not_read", {{"error", batch.error().describe()}});
      co_return farewell("the events cannot be read now");
    }
    switch (batch->end) {
      case EventFeed::Batch::End::kStopping: co_return farewell("the server is stopping");
      case EventFeed::Batch::End::kGone: co_return fail(ErrorCode::kCancelled, "the client has left");
      case EventFeed::Batch::End::kNone: break;
    }
    co_return textOf(*batch);
  }

 private:
  std::string farewell(std::string_view why) {
    ended_ = true;
    return fmt::format(": {}\nretry: {}\n\n", why, kReconnectMs);
  }

  static std::string textOf(const EventFeed::Batch& batch) {
    std::string out;
    if (batch.gap) {
      out += eventText(batch.gap->through, "gap", {{"after", batch.gap->after}, {"through", batch.gap->through}});
    }
    for (const auto& event : batch.items) out += eventText(event.sequence, "sandbox", view::sandboxEvent(event));
    // The position moves on although nothing of it was for this client.
    if (out.empty()) out = fmt::format(": heartbeat\nid: {}\n\n", batch.position);
    return out;
  }

  std::unique_ptr<EventFeed::Follower> follower_;
  Authenticator& authenticator_;
  std::string authorization_;
  Deadline keyCheckAt_ = Deadline::after(kCheckKey);
  bool begun_ = false;
  bool ended_ = false;
};

std::optional<std::int64_t> positionOf(const ApiCall& call) {
  // The header is what a browser sends when it comes back; the parameter is that of its first request.
  if (const auto id = call.headers.find("Last-Event-ID"); id != call.headers.end()) {
    std::int64_t value = 0;
    std::from_chars(id->second.data(), id->second.data() + id->second.size(), value);
    return value;
  }
  if (const auto after = call.query().find("after"); after != call.query().end()) return after->get<std::int64_t>();
  return std::nullopt;
}

}  // namespace

Task<Result<HttpResponse>> listSandboxEvents(Api& api, ApiCall& call) {
  SandboxEventQuery query;
  query.sandbox = call.id<SandboxId>("sandboxId");
  query.after = call.query().value("after", std::int64_t{0});
  query.limit = call.page().limit;
  GS_CO_TRY(const auto slice, co_await api.parts().sandboxes.events(call.actor, std::move(query)));
  Json items = Json::array();
  for (const auto& event : slice.items) items.push_back(view::sandboxEvent(event));
  Json out{{"items", std::move(items)}};
  if (slice.prunedThrough > 0) out["prunedThrough"] = slice.prunedThrough;
  co_return jsonReply(200, out);
}

Task<Result<HttpResponse>> streamEvents(Api& api, ApiCall& call) {
  std::optional<SandboxId> sandbox;
  if (const auto id = call.query().find("sandboxId"); id != call.query().end()) {
    sandbox = SandboxId::trusted(id->get<std::string>());
  }
  GS_CO_TRY(auto follower, co_await api.parts().feed.follow(call.actor.tenantId, std::move(sandbox), positionOf(call),
                                                            call.request.clientLeft));
  HttpResponse response;
  response.headers.set("Content-Type", "text/event-stream");
  response.headers.set("X-Accel-Buffering", "no");  // a proxy that collects what it passes on would hold events back
  const auto authorization = call.request.headers.find("Authorization");
  response.stream = std::make_unique<EventStreamBody>(std::move(follower), api.parts().authenticator,
                                                      std::string(authorization.value_or("")));
  co_return response;
}

}  // namespace gs::handlers
