#include "server/gateway/blob_credentials.h"

#include "base/encoding.h"
#include "server/blueprints/blueprint_manifest.h"

namespace gs {
namespace {

constexpr std::string_view kPrefix = "gsd_";
constexpr std::size_t kMacChars = 43;
constexpr std::size_t kMaxKnown = 4'096;

std::unexpected<Error> refused(std::string_view reason, std::string message) {
  return fail(makeError(ErrorCode::kUnauthenticated, std::move(message)).withReason(std::string(reason)));
}

// "<host id> <manifest hex> <expiry, unix ms>"
struct Payload {
  std::string_view host;
  std::string_view manifestHex;
  std::int64_t expiresAt = 0;
};

std::optional<Payload> parsePayload(std::string_view text) {
  Payload out;
  const auto first = text.find(' ');
  const auto second = first == std::string_view::npos ? first : text.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  out.host = text.substr(0, first);
  out.manifestHex = text.substr(first + 1, second - first - 1);
  for (const char c : text.substr(second + 1)) {
    if (c < '0' || c > '9' || out.expiresAt > (INT64_MAX - 9) / 10) return std::nullopt;
    out.expiresAt = out.expiresAt * 10 + (c - '0');
  }
  return out;
}

}  // namespace

BlobCredentials::BlobCredentials(const Clock& clock, Millis lifetime) : clock_(clock), lifetime_(lifetime), key_(randomBytes(32)) {}

Result<BlobCredentials::Issued> BlobCredentials::issue(const HostId& host, const std::string& manifest) {
  auto parsed = parseBlueprintManifest(manifest);
  if (!parsed) return fail(ErrorCode::kInternal, "a stored manifest cannot be read: " + parsed.error().message);
  const Digest digest = Digest::of(manifest);
  const WallTime expiresAt = clock_.wallNow() + lifetime_;
  if (!known_.contains(digest)) forgetOld();
  known_[digest] = {parsed->blobs(), expiresAt};
  const std::string payload = fmt::format("{} {} {}", host.text(), digest.hex(), toUnixMillis(expiresAt));
  const std::string mac = hmacSha256(key_.reveal(), payload);
  return Issued{SecretString(fmt::format("{}{}_{}", kPrefix, toBase64Url(payload), toBase64Url(mac))), expiresAt};
}

Status BlobCredentials::check(std::string_view credential, const HostId& host, const Digest& blob) {
  const auto unknown = [] { return refused("credential_unknown", "the download credential is not one of this server's"); };
  // Base64url may hold underscores, so the parts are cut by length.
  if (!credential.starts_with(kPrefix) || credential.size() < kPrefix.size() + 1 + kMacChars) return unknown();
  const auto body = credential.substr(kPrefix.size(), credential.size() - kPrefix.size() - kMacChars - 1);
  const auto payload = fromBase64Url(body);
  const auto mac = fromBase64Url(credential.substr(credential.size() - kMacChars));
  if (credential[credential.size() - kMacChars - 1] != '_' || !payload || !mac) return unknown();
  if (!constantTimeEqual(*mac, hmacSha256(key_.reveal(), *payload))) return unknown();
  const auto parts = parsePayload(*payload);
  if (!parts) return unknown();
  if (parts->host != host.text()) return refused("credential_of_another_host", "the download credential was given to another host");
  if (fromUnixMillis(parts->expiresAt) <= clock_.wallNow()) {
    return refused("credential_expired", "the download credential has expired");
  }
  GS_TRY(const auto manifest, Digest::parse(fmt::format("sha256:{}", parts->manifestHex)));
  const auto it = known_.find(manifest);
  if (it == known_.end()) return refused("credential_expired", "the download credential is no longer known");
  if (!std::binary_search(it->second.blobs.begin(), it->second.blobs.end(), blob)) {
    return fail(makeError(ErrorCode::kPermissionDenied, "the download credential is not for this blob").withReason("blob_not_in_manifest"));
  }
  return {};
}

void BlobCredentials::forgetOld() {
  const WallTime now = clock_.wallNow();
  std::erase_if(known_, [&](const auto& item) { return item.second.until <= now; });
  if (known_.size() < kMaxKnown) return;
  const auto oldest = std::min_element(known_.begin(), known_.end(),
                                       [](const auto& a, const auto& b) { return a.second.until < b.second.until; });
  known_.erase(oldest);
}

}  // namespace gs
