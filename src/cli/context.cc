#include "cli/context.h"

namespace gs::cli {

Result<Login> Context::login() {
  GS_TRY(const std::string path, configPath());
  GS_TRY(const auto stored, loadLogin(path));
  if (stored && isReadableByOthers(path)) {
    out_.note(fmt::format("warning: {} holds a secret and others can read it: chmod 600 it", path));
  }
  return effectiveLogin(stored, environment_);
}

Result<ApiClient*> Context::api() {
  if (!api_) {
    GS_TRY(const Login current, login());
    GS_TRY(api_, ApiClient::make(current, requestTimeout()));
  }
  return api_.get();
}

}  // namespace gs::cli
