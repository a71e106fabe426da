// An Error as the answer that the HTTP contract promises: RFC 9457, with the status that its code and reason stand for.
//
// The statuses of codes are in wire/problem.h; this adds those that need the reason, and the single faults. What went
// wrong inside the server is logged by the caller and not told: a client gets the request id to find it with.
#pragma once

#include <string>
#include <string_view>

#include "net/http_message.h"
#include "server/core/fault.h"

namespace gs {

// Fits the contract whatever the error says: lengths are cut, an internal error says only that.
struct Problem {
  int status = 500;
  std::string json;
};
[[nodiscard]] Problem makeProblem(const Error& error, std::string_view requestId, std::string_view instance);
[[nodiscard]] HttpResponse problemResponse(const Error& error, std::string_view requestId, std::string_view instance);

[[nodiscard]] int problemStatus(const Error& error);
// kInvalidArgument with these faults.
[[nodiscard]] Error invalidRequest(const std::vector<Fault>& faults);

}  // namespace gs
