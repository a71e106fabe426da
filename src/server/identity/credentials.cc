#include "server/identity/credentials.h"

#include "base/digest.h"
#include "base/encoding.h"

namespace gs {
namespace {

constexpr std::string_view kKeyPrefix = "gsk_";
constexpr std::string_view kTokenPrefix = "gsp_";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretChars = 43;

template <class Id>
std::string_view idChars(const Id& id) {
  return std::string_view(id.text()).substr(id.text().size() - kIdChars);
}

std::string hashOf(std::string_view secret) { return Digest::of(secret).raw(); }

bool isBase64Url(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

struct Fields {
  std::string_view id;
  std::string_view secret;
};

// `tail`: how many characters follow the secret.
std::optional<Fields> split(std::string_view text, std::string_view prefix, std::size_t tail) {
  const std::size_t secretAt = prefix.size() + kIdChars + 1;
  if (text.size() != secretAt + kSecretChars + tail || !text.starts_with(prefix)) return std::nullopt;
  if (text[secretAt - 1] != '_' || !isBase64Url(text.substr(secretAt))) return std::nullopt;
  return Fields{text.substr(prefix.size(), kIdChars), text.substr(secretAt, kSecretChars)};
}

template <class Id>
Result<Id> idFrom(std::string_view prefix, std::string_view chars) {
  return Id::parse(fmt::format("{}_{}", prefix, chars));
}

}  // namespace

MintedSecret mintApiKey(const ApiKeyId& id) {
  const std::string secret = toBase64Url(randomBytes(kSecretBytes));
  return {SecretString(fmt::format("{}{}_{}", kKeyPrefix, idChars(id), secret)), hashOf(secret)};
}

MintedSecret mintProvisioningToken(const TokenId& id, std::string_view caPin) {
  const std::string secret = toBase64Url(randomBytes(kSecretBytes));
  return {SecretString(fmt::format("{}{}_{}_{}", kTokenPrefix, idChars(id), secret, toBase64Url(caPin))), hashOf(secret)};
}

Result<PresentedApiKey> parseApiKey(std::string_view text) {
  const auto fields = split(text, kKeyPrefix, 0);
  if (!fields) return fail(ErrorCode::kUnauthenticated, "not an API key");
  auto id = idFrom<ApiKeyId>("key", fields->id);
  if (!id) return fail(ErrorCode::kUnauthenticated, "not an API key");
  return PresentedApiKey{std::move(*id), hashOf(fields->secret)};
}

Result<PresentedToken> parseProvisioningToken(std::string_view text) {
  const auto fields = split(text, kTokenPrefix, 1 + kSecretChars);
  const Result<TokenId> id = fields ? idFrom<TokenId>("tok", fields->id) : fail(ErrorCode::kUnauthenticated, "");
  if (!id) {
    return fail(makeError(ErrorCode::kUnauthenticated, "not a provisioning token").withReason("token_unknown"));
  }
  return PresentedToken{*id, hashOf(fields->secret)};
}

}  // namespace gs
