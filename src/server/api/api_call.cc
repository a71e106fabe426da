#include "server/api/api_call.h"

#include <nlohmann/json.hpp>

namespace gs {

ApiCall::ApiCall(HttpRequest& r, BodyReader& b)
    : request(r),
      bodyReader(b),
      query_(std::make_unique<Json>(Json::object())),
      body_(std::make_unique<Json>(Json::object())) {}
ApiCall::~ApiCall() = default;

void ApiCall::setQuery(Json query) { *query_ = std::move(query); }
void ApiCall::setBody(Json body) { *body_ = std::move(body); }

PageRequest ApiCall::page() const {
  return {query_->value("limit", std::int64_t{50}), query_->value("cursor", std::string())};
}

std::int64_t ApiCall::expectedVersion() const {
  // The contract's pattern: digits in quotes, at most 18 of them.
  const auto found = headers.find("If-Match");
  return found == headers.end() ? 0 : std::stoll(found->second.substr(1));
}

}  // namespace gs
