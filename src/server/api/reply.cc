#include "server/api/reply.h"

#include <nlohmann/json.hpp>

namespace gs {

HttpResponse jsonReply(int status, const Json& value) {
  HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.body = canonicalJson(value);
  return response;
}

HttpResponse emptyReply() {
  HttpResponse response;
  response.status = 204;
  return response;
}

HttpResponse withETag(HttpResponse response, std::int64_t version) {
  response.headers.set("ETag", fmt::format("\"{}\"", version));
  return response;
}

HttpResponse withLocation(HttpResponse response, std::string path) {
  response.headers.set("Location", std::move(path));
  return response;
}

HttpResponse listReply(std::vector<Json> items, const std::string& nextCursor) {
  Json out{{"items", std::move(items)}};
  if (!nextCursor.empty()) out["nextCursor"] = nextCursor;
  return jsonReply(200, out);
}

}  // namespace gs
