// Ids are types, so that a host id cannot be passed where a sandbox id is meant.
//
// Text form: three-letter prefix, underscore, 20 characters of lower-case Crockford base32 (100 random bits), e.g.
// `hst_0f3k…`. Ids are names, not secrets: knowing one gives no right.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

inline constexpr std::size_t kIdChars = 20;

// True when `text` is `prefix` + '_' + kIdChars characters of the id alphabet.
[[nodiscard]] bool isIdText(std::string_view prefix, std::string_view text);
[[nodiscard]] std::string makeIdText(std::string_view prefix);

template <class Tag>
class Id {
 public:
  Id() = default;  // empty: "no id"
  [[nodiscard]] static Id make() { return Id(makeIdText(Tag::kPrefix)); }
  // kInvalidArgument when it is not of this kind's form.
  [[nodiscard]] static Result<Id> parse(std::string_view text) {
    if (!isIdText(Tag::kPrefix, text)) {
      return fail(ErrorCode::kInvalidArgument, std::string("not a valid ") + Tag::kName + " id");
    }
    return Id(std::string(text));
  }
  // For text that this program wrote itself (database columns).
  [[nodiscard]] static Id trusted(std::string text) { return Id(std::move(text)); }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;
  friend bool operator==(const Id&, const Id&) = default;

 private:
  explicit Id(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

#define GS_ID(Type, prefix, name)                    \
  struct Type##Tag {                                 \
    static constexpr const char* kPrefix = prefix;   \
    static constexpr const char* kName = name;       \
  };                                                 \
  using Type = Id<Type##Tag>

GS_ID(TenantId, "ten", "tenant");
GS_ID(UserId, "usr", "user");
GS_ID(ClusterId, "clu", "cluster");
GS_ID(HostId, "hst", "host");
GS_ID(SandboxId, "sbx", "sandbox");
GS_ID(BlueprintId, "bpt", "blueprint");
GS_ID(TokenId, "tok", "provisioning token");
GS_ID(ApiKeyId, "key", "API key");
GS_ID(SessionId, "ses", "session");
GS_ID(RequestId, "req", "request");

}  // namespace gs

template <class Tag>
struct std::hash<gs::Id<Tag>> {
  std::size_t operator()(const gs::Id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.text()); }
};

template <class Tag>
struct fmt::formatter<gs::Id<Tag>> : fmt::formatter<std::string_view> {
  auto format(const gs::Id<Tag>& id, fmt::format_context& ctx) const {
    return fmt::formatter<std::string_view>::format(id.text(), ctx);
  }
};
