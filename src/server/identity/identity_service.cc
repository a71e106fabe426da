#include "server/identity/identity_service.h"

#include "server/core/names.h"
#include "server/identity/credentials.h"

namespace gs {

Task<Result<CreatedApiKey>> IdentityService::createTenant(std::string name, std::string adminEmail) {
  GS_CO_CHECK(checkResourceName("tenant", name));
  if (adminEmail.empty() || adminEmail.size() > 254) {
    co_return fail(ErrorCode::kInvalidArgument, "the admin's name must have 1 to 254 characters");
  }
  const WallTime now = clock_.wallNow();
  Store::NewTenant all;
  all.tenant = {TenantId::make(), std::move(name), now};
  all.admin = {UserId::make(), all.tenant.id, std::move(adminEmail), Role::kAdmin, now};
  all.cluster.id = ClusterId::make();
  all.cluster.tenantId = all.tenant.id;
  all.cluster.name = "default";
  all.cluster.isDefault = true;
  all.cluster.createdAt = now;
  all.key.id = ApiKeyId::make();
  all.key.tenantId = all.tenant.id;
  all.key.userId = all.admin.id;
  all.key.name = "first-admin";
  all.key.role = Role::kAdmin;
  all.key.userRole = Role::kAdmin;
  all.key.createdAt = now;
  auto secret = mintApiKey(all.key.id);
  all.key.secretHash = secret.hash;
  GS_CO_CHECK(co_await store_.insertTenant(all));
  co_return CreatedApiKey{std::move(all.key), std::move(secret.text)};
}

Task<Result<Identity>> IdentityService::whoami(Actor actor) {
  GS_CO_TRY(auto tenant, co_await store_.getTenant(actor.tenantId));
  GS_CO_TRY(auto user, co_await store_.getUser(actor.tenantId, actor.userId));
  co_return Identity{std::move(tenant), std::move(user)};
}

Task<Result<CreatedApiKey>> IdentityService::createApiKey(Actor actor, std::string name, Role role) {
  if (role > actor.role) {
    co_return fail(ErrorCode::kPermissionDenied, "a key cannot have a higher role than the one that makes it");
  }
  ApiKeyRecord key;
  key.id = ApiKeyId::make();
  key.tenantId = actor.tenantId;
  key.userId = actor.userId;
  key.name = std::move(name);
  key.role = role;
  key.createdAt = clock_.wallNow();
  auto secret = mintApiKey(key.id);
  key.secretHash = secret.hash;
  GS_CO_CHECK(co_await store_.insertApiKey(actor, key));
  co_return CreatedApiKey{std::move(key), std::move(secret.text)};
}

Task<Result<Page<ApiKeyRecord>>> IdentityService::listApiKeys(Actor actor, PageRequest page) {
  return store_.listApiKeys(std::move(actor.tenantId), std::move(page));
}

Task<Status> IdentityService::revokeApiKey(Actor actor, ApiKeyId id) {
  return store_.revokeApiKey(std::move(actor), std::move(id));
}

Task<Result<CreatedToken>> IdentityService::createToken(Actor actor, TokenWish wish) {
  TokenRecord token;
  token.id = TokenId::make();
  token.tenantId = actor.tenantId;
  token.clusterId = std::move(wish.clusterId);
  token.name = std::move(wish.name);
  token.maxUses = wish.maxUses;
  token.createdAt = clock_.wallNow();
  token.expiresAt = token.createdAt + wish.life;
  auto secret = mintProvisioningToken(token.id, caPin_);
  token.secretHash = secret.hash;
  GS_CO_CHECK(co_await store_.insertToken(actor, token));
  co_return CreatedToken{std::move(token), std::move(secret.text)};
}

Task<Result<TokenRecord>> IdentityService::getToken(Actor actor, TokenId id) {
  return store_.getToken(std::move(actor.tenantId), std::move(id));
}

Task<Result<Page<TokenRecord>>> IdentityService::listTokens(Actor actor, PageRequest page) {
  return store_.listTokens(std::move(actor.tenantId), std::move(page));
}

Task<Status> IdentityService::revokeToken(Actor actor, TokenId id) {
  return store_.revokeToken(std::move(actor), std::move(id));
}

std::string_view tokenStateName(const TokenRecord& token, WallTime now) {
  if (token.revokedAt) return "revoked";
  if (now >= token.expiresAt) return "expired";
  return token.uses >= token.maxUses ? "exhausted" : "active";
}

}  // namespace gs
