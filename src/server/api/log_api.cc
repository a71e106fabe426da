#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/log.h"
#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/text.h"

namespace gs::handlers {
namespace {

constexpr int kReconnectMs = 2'000;
constexpr Millis kHeartbeat{15'000};
constexpr Millis kLookAround{1'000};
// A key that was revoked meanwhile reads no longer than this.
constexpr Millis kCheckKey{15'000};

std::string positionText(std::string_view run, std::uint64_t offset) { return fmt::format("{}.{}", toHex(run), offset); }

std::string eventText(const LogsRecord& record) {
  Json data{{"time", formatTime(fromUnixMillis(record.timeMs))}, {"stream", record.stream == LogsStream::kStderr ? "stderr" : "stdout"}};
  // Pieces are cut anywhere, also within a character.
  if (isUtf8(record.data)) {
    data["text"] = record.data;
  } else {
    data["bytes"] = toBase64(record.data);
  }
  if (record.lostBytes > 0) data["lostBytes"] = record.lostBytes;
  return fmt::format("id: {}\nevent: output\ndata: {}\n\n", positionText(record.run, record.offset), canonicalJson(data));
}

// The log as the body of an answer that goes on until one side ends it.
class LogBody final : public BodySource {
 public:
  LogBody(std::unique_ptr<SandboxLogs::Reader> reader, LogsFrame first, Authenticator& authenticator, std::string authorization,
          std::function<bool()> clientLeft)
      : reader_(std::move(reader)),
        first_(std::move(first)),
        authenticator_(authenticator),
        authorization_(std::move(authorization)),
        clientLeft_(std::move(clientLeft)) {}

  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return std::nullopt; }

  Task<Result<std::string>> next() override {
    if (ended_) co_return std::string();
    if (!std::exchange(begun_, true)) co_return fmt::format("retry: {}\n\n", kReconnectMs) + textOf(first_);
    const auto heartbeat = Deadline::after(kHeartbeat);
    while (true) {
      if (keyCheckAt_.expired()) {
        keyCheckAt_ = Deadline::after(kCheckKey);
        if (!co_await authenticator_.authenticate(authorization_)) co_return farewell("the API key is no longer valid");
      }
      const auto frame = co_await reader_->next(Deadline::after(kLookAround));
      if (clientLeft_()) co_return fail(ErrorCode::kCancelled, "the client has left");
      if (!frame) co_return farewell("the log broke off; come back for the rest");
      if (auto text = textOf(*frame); !text.empty()) co_return text;
      if (heartbeat.expired()) co_return std::string(": heartbeat\n\n");
    }
  }

 private:
  std::string farewell(std::string_view why) {
    ended_ = true;
    return fmt::format(": {}\nretry: {}\n\n", why, kReconnectMs);
  }

  std::string textOf(const LogsFrame& frame) {
    std::string out;
    if (const auto* batch = std::get_if<LogsBatch>(&frame)) {
      for (const auto& record : batch->records) out += eventText(record);
    } else if (std::holds_alternative<LogsEnd>(frame)) {
      ended_ = true;
      out = "event: end\ndata: {}\n\n";
    } else if (const auto* error = std::get_if<Error>(&frame)) {
      logWarn("log_not_read", {{"error", error->describe()}});
      out = farewell("the host cannot read the log now");
    }
    return out;
  }

  std::unique_ptr<SandboxLogs::Reader> reader_;
  LogsFrame first_;
  Authenticator& authenticator_;
  std::string authorization_;
  std::function<bool()> clientLeft_;
  Deadline keyCheckAt_ = Deadline::after(kCheckKey);
  bool begun_ = false;
  bool ended_ = false;
};

Status readPosition(std::string_view text, LogsSession& wish) {
  const auto dot = text.find('.');
  const auto run = dot == std::string_view::npos ? fail(ErrorCode::kInvalidArgument, "") : fromHex(text.substr(0, dot));
  const auto offset = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
  const bool number = !offset.empty() && offset.size() <= 18 && offset.find_first_not_of("0123456789") == std::string_view::npos;
  if (!run || run->size() != kLogsRunBytes || !number) {
    return fail(makeError(ErrorCode::kInvalidArgument, "the position is not one of this stream")
                    .withFix("send the id of the last event as it came, or none"));
  }
  wish.afterRun = *run;
  wish.afterOffset = std::stoull(std::string(offset));
  return {};
}

Result<LogsSession> wishOf(const ApiCall& call) {
  LogsSession wish;
  const auto& query = call.query();
  if (query.value("follow", false)) wish.follow = LogsFollow::kYes;
  if (const auto since = query.find("since"); since != query.end()) {
    GS_TRY(const auto time, parseTime(since->get<std::string>()));
    wish.sinceMs = toUnixMillis(time);
  }
  if (const auto tail = query.find("tail"); tail != query.end()) wish.tailLines = tail->get<std::uint64_t>();
  if (const auto id = call.headers.find("Last-Event-ID"); id != call.headers.end()) {
    GS_CHECK(readPosition(id->second, wish));
  } else if (const auto after = query.find("after"); after != query.end()) {
    GS_CHECK(readPosition(after->get<std::string>(), wish));
  }
  return wish;
}

}  // namespace

Task<Result<HttpResponse>> streamSandboxLogs(Api& api, ApiCall& call) {
  GS_CO_TRY(auto wish, wishOf(call));
  GS_CO_TRY(auto reader, co_await api.parts().logs.open(call.actor, call.id<SandboxId>("sandboxId"), std::move(wish)));
  // What the host says at once may be that it cannot: then that is the answer.
  GS_CO_TRY(auto first, co_await reader->next(Deadline::after(kLookAround)));
  if (auto* error = std::get_if<Error>(&first)) co_return fail(std::move(*error));
  HttpResponse response;
  response.headers.set("Content-Type", "text/event-stream");
  response.headers.set("X-Accel-Buffering", "no");  // a proxy that collects what it passes on would hold output back
  const auto authorization = call.request.headers.find("Authorization");
  response.stream = std::make_unique<LogBody>(std::move(reader), std::move(first), api.parts().authenticator,
                                              std::string(authorization.value_or("")), call.request.clientLeft);
  co_return response;
}

}  // namespace gs::handlers
