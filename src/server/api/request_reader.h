// Holds a request against the contract: parameters, then the body. What passes can be used without looking again.
//
// Faults are collected per part, so that one answer names every bad parameter, or every bad member of the body.
// Loop thread only.
#pragma once

#include "async/task.h"
#include "server/api/api_call.h"

namespace gs {

// Path, query and header parameters into the call. kInvalidArgument with all faults; a missing header may have a status
// of its own (reason if_match_missing).
[[nodiscard]] Status readParameters(ApiCall& call);

// The JSON body into the call; for a streamed one only media type, encoding and stated length are checked.
// kInvalidArgument (also reason unsupported_media_type), kResourceExhausted (body_too_large), kUnavailable (gone away).
[[nodiscard]] Task<Status> readBody(ApiCall& call);

// A body that ends with kResourceExhausted (body_too_large) past `limit`.
class BoundedBody final : public BodyReader {
 public:
  BoundedBody(BodyReader& inner, std::uint64_t limit) : inner_(inner), left_(limit), limit_(limit) {}
  [[nodiscard]] Task<Result<std::string>> next() override;

 private:
  BodyReader& inner_;
  std::uint64_t left_;
  std::uint64_t limit_;
};

}  // namespace gs
