// The HTTP API for commands: blocking calls that give JSON or a typed Error.
//
// Commands run one after another in one thread, so the loop turns only inside a call; command files need no coroutines
// and no Asio. Errors are those of the API (see failure.h); kUnavailable names the address and what to check.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "cli/config_file.h"

namespace gs::cli {

struct ApiTransport;  // api_transport.h

using Query = std::vector<std::pair<std::string, std::string>>;

enum class StreamNext : std::uint8_t { kMore, kEnough };

class ApiClient {
 public:
  // Without a key only public operations succeed. kInvalidArgument: the URL or the CA file cannot be used.
  [[nodiscard]] static Result<std::unique_ptr<ApiClient>> make(const Login& login, Millis timeout);
  ~ApiClient();

  [[nodiscard]] Result<Json> get(std::string path, Query query = {}, Millis extraTime = Millis(0));
  [[nodiscard]] Result<Json> post(std::string path, const Json& body);
  // With an Idempotency-Key of its own, and once more when no answer came: the operation must take such a key.
  [[nodiscard]] Result<Json> postOnce(std::string path, const Json& body);
  [[nodiscard]] Result<Json> post(std::string path);  // no body
  [[nodiscard]] Result<Json> patch(std::string path, std::int64_t version, const Json& body);
  [[nodiscard]] Result<Json> remove(std::string path, Query query = {});
  // Every item of a list, page after page, or until `enough` says so.
  [[nodiscard]] Result<std::vector<Json>> list(std::string path, Query query = {},
                                               const std::function<bool(const Json&)>& enough = {});

  // Sends a file (or what a descriptor gives, when the size is not known) as a body that is never whole in memory.
  struct Upload {
    int fd = -1;
    std::optional<std::uint64_t> sizeBytes;
    std::string contentType;
    std::string contentDigest;  // empty: none is stated
    std::function<void(std::uint64_t sent)> progress;
    Millis timeout{};
  };
  [[nodiscard]] Result<Json> upload(std::string path, Query query, Upload upload);

  // An answer that goes on (server-sent events): each piece of it, until its end or until `take` has enough. kUnavailable
  // when it breaks off or the server is silent for longer than three heartbeats; an error of `take` as it is.
  [[nodiscard]] Status stream(std::string path, Query query, const std::string& lastEventId,
                              const std::function<Result<StreamNext>(std::string_view)>& take);
  [[nodiscard]] Status pause(Millis time);

  [[nodiscard]] const std::string& baseUrl() const { return baseUrl_; }
  [[nodiscard]] ApiTransport& transport() { return *transport_; }

 private:
  ApiClient();
  struct Call;
  [[nodiscard]] Result<Json> perform(Call call);

  std::string baseUrl_;
  Millis timeout_{};
  std::unique_ptr<ApiTransport> transport_;
};

// RFC 3986: everything but unreserved characters as %XX.
[[nodiscard]] std::string percentEncode(std::string_view text);
[[nodiscard]] std::string pathWith(std::string path, const Query& query);

}  // namespace gs::cli
