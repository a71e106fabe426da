#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/encoding.h"

namespace gs {

namespace {

// Looked up once: EVP_sha256() makes OpenSSL search its providers for each digest.
const EVP_MD* sha256() {
  static const EVP_MD* const kFetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return kFetched;
}

}  // namespace

struct Hasher::State {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  State() { EVP_DigestInit_ex(ctx, sha256(), nullptr); }
  ~State() { EVP_MD_CTX_free(ctx); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) return fail(ErrorCode::kInvalidArgument, "a digest must start with sha256:");
  text.remove_prefix(kPrefix.size());
  const bool clean = text.size() == 64 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (!clean) return fail(ErrorCode::kInvalidArgument, "a digest must have 64 lower-case hex characters");
  Digest out;
  out.hex_ = std::string(text);
  return out;
}

Digest Digest::fromRaw(std::string_view raw32) {
  Digest out;
  out.hex_ = toHex(raw32);
  return out;
}

Digest Digest::of(std::string_view bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

std::string Digest::raw() const { return fromHex(hex_).value_or(std::string()); }

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(std::string_view bytes) { EVP_DigestUpdate(state_->ctx, bytes.data(), bytes.size()); }

Digest Hasher::finish() {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
  unsigned int size = out.size();
  EVP_DigestFinal_ex(state_->ctx, out.data(), &size);
  return Digest::fromRaw({reinterpret_cast<const char*>(out.data()), size});
}

std::string hmacSha256(std::string_view key, std::string_view message) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
  unsigned int size = out.size();
  HMAC(sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(), out.data(), &size);
  return {reinterpret_cast<const char*>(out.data()), size};
}

}  // namespace gs
