// Tenants, users, API keys and provisioning tokens: who may do what, and who may join.
//
// Roles are checked by the caller (server/api). Loop thread only; store and clock must outlive it.
#pragma once

#include <string>

#include "async/task.h"
#include "base/secret.h"
#include "server/store/store.h"

namespace gs {

struct Identity {
  TenantRecord tenant;
  UserRecord user;
};
struct CreatedApiKey {
  ApiKeyRecord record;
  SecretString key;  // the only time that it is seen
};
struct CreatedToken {
  TokenRecord record;
  SecretString token;
};

class IdentityService {
 public:
  // `caPin`: raw SHA-256 of the CA's public key, the part of a token by which an agent knows this server. Empty where
  // no tokens are made.
  IdentityService(Store& store, const Clock& clock, std::string caPin)
      : store_(store), clock_(clock), caPin_(std::move(caPin)) {}

  // A tenant with its first admin and that admin's key. kAlreadyExists: the name is taken; kInvalidArgument: it is none.
  [[nodiscard]] Task<Result<CreatedApiKey>> createTenant(std::string name, std::string adminEmail);

  [[nodiscard]] Task<Result<Identity>> whoami(Actor actor);
  // For the actor's own user, never above the actor's own role. kAlreadyExists; repeat: kAlreadyExists.
  [[nodiscard]] Task<Result<CreatedApiKey>> createApiKey(Actor actor, std::string name, Role role);
  [[nodiscard]] Task<Result<Page<ApiKeyRecord>>> listApiKeys(Actor actor, PageRequest page);
  [[nodiscard]] Task<Status> revokeApiKey(Actor actor, ApiKeyId id);  // kNotFound; repeat: success

  struct TokenWish {
    ClusterId clusterId;
    std::string name;  // may be empty
    std::int64_t maxUses = 1;
    std::chrono::seconds life{3600};
  };
  // kNotFound: the cluster; kFailedPrecondition: it is managed; kAlreadyExists: the name. Repeat: another token.
  [[nodiscard]] Task<Result<CreatedToken>> createToken(Actor actor, TokenWish wish);
  [[nodiscard]] Task<Result<TokenRecord>> getToken(Actor actor, TokenId id);
  [[nodiscard]] Task<Result<Page<TokenRecord>>> listTokens(Actor actor, PageRequest page);
  [[nodiscard]] Task<Status> revokeToken(Actor actor, TokenId id);  // kNotFound; repeat: success
  [[nodiscard]] WallTime now() const { return clock_.wallNow(); }

 private:
  Store& store_;
  const Clock& clock_;
  std::string caPin_;
};

// "active", "exhausted", "expired" or "revoked"; of several the last one.
[[nodiscard]] std::string_view tokenStateName(const TokenRecord& token, WallTime now);

}  // namespace gs
