// SHA-256 (FIPS 180-4) by libcrypto's primitive: the guest links that one object statically (some 24 KB), and not the
// machinery of providers around it. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace gs::guest {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::string_view bytes);
  // 32 raw bytes. Once.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gs::guest
