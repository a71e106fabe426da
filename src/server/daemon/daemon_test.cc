#include <gtest/gtest.h>

#include "server/daemon/listen_address.h"

namespace gs {
namespace {

TEST(ListenAddress, TakesAddressesAndPortsOnly) {
  const struct {
    const char* text;
    const char* address;
    int port;
    bool loopback;
  } good[] = {{"127.0.0.1:8080", "127.0.0.1", 8080, true},
              {"127.9.9.9:0", "127.9.9.9", 0, true},
              {"[::1]:8443", "::1", 8443, true},
              {"0.0.0.0:65535", "0.0.0.0", 65535, false},
              {"[::]:1", "::", 1, false}};
  for (const auto& row : good) {
    const auto parsed = ListenAddress::parse(row.text);
    ASSERT_TRUE(parsed) << row.text;
    EXPECT_EQ(parsed->address, row.address);
    EXPECT_EQ(parsed->port, row.port);
    EXPECT_EQ(parsed->isLoopback(), row.loopback) << row.text;
  }
  for (const char* bad : {"", "8080", ":8080", "localhost:80", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:8x", "::1:80", "[127.0.0.1]:80",
                          "127.0.0.1.example:80"}) {
    EXPECT_FALSE(ListenAddress::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace gs
