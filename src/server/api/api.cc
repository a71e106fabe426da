#include "server/api/api.h"

#include <boost/system/system_error.hpp>

#include "base/encoding.h"
#include "base/log.h"
#include "server/api/handlers.h"
#include "server/api/problem.h"
#include "server/api/request_reader.h"
#include "server/api/text.h"

namespace gs {
namespace {

constexpr std::size_t kMaxRequestId = 128;

bool isRequestId(std::string_view text) {
  if (text.empty() || text.size() > kMaxRequestId) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

std::string requestIdOf(const HttpRequest& request) {
  const auto given = request.headers.find("X-Request-Id");
  return given && isRequestId(*given) ? std::string(*given) : RequestId::make().text();
}

std::optional<std::string> headerOf(const HttpRequest& request, std::string_view name) {
  const auto found = request.headers.find(name);
  return found ? std::optional<std::string>(*found) : std::nullopt;
}

class Counted {
 public:
  Counted(std::size_t& count, Event& idle) : count_(count), idle_(idle) { ++count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() {
    if (--count_ == 0) idle_.notifyAll();
  }

 private:
  std::size_t& count_;
  Event& idle_;
};

void logAnswer(const ApiCall& call, const Error& error, int status) {
  // Only what is the server's own fault is worth a line by default; the rest was told to whom it concerns.
  log(status >= 500 && error.code != ErrorCode::kUnavailable ? LogLevel::kError : LogLevel::kDebug, "request_failed",
      {{"request", call.requestId},
       {"method", call.request.method},
       {"path", escapeForLog(call.request.path)},
       {"status", status},
       {"error", error.describe()}});
}

Error noSuchPath(const Route& route, const HttpRequest& request) {
  if (route.allowed.empty()) return makeError(ErrorCode::kNotFound, "there is nothing at this path");
  return makeError(ErrorCode::kInvalidArgument, fmt::format("this path has no method {}", escapeForLog(request.method, 32)))
      .withReason("method_not_allowed")
      .withFix("it has " + route.allowed);
}

}  // namespace

Api::Api(Executor executor, ApiParts parts, std::unique_ptr<Contract> contract)
    : parts_(std::move(parts)), contract_(std::move(contract)), router_(*contract_), idle_(executor) {}

Result<std::unique_ptr<Api>> Api::make(Executor executor, ApiParts parts) {
  GS_TRY(auto contract, Contract::load());
  std::unique_ptr<Api> api(new Api(std::move(executor), std::move(parts), std::move(contract)));
  GS_CHECK(api->bindHandlers());
  return api;
}

Status Api::bindHandlers() {
  for (const auto& [id, handler] : apiHandlers()) handlers_.emplace(id, handler);
  for (const auto& operation : contract_->operations()) {
    if (!handlers_.contains(operation.id)) {
      return fail(ErrorCode::kInternal, "the contract has an operation without a handler: " + operation.id);
    }
  }
  if (handlers_.size() != contract_->operations().size()) {
    return fail(ErrorCode::kInternal, "there are handlers of operations that the contract does not have");
  }
  return {};
}

HttpHandler Api::handler() {
  return [this](HttpRequest& request, BodyReader& body) { return answer(request, body); };
}

Task<void> Api::drain(Deadline deadline) {
  while (running_ > 0 && !deadline.expired()) co_await idle_.waitUntil(deadline);
}

Task<HttpResponse> Api::answer(HttpRequest& request, BodyReader& body) {
  const Counted counted(running_, idle_);
  ApiCall call(request, body);
  call.requestId = requestIdOf(request);
  Result<HttpResponse> result = fail(ErrorCode::kInternal, "no answer");
  try {
    result = co_await process(call);
  } catch (const boost::system::system_error&) {
    throw;  // cancellation: the server stops
  } catch (const std::exception& e) {
    result = fail(ErrorCode::kInternal, std::string("a handler threw: ") + e.what());
  }
  if (!result) {
    const Error& error = result.error();
    auto response = problemResponse(error, call.requestId, instanceOf(request.target));
    if (response.status == 405) response.headers.set("Allow", error.fix.substr(std::string_view("it has ").size()));
    logAnswer(call, error, response.status);
    result = std::move(response);
  }
  result->headers.set("X-Request-Id", call.requestId);
  result->headers.set("X-Content-Type-Options", "nosniff");
  result->headers.set("Cache-Control", "no-store");
  co_return std::move(*result);
}

Task<Status> Api::identify(ApiCall& call) {
  const auto authorization = headerOf(call.request, "Authorization");
  const auto& query = call.request.query;
  const auto ticket = std::ranges::find(query, "ticket", [](const auto& each) { return each.first; });
  if (!authorization && call.operation->acceptsTicket && ticket != query.end()) {
    GS_CO_TRY(call.grant, parts_.tickets.redeem(ticket->second));
    call.actor = call.grant->actor;
    co_return Status();
  }
  GS_CO_TRY(call.actor, co_await parts_.authenticator.authenticate(authorization));
  co_return Status();
}

Task<Result<HttpResponse>> Api::process(ApiCall& call) {
  Route route = router_.match(call.request.method, call.request.path);
  if (route.operation == nullptr) co_return fail(noSuchPath(route, call.request));
  call.operation = route.operation;
  call.path = std::move(route.path);
  if (const auto role = call.operation->role) {
    GS_CO_CHECK(co_await identify(call));
    if (call.actor.role < *role) {
      co_return fail(makeError(ErrorCode::kPermissionDenied,
                               fmt::format("this needs the role {}, the key has {}", roleName(*role), roleName(call.actor.role)))
                         .withFix("use a key with that role"));
    }
  }
  GS_CO_CHECK(readParameters(call));
  GS_CO_CHECK(co_await readBody(call));
  co_return co_await handlers_.at(call.operation->id)(*this, call);
}

}  // namespace gs
