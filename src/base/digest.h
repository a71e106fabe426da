// SHA-256 digests as a type, and the hash that makes them.
//
// Text form `sha256:<64 lower-case hex>` (OCI image spec, descriptor digests). Only SHA-256 exists here: other
// algorithms are refused, so that one content has one name.
#pragma once

#include <compare>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

class Digest {
 public:
  Digest() = default;  // empty: "no digest"
  [[nodiscard]] static Result<Digest> parse(std::string_view text);  // kInvalidArgument
  [[nodiscard]] static Digest fromRaw(std::string_view raw32);
  [[nodiscard]] static Digest of(std::string_view bytes);

  [[nodiscard]] std::string text() const { return "sha256:" + hex_; }
  [[nodiscard]] const std::string& hex() const { return hex_; }
  [[nodiscard]] std::string raw() const;
  [[nodiscard]] bool empty() const { return hex_.empty(); }
  friend auto operator<=>(const Digest&, const Digest&) = default;
  friend bool operator==(const Digest&, const Digest&) = default;

 private:
  std::string hex_;
};

// Incremental SHA-256. finish() may be called once.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void update(std::string_view bytes);
  [[nodiscard]] Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// HMAC-SHA256 (RFC 2104), raw 32 bytes.
[[nodiscard]] std::string hmacSha256(std::string_view key, std::string_view message);

}  // namespace gs

template <>
struct std::hash<gs::Digest> {
  std::size_t operator()(const gs::Digest& d) const noexcept { return std::hash<std::string>{}(d.hex()); }
};
