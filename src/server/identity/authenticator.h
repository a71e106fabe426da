// Who is asking: turns the Authorization header of a request into an Actor.
//
// Missing, malformed, unknown, wrong and revoked keys are one and the same answer. Nothing is cached, so a revocation
// counts from the next request on. Loop thread only; store and clock must outlive it.
#pragma once

#include <optional>
#include <string>

#include "async/task.h"
#include "server/store/store.h"

namespace gs {

class Authenticator {
 public:
  Authenticator(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  // `authorization`: the whole header, when there is one. kUnauthenticated; kUnavailable and the like when the store
  // cannot be read. Records the use of the key, at most once a minute.
  [[nodiscard]] Task<Result<Actor>> authenticate(std::optional<std::string> authorization);

 private:
  [[nodiscard]] Task<void> touch(ApiKeyRecord key);

  Store& store_;
  const Clock& clock_;
};

}  // namespace gs
