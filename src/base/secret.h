// A secret that cannot be printed by accident.
//
// It has no formatter, no stream operator and no implicit conversion: the one way out is reveal(), which is easy to
// search for. The bytes are wiped when it is destroyed. It never goes to a log, an error, argv or the database.
#pragma once

#include <string>
#include <string_view>

namespace gs {

class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string value) : value_(std::move(value)) {}
  SecretString(const SecretString&) = default;
  SecretString(SecretString&&) noexcept = default;
  SecretString& operator=(const SecretString&) = default;
  SecretString& operator=(SecretString&&) noexcept = default;
  ~SecretString();

  [[nodiscard]] std::string_view reveal() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }

 private:
  std::string value_;
};

// Time depends on the length only, never on the contents.
[[nodiscard]] bool constantTimeEqual(std::string_view a, std::string_view b);

}  // namespace gs
