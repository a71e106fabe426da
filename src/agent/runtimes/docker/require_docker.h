// For tests: GS_REQUIRE_DOCKER() skips, and prints why, where no Docker engine answers; with GS_REQUIRE_ALL=1 (in CI)
// it fails instead. Not for production code: it includes GoogleTest.
#pragma once

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/runtimes/docker/docker_engine.h"
#include "async/run_task.h"

namespace gs {

inline constexpr const char* kTestDockerSocket = "/var/run/docker.sock";

// Empty when tests against the real engine can run.
inline std::string whyNoDocker() {
  if (::geteuid() != 0) return "needs root";
  asio::io_context loop;
  DockerEngine engine(loop.get_executor(), kTestDockerSocket);
  const auto info = runTask(loop, engine.info(Deadline::after(Millis(10'000))));
  return info ? std::string() : "needs a Docker engine: " + info.error().describe();
}

}  // namespace gs

#define GS_REQUIRE_DOCKER()                                                    \
  do {                                                                         \
    if (const std::string why = ::gs::whyNoDocker(); !why.empty()) {           \
      const char* all = std::getenv("GS_REQUIRE_ALL");                         \
      if (all != nullptr && std::string_view(all) == "1") GTEST_FAIL() << why; \
      std::printf("SKIPPED because it %s\n", why.c_str());                     \
      GTEST_SKIP() << why;                                                     \
    }                                                                          \
  } while (false)
