#include "server/api/handlers.h"
#include "server/api/text.h"
#include "wire/session_frames.h"

namespace gs::handlers {
namespace {

constexpr WsKeepAlive kKeepAlive{Millis(20'000), Millis(60'000)};

// A browser says where a script came from; one from elsewhere must not use this server, whatever key it has.
Status checkOrigin(const HttpRequest& request) {
  const auto origin = request.headers.find("Origin");
  if (!origin) return {};
  const auto scheme = origin->find("://");
  const auto host = request.headers.find("Host");
  const bool same = scheme != std::string_view::npos && host && equalsIgnoringCase(origin->substr(scheme + 3), *host);
  if (same) return {};
  return fail(makeError(ErrorCode::kPermissionDenied, "sessions are not open to pages of other origins")
                  .withReason("origin_mismatch"));
}

bool offersSubprotocol(const HttpRequest& request) {
  for (const auto& [name, value] : request.headers.all()) {
    if (equalsIgnoringCase(name, "Sec-WebSocket-Protocol") && listHas(value, kSessionSubprotocol)) return true;
  }
  return false;
}

}  // namespace

Task<Result<HttpResponse>> openSession(Api& api, ApiCall& call) {
  if (!call.request.webSocketUpgrade) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, "this path speaks WebSocket only")
                       .withReason("upgrade_required")
                       .withFix(fmt::format("upgrade with the subprotocol {}", kSessionSubprotocol)));
  }
  GS_CO_CHECK(checkOrigin(call.request));
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
  upgrade.run = [&broker = api.parts().sessions, actor = call.actor](std::shared_ptr<WebSocket> client) {
    return broker.run(actor, std::move(client));
  };
  response.upgrade = std::move(upgrade);
  co_return response;
}

}  // namespace gs::handlers
