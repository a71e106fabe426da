#include "agent/link/channel_dialer.h"

#include "base/log.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr std::size_t kMostSpares = 64;
constexpr Millis kDialTime{15'000};

}  // namespace

void ChannelDialer::setIdentity(const HostIdentity& identity) {
  auto endpoint = endpointOf(identity);
  if (!endpoint) {
    logError("identity_unusable", {{"error", endpoint.error().describe()}});
    return;
  }
  client_ = makeHttpClient(executor_, std::move(*endpoint), 0);
}

void ChannelDialer::open(std::vector<SecretString> tickets) {
  for (auto& ticket : tickets) {
    if (spares_ >= kMostSpares) {
      logWarn("channel_tickets_dropped", {{"spares", spares_}});
      return;
    }
    ++spares_;
    tasks_.spawn("data channel", serve(std::move(ticket)));
  }
}

Task<void> ChannelDialer::serve(SecretString ticket) {
  struct Spare {
    std::size_t* count;
    void release() {
      if (count != nullptr) --*std::exchange(count, nullptr);
    }
    ~Spare() { release(); }
  } spare{&spares_};
  const auto client = client_;
  HttpClient::WebSocketRequest request;
  request.target = "/agent/v1/channel";
  request.subprotocol = std::string(kChannelSubprotocol);
  request.headers.set("X-Gstacks-Ticket", std::string(ticket.reveal()));
  request.maxMessageBytes = kMaxSessionPayload + 1024;
  request.keepAlive = {kChannelPingAfter, kChannelDropAfter};
  const auto channel = co_await client->connectWebSocket(std::move(request), Deadline::after(kDialTime));
  if (!channel) {
    logWarn("channel_not_made", {{"error", channel.error().describe()}});
    co_return;
  }
  const auto first = co_await (*channel)->read();
  if (!first) co_return;
  auto open = decodeSessionOpen(*first);
  if (!open) {
    co_await (*channel)->close(1002, open.error().message);
    co_return;
  }
  spare.release();
  logInfo("session_open", {{"session", open->sessionId.text()}, {"sandbox", open->sandboxId.text()}});
  const std::string id = open->sessionId.text();
  co_await runSession_(*channel, std::move(*open));
  logInfo("session_end", {{"session", id}});
}

}  // namespace gs
