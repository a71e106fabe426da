// Successful answers. Pure.
#pragma once

#include <string>

#include "base/json.h"
#include "net/http_message.h"
#include "server/core/records.h"

namespace gs {

[[nodiscard]] HttpResponse jsonReply(int status, const Json& value);
[[nodiscard]] HttpResponse emptyReply();  // 204
// Adds what single resources have.
[[nodiscard]] HttpResponse withETag(HttpResponse response, std::int64_t version);
[[nodiscard]] HttpResponse withLocation(HttpResponse response, std::string path);

// {"items": […], "nextCursor": …}
[[nodiscard]] HttpResponse listReply(std::vector<Json> items, const std::string& nextCursor);

}  // namespace gs
