// One request on its way through the API: what was asked, by whom, already checked against the contract.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "net/http_message.h"
#include "server/api/contract.h"
#include "server/core/records.h"
#include "server/sessions/attach_tickets.h"

namespace gs {

class ApiCall {
 public:
  ApiCall(HttpRequest& request, BodyReader& body);
  ~ApiCall();
  ApiCall(const ApiCall&) = delete;
  ApiCall& operator=(const ApiCall&) = delete;

  HttpRequest& request;
  BodyReader& bodyReader;  // of a streamed body; a JSON body was read already
  const Operation* operation = nullptr;
  std::string requestId;
  Actor actor;  // empty for public operations
  std::optional<TicketGrant> grant;  // the caller came with an attach ticket and no key
  std::map<std::string, std::string> path;
  std::map<std::string, std::string> headers;  // those that the operation knows, by the contract's spelling

  // Query parameters by name with their types; absent ones are absent.
  [[nodiscard]] const Json& query() const { return *query_; }
  // The JSON body; an empty object when there was none and none is required.
  [[nodiscard]] const Json& body() const { return *body_; }
  void setQuery(Json query);
  void setBody(Json body);

  // `limit` and `cursor` of a list.
  [[nodiscard]] PageRequest page() const;
  // A path parameter as an id; the contract has checked its form.
  template <class IdType>
  [[nodiscard]] IdType id(const std::string& name) const {
    return IdType::trusted(path.at(name));
  }
  // The version in If-Match, for operations that have it.
  [[nodiscard]] std::int64_t expectedVersion() const;

 private:
  std::unique_ptr<Json> query_;
  std::unique_ptr<Json> body_;
};

}  // namespace gs
