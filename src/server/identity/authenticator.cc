#include "server/identity/authenticator.h"

#include "base/log.h"
#include "base/secret.h"
#include "server/identity/credentials.h"

namespace gs {
namespace {

constexpr Millis kTouchInterval = std::chrono::minutes(1);
constexpr std::size_t kHashBytes = 32;

std::unexpected<Error> noValidKey() {
  return fail(makeError(ErrorCode::kUnauthenticated, "the request has no valid API key")
                  .withFix("sign in with `gstacks auth login --api-key gsk_…`"));
}

// RFC 9110 §11.1: the scheme is a token without case, one or more spaces follow.
std::optional<std::string_view> bearerOf(const std::optional<std::string>& authorization) {
  constexpr std::string_view kScheme = "bearer";
  if (!authorization || authorization->size() <= kScheme.size()) return std::nullopt;
  std::string_view text = *authorization;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    if (c != kScheme[i]) return std::nullopt;
  }
  text.remove_prefix(kScheme.size());
  if (text.front() != ' ') return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text;
}

}  // namespace

Task<Result<Actor>> Authenticator::authenticate(std::optional<std::string> authorization) {
  const auto bearer = bearerOf(authorization);
  if (!bearer) co_return noValidKey();
  const auto presented = parseApiKey(*bearer);
  if (!presented) co_return noValidKey();
  auto key = co_await store_.getApiKey(presented->id);
  if (!key && key.error().code != ErrorCode::kNotFound) co_return fail(std::move(key).error());
  // An unknown id is compared as well, so that it takes as long as a wrong secret.
  const std::string expected = key ? key->secretHash : std::string(kHashBytes, '\0');
  const bool right = constantTimeEqual(expected, presented->hash);
  if (!right || !key || key->revokedAt) co_return noValidKey();
  const Actor actor{key->tenantId, key->userId, key->id, std::min(key->role, key->userRole)};
  co_await touch(std::move(*key));
  co_return actor;
}

Task<void> Authenticator::touch(ApiKeyRecord key) {
  const WallTime now = clock_.wallNow();
  if (key.lastUsedAt && now - *key.lastUsedAt < kTouchInterval) co_return;
  // Not knowing when a key was last used is no reason to refuse it (a full disk, say).
  const auto status = co_await store_.touchApiKey(key.id, now);
  if (!status) logWarn("api_key_use_not_recorded", {{"key", key.id.text()}, {"error", status.error().describe()}});
}

}  // namespace gs
