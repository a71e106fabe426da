#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/text.h"
#include "server/api/views.h"
#include "wire/session_frames.h"

namespace gs::handlers {
namespace {

constexpr std::uint64_t kMostOutput = (std::uint64_t{1} << 53) - 1;
constexpr WsKeepAlive kKeepAlive{Millis(20'000), Millis(60'000)};

enum class Caller : std::uint8_t { kKey, kTicket };

// A browser says where a script came from. Whatever key or ticket it has, a page may do this only when it was allowed to;
// and a ticket is for pages only.
Status checkOrigin(const HttpRequest& request, const std::vector<std::string>& allowed, Caller caller) {
  const auto origin = request.headers.find("Origin");
  if (!origin && caller == Caller::kKey) return {};
  const bool listed = origin && std::ranges::any_of(allowed, [&](const std::string& each) { return equalsIgnoringCase(each, *origin); });
  if (listed) return {};
  return fail(makeError(ErrorCode::kPermissionDenied, "sessions are not open to pages of that origin")
                  .withReason("origin_mismatch")
                  .withFix("allow it: gstacks-server serve --allow-origin https://HOST"));
}

bool offersSubprotocol(const HttpRequest& request) {
  for (const auto& [name, value] : request.headers.all()) {
    if (equalsIgnoringCase(name, "Sec-WebSocket-Protocol") && listHas(value, kSessionSubprotocol)) return true;
  }
  return false;
}

std::string_view stateName(SessionInfo::State state) {
  switch (state) {
    case SessionInfo::State::kAttached: return "attached";
    case SessionInfo::State::kWaiting: return "waiting";
    case SessionInfo::State::kDetached: return "detached";
    case SessionInfo::State::kEnded: return "ended";
  }
  return "ended";
}

}  // namespace
}  // namespace gs::handlers

namespace gs {

Json view::session(const SessionInfo& info, WallTime now) {
  Json out{{"id", info.sessionId.text()},
           {"state", handlers::stateName(info.state)},
           {"program", info.program},
           {"detached", info.lifetime == SessionPolicy::Lifetime::kDetached},
           {"viewers", info.viewers},
           {"outputBytes", std::min(info.outputBytes, handlers::kMostOutput)},
           {"createdAt", formatTime(now - info.age)}};
  // What the guest says is not to be believed; a form that the contract does not have is left out.
  if (isIdText("usr", info.owner)) out["createdBy"] = info.owner;
  if (info.terminal) out["terminal"] = {{"rows", info.terminal->rows}, {"columns", info.terminal->columns}};
  if (info.state == SessionInfo::State::kEnded) {
    out["exit"] = info.exitSignal != 0 ? Json{{"signal", view::signalText(info.exitSignal)}} : Json{{"code", info.exitCode}};
  }
  return out;
}

}  // namespace gs

namespace gs::handlers {

Task<Result<HttpResponse>> listSessions(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto sessions, co_await api.parts().sessionDirectory.list(call.actor, call.id<SandboxId>("sandboxId")));
  Json items = Json::array();
  const auto now = api.parts().sessionDirectory.now();
  for (const auto& session : sessions) items.push_back(view::session(session, now));
  co_return jsonReply(200, Json{{"items", std::move(items)}});
}

Task<Result<HttpResponse>> closeSession(Api& api, ApiCall& call) {
  GS_CO_CHECK(co_await api.parts().sessionDirectory.end(call.actor, call.id<SandboxId>("sandboxId"), call.id<SessionId>("sessionId")));
  co_return emptyReply();
}

Task<Result<HttpResponse>> createAttachTicket(Api& api, ApiCall& call) {
  TicketGrant grant{call.actor, call.id<SandboxId>("sandboxId"), call.id<SessionId>("sessionId"), {}};
  const auto mode = call.body().value("mode", "write");
  if (mode == "take_over") grant.mode = AttachSession::Mode::kTakeOver;
  if (mode == "view") grant.mode = AttachSession::Mode::kView;
  GS_CO_CHECK(co_await api.parts().sessionDirectory.checkAttachable(call.actor, grant.sandbox, grant.session));
  GS_CO_TRY(const auto issued, api.parts().tickets.issue(std::move(grant)));
  co_return jsonReply(201, Json{{"ticket", std::string(issued.ticket.reveal())}, {"expiresAt", formatTime(issued.expiresAt)}});
}

Task<Result<HttpResponse>> openSession(Api& api, ApiCall& call) {
  if (!call.request.webSocketUpgrade) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "this path speaks WebSocket only")
                       .withReason("upgrade_required")
                       .withFix(fmt::format("upgrade with the subprotocol {}", kSessionSubprotocol)));
  }
  GS_CO_CHECK(checkOrigin(call.request, api.parts().allowedOrigins, call.grant ? Caller::kTicket : Caller::kKey));
  if (!offersSubprotocol(call.request)) {
    co_return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("the subprotocol {} was not offered", kSessionSubprotocol))
                       .withFix(fmt::format("send Sec-WebSocket-Protocol: {}", kSessionSubprotocol)));
  }
  GS_CO_CHECK(api.parts().checkSessionQuota(call.actor.tenantId));
  HttpResponse response;
  response.status = 101;
  HttpResponse::Upgrade upgrade;
  upgrade.subprotocol = std::string(kSessionSubprotocol);
  upgrade.maxMessageBytes = kMaxSessionPayload + 1;  // the type byte
  upgrade.keepAlive = kKeepAlive;
  upgrade.run = [&broker = api.parts().sessions, actor = call.actor, grant = call.grant](std::shared_ptr<WebSocket> client) {
    return broker.run(actor, std::move(client), grant);
  };
  response.upgrade = std::move(upgrade);
  co_return response;
}

}  // namespace gs::handlers
