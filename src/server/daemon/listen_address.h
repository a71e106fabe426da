// "127.0.0.1:8080" and "[::1]:8080" as given on the command line. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

struct ListenAddress {
  std::string address;
  std::uint16_t port = 0;  // 0: any free one

  // kInvalidArgument naming the form that is wanted. Addresses only: a name could mean several interfaces.
  [[nodiscard]] static Result<ListenAddress> parse(std::string_view text);
  [[nodiscard]] bool isLoopback() const;
};

}  // namespace gs
