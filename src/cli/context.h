// All that a command may use: the global options, where to write, the login and the API.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "cli/api_client.h"
#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/output.h"

namespace gs::cli {

struct GlobalOptions {
  std::string output = "table";
  bool quiet = false;
  bool noColor = false;
  std::optional<Millis> timeout;
  std::string configFile;
};

class Context {
 public:
  Context(const GlobalOptions& options, const Command& root, Environment environment)
      : options_(options), root_(root), environment_(std::move(environment)) {}

  [[nodiscard]] Output& out() { return out_; }
  [[nodiscard]] const Command& root() const { return root_; }
  [[nodiscard]] const Environment& environment() const { return environment_; }
  [[nodiscard]] WallTime now() const { return SystemClock().wallNow(); }

  [[nodiscard]] Result<std::string> configPath() const { return cli::configPath(options_.configFile, environment_); }
  // kUnauthenticated when there is none; see effectiveLogin.
  [[nodiscard]] Result<Login> login();
  // The API with the login in force; made on first use.
  [[nodiscard]] Result<ApiClient*> api();

  // One request: --timeout, else 30 s.
  [[nodiscard]] Millis requestTimeout() const { return options_.timeout.value_or(Millis(30'000)); }
  // --wait: --timeout, else 5 minutes.
  [[nodiscard]] Millis waitTimeout() const { return options_.timeout.value_or(Millis(300'000)); }
  [[nodiscard]] std::optional<Millis> givenTimeout() const { return options_.timeout; }

 private:
  const GlobalOptions& options_;
  const Command& root_;
  Environment environment_;
  Output out_;
  std::unique_ptr<ApiClient> api_;
};

}  // namespace gs::cli
