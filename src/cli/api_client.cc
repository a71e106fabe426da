#include "cli/api_client.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "async/with_deadline.h"
#include "base/encoding.h"
#include "base/version.h"
#include "cli/api_transport.h"
#include "cli/failure.h"

namespace gs::cli {
namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;
constexpr std::string_view kPageSize = "200";
constexpr Millis kBeforeRepeat{1'000};
// Three heartbeats of an event stream.
constexpr Millis kMaxStreamSilence{45'000};
constexpr std::array kSystemCaFiles{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                    "/etc/ssl/cert.pem"};

Result<std::string> readCaFile(const std::string& fromLogin) {
  std::vector<std::string> candidates;
  if (!fromLogin.empty()) {
    candidates.push_back(fromLogin);
  } else {
    if (const char* named = std::getenv("SSL_CERT_FILE"); named != nullptr && *named != '\0')
      candidates.emplace_back(named);
    candidates.insert(candidates.end(), kSystemCaFiles.begin(), kSystemCaFiles.end());
  }
  for (const auto& path : candidates) {
    std::ifstream file(path, std::ios::binary);
    if (!file) continue;
    std::ostringstream text;
    text << file.rdbuf();
    return std::move(text).str();
  }
  return fail(
      makeError(ErrorCode::kInvalidArgument, fmt::format("cannot read CA certificates from {}", candidates.front()))
          .withFix("install ca-certificates, or log in with --ca-file"));
}

// Reads in the loop thread: nothing else runs on this loop while a body is sent.
class DescriptorBody final : public BodySource {
 public:
  explicit DescriptorBody(ApiClient::Upload upload) : upload_(std::move(upload)) {}

  Task<Result<std::string>> next() override {
    std::string chunk(kChunkBytes, '\0');
    ssize_t got = 0;
    do {
      got = ::read(upload_.fd, chunk.data(), chunk.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) co_return fail(fileError(errno, "cannot read the archive"));
    chunk.resize(static_cast<std::size_t>(got));
    sent_ += chunk.size();
    if (upload_.sizeBytes && (sent_ > *upload_.sizeBytes || (got == 0 && sent_ < *upload_.sizeBytes))) {
      co_return fail(ErrorCode::kAborted, "the archive changed while it was sent");
    }
    if (upload_.progress) upload_.progress(sent_);
    co_return chunk;
  }
  std::optional<std::uint64_t> sizeBytes() const override { return upload_.sizeBytes; }

 private:
  ApiClient::Upload upload_;
  std::uint64_t sent_ = 0;
};

Task<Result<HttpClientResponse>> sendRequest(HttpClient& http, HttpClientRequest request, Deadline deadline) {
  co_return co_await http.send(std::move(request), deadline);
}

Task<Status> streamPieces(HttpClient& http, HttpClientRequest request, Deadline deadline,
                          std::function<Result<StreamNext>(std::string_view)> take) {
  GS_CO_TRY(const auto answer, co_await http.open(std::move(request), deadline));
  if (answer->status() != 200) {
    GS_CO_TRY(const auto body, co_await readAll(*answer, kChunkBytes));
    co_return fail(errorFromAnswer(answer->status(), answer->headers().find("Content-Type").value_or(""), body));
  }
  while (true) {
    GS_CO_TRY(const auto piece, co_await withDeadline(Deadline::after(kMaxStreamSilence), "the next word of the server", answer->next()));
    if (piece.empty()) co_return Status();
    GS_CO_TRY(const auto next, take(piece));
    if (next == StreamNext::kEnough) co_return Status();
  }
}

Task<Status> sleepOnce(Millis time) {
  co_await sleepFor(time);
  co_return Status();
}

Error explain(Error error, const std::string& baseUrl) {
  if (error.code == ErrorCode::kUnavailable) {
    error.message = fmt::format("cannot talk to {}: {}", baseUrl, error.message);
    if (error.fix.empty())
      error.fix = "check that gstacks-server runs there, or log in to another: gstacks auth login --base-url URL";
  }
  if (error.code == ErrorCode::kDeadlineExceeded) {
    error.message = fmt::format("{} did not answer in time: {}", baseUrl, error.message);
    if (error.fix.empty()) error.fix = "try again, or allow more time with --timeout";
  }
  return error;
}

}  // namespace

struct ApiClient::Call {
  std::string method{};
  std::string target{};
  std::string body{};
  std::string contentType{};
  HttpHeaders headers{};
  std::unique_ptr<BodySource> stream{};
  Millis timeout{};
};

HttpHeaders ApiTransport::headers() const {
  HttpHeaders headers;
  headers.set("User-Agent", fmt::format("gstacks/{}", versionString()));
  if (!apiKey.empty()) headers.set("Authorization", fmt::format("Bearer {}", apiKey.reveal()));
  return headers;
}

ApiClient::ApiClient() = default;
ApiClient::~ApiClient() = default;

Result<std::unique_ptr<ApiClient>> ApiClient::make(const Login& login, Millis timeout) {
  GS_TRY(auto endpoint, HttpEndpoint::parse(login.baseUrl));
  if (login.baseUrl.starts_with("https://")) {
    TlsClientSettings settings;
    GS_TRY(settings.caPem, readCaFile(login.caFile));
    GS_TRY(endpoint.tls, makeTlsClientContext(settings));
  }
  // A line break in a header would be another header.
  for (const char c : login.apiKey.reveal()) {
    if (c <= ' ' || c > '~') {
      return fail(makeError(ErrorCode::kUnauthenticated, "the API key has characters that no key has")
                      .withFix("log in again: gstacks auth login"));
    }
  }
  std::unique_ptr<ApiClient> client(new ApiClient());
  client->baseUrl_ = login.baseUrl;
  client->timeout_ = timeout;
  client->transport_ = std::make_unique<ApiTransport>();
  client->transport_->apiKey = login.apiKey;
  client->transport_->http = makeHttpClient(client->transport_->loop.get_executor(), std::move(endpoint));
  return client;
}

Result<Json> ApiClient::perform(Call call) {
  HttpClientRequest request;
  request.method = std::move(call.method);
  request.target = std::move(call.target);
  request.headers = transport_->headers();
  for (const auto& [name, value] : call.headers.all()) request.headers.set(name, value);
  request.headers.set("Accept", "application/json, application/problem+json");
  if (!call.contentType.empty()) request.headers.set("Content-Type", call.contentType);
  request.body = std::move(call.body);
  request.stream = std::move(call.stream);

  auto answer = transport_->run(sendRequest(*transport_->http, std::move(request), Deadline::after(call.timeout)));
  if (!answer) return fail(explain(std::move(answer).error(), baseUrl_));
  const auto contentType = answer->headers.find("Content-Type").value_or("");
  if (answer->status >= 400) return fail(errorFromAnswer(answer->status, contentType, answer->body));
  if (answer->status < 200 || answer->status >= 300) {
    return fail(
        makeError(ErrorCode::kInternal, fmt::format("the server answered {}, which the API never does", answer->status))
            .withFix("check that the base URL is that of gstacks-server"));
  }
  if (answer->body.empty()) return Json::object();
  auto json = parseJson(answer->body);
  if (!json || !contentType.starts_with("application/json")) {
    return fail(makeError(ErrorCode::kInternal, fmt::format("{} did not answer with JSON", baseUrl_))
                    .withFix("check that the base URL is that of gstacks-server"));
  }
  return std::move(*json);
}

Result<Json> ApiClient::get(std::string path, Query query, Millis extraTime) {
  return perform({.method = "GET", .target = pathWith(std::move(path), query), .timeout = timeout_ + extraTime});
}

Result<Json> ApiClient::post(std::string path, const Json& body) {
  return perform({.method = "POST",
                  .target = std::move(path),
                  .body = canonicalJson(body),
                  .contentType = "application/json",
                  .timeout = timeout_});
}

Result<Json> ApiClient::postOnce(std::string path, const Json& body) {
  HttpHeaders headers;
  headers.set("Idempotency-Key", "gstacks-" + randomIdChars(32));
  const auto send = [&] {
    return perform({.method = "POST",
                    .target = path,
                    .body = canonicalJson(body),
                    .contentType = "application/json",
                    .headers = headers,
                    .timeout = timeout_});
  };
  auto answer = send();
  if (answer) return answer;
  const Error& error = answer.error();
  const bool lost = error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
  // One with a request id is an answer.
  if (!lost || !requestIdOf(error).empty()) return answer;
  GS_CHECK(pause(kBeforeRepeat));
  return send();
}

Result<Json> ApiClient::post(std::string path) {
  return perform({.method = "POST", .target = std::move(path), .timeout = timeout_});
}

Result<Json> ApiClient::patch(std::string path, std::int64_t version, const Json& body) {
  HttpHeaders headers;
  headers.set("If-Match", fmt::format("\"{}\"", version));
  return perform({.method = "PATCH",
                  .target = std::move(path),
                  .body = canonicalJson(body),
                  .contentType = "application/json",
                  .headers = std::move(headers),
                  .timeout = timeout_});
}

Result<Json> ApiClient::remove(std::string path, Query query) {
  return perform({.method = "DELETE", .target = pathWith(std::move(path), query), .timeout = timeout_});
}

Result<std::vector<Json>> ApiClient::list(std::string path, Query query,
                                          const std::function<bool(const Json&)>& enough) {
  std::vector<Json> items;
  query.emplace_back("limit", kPageSize);
  std::string cursor;
  do {
    Query page = query;
    if (!cursor.empty()) page.emplace_back("cursor", cursor);
    GS_TRY(Json answer, get(path, std::move(page)));
    const auto found = answer.find("items");
    if (found == answer.end() || !found->is_array())
      return fail(ErrorCode::kInternal, "the server sent a list without items");
    for (auto& item : *found) {
      items.push_back(std::move(item));
      if (enough && enough(items.back())) return items;
    }
    GS_TRY(auto next, findString(answer, "nextCursor"));
    cursor = std::move(next).value_or("");
  } while (!cursor.empty());
  return items;
}

Status ApiClient::stream(std::string path, Query query, const std::string& lastEventId,
                         const std::function<Result<StreamNext>(std::string_view)>& take) {
  HttpClientRequest request;
  request.target = pathWith(std::move(path), query);
  request.headers = transport_->headers();
  request.headers.set("Accept", "text/event-stream, application/problem+json");
  if (!lastEventId.empty()) request.headers.set("Last-Event-ID", lastEventId);
  auto done = runTask(transport_->loop, streamPieces(*transport_->http, std::move(request), Deadline::after(timeout_), take));
  if (!done) return fail(explain(std::move(done).error(), baseUrl_));
  return {};
}

Status ApiClient::pause(Millis time) { return runTask(transport_->loop, sleepOnce(time)); }

Result<Json> ApiClient::upload(std::string path, Query query, Upload upload) {
  HttpHeaders headers;
  if (!upload.contentDigest.empty()) headers.set("Content-Digest", upload.contentDigest);
  const Millis timeout = upload.timeout;
  std::string contentType = upload.contentType;
  return perform({.method = "POST",
                  .target = pathWith(std::move(path), query),
                  .contentType = std::move(contentType),
                  .headers = std::move(headers),
                  .stream = std::make_unique<DescriptorBody>(std::move(upload)),
                  .timeout = timeout});
}

std::string percentEncode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                            c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string pathWith(std::string path, const Query& query) {
  char separator = '?';
  for (const auto& [name, value] : query) {
    path += separator + percentEncode(name) + "=" + percentEncode(value);
    separator = '&';
  }
  return path;
}

}  // namespace gs::cli
