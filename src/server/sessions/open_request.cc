#include "server/sessions/open_request.h"

#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/json.h"
#include "server/core/fault.h"
#include "wire/session_frames.h"

namespace gs {
namespace {

constexpr std::size_t kMaxArguments = 1'024;
constexpr std::size_t kMaxVariables = 512;
constexpr std::size_t kMaxTextPoints = 32'768;
constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxPathPoints = 4'096;
constexpr std::size_t kMaxTotalBytes = 49'152;
constexpr std::int64_t kMaxWaitMs = 60'000;

bool isLower(char c) { return c >= 'a' && c <= 'z'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWord(char c) { return isLower(c) || isDigit(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

// The parser has checked that the text is UTF-8.
std::size_t codePoints(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

bool isResourceName(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return isLower(c) || isDigit(c) || c == '-'; });
}
bool isVariableName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes && !isDigit(text.front()) && std::all_of(text.begin(), text.end(), isWord);
}
bool isAccount(std::string_view text) {
  if (text.empty() || text.size() > 32 || !isWord(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return isWord(c) || c == '.' || c == '-'; });
}
bool isUserSpec(std::string_view text) {
  const auto colon = text.find(':');
  return isAccount(text.substr(0, colon)) && (colon == std::string_view::npos || isAccount(text.substr(colon + 1)));
}

class Reader {
 public:
  explicit Reader(const Json& root) : root_(root) {}

  Result<OpenRequest> run() {
    if (!root_.is_object()) {
      fault("", "must be an object");
      return failed();
    }
    for (const auto& [key, value] : root_.items()) member(key, value);
    for (const auto* key : {"kind", "sandboxId", "argv"}) {
      const bool loginShell = std::string_view(key) == "argv" && root_.contains("terminal");
      if (!root_.contains(key) && !loginShell) fault(fmt::format("/{}", key), "is missing");
    }
    if (bytes_ > kMaxTotalBytes) fault("", fmt::format("argv and env together are over {} bytes", kMaxTotalBytes));
    if (!faults_.empty()) return failed();
    return std::move(out_);
  }

 private:
  void member(const std::string& key, const Json& value) {
    if (key == "kind") {
      if (value != "exec") fault("/kind", "must be \"exec\"");
    } else if (key == "sandboxId") {
      if (const auto* text = string(value, "/sandboxId")) {
        out_.sandbox = *text;
        if (!isResourceName(*text) && !isIdText("sbx", *text)) fault("/sandboxId", "is neither an id nor a name of a sandbox");
      }
    } else if (key == "argv") {
      argv(value);
    } else if (key == "env") {
      env(value);
    } else if (key == "workingDir") {
      if (const auto* text = string(value, "/workingDir")) {
        out_.exec.workingDir = *text;
        if (!text->starts_with('/') || codePoints(*text) > kMaxPathPoints) fault("/workingDir", "must be an absolute path");
      }
    } else if (key == "user") {
      if (const auto* text = string(value, "/user")) {
        out_.exec.user = *text;
        if (!isUserSpec(*text)) fault("/user", "must be a user, with :group if wanted");
      }
    } else if (key == "terminal") {
      const auto size = parseTerminalSize(value.dump());
      if (size) {
        out_.exec.terminal = *size;
      } else {
        fault("/terminal", "must be an object of rows and columns, 1 to 10000 each");
      }
    } else if (key == "waitMs") {
      if (!value.is_number_integer() || value < 0 || value > kMaxWaitMs) {
        fault("/waitMs", fmt::format("must be an integer from 0 to {}", kMaxWaitMs));
      } else {
        out_.wait = Millis(value.get<std::int64_t>());
      }
    } else {
      fault("/" + pointerToken(escapeForLog(key, 64)), "is not known");
    }
  }

  void argv(const Json& value) {
    if (!value.is_array() || value.empty() || value.size() > kMaxArguments) {
      return fault("/argv", fmt::format("must be a list of 1 to {} strings", kMaxArguments));
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
      const auto* text = string(value[i], fmt::format("/argv/{}", i));
      if (text == nullptr) continue;
      if (codePoints(*text) > kMaxTextPoints) fault(fmt::format("/argv/{}", i), "is too long");
      bytes_ += text->size();
      out_.exec.argv.push_back(*text);
    }
  }

  void env(const Json& value) {
    if (!value.is_object() || value.size() > kMaxVariables) {
      return fault("/env", fmt::format("must be an object of at most {} members", kMaxVariables));
    }
    for (const auto& [name, content] : value.items()) {
      const auto pointer = "/env/" + pointerToken(escapeForLog(name, 64));
      if (!isVariableName(name)) fault(pointer, "is no name of a variable");
      const auto* text = string(content, pointer);
      if (text == nullptr) continue;
      if (codePoints(*text) > kMaxTextPoints) fault(pointer, "is too long");
      bytes_ += name.size() + text->size();
      out_.exec.env.push_back(fmt::format("{}={}", name, *text));
    }
  }

  const std::string* string(const Json& value, const std::string& pointer) {
    const auto* text = value.get_ptr<const std::string*>();
    if (text == nullptr) {
      fault(pointer, "must be a string");
    } else if (text->find('\0') != std::string::npos) {
      fault(pointer, "holds U+0000");
      text = nullptr;
    }
    return text;
  }

  void fault(std::string_view pointer, std::string_view detail) {
    if (faults_.size() < kMaxFaults) faults_.push_back(faultLine(pointer, detail));
  }

  std::unexpected<Error> failed() {
    auto error = makeError(ErrorCode::kInvalidArgument, "the open frame does not fit: " + faults_.front());
    error.details = std::move(faults_);
    return fail(std::move(error));
  }

  const Json& root_;
  OpenRequest out_;
  std::size_t bytes_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace

Result<OpenRequest> parseOpenRequest(std::string_view json) {
  GS_TRY(const Json root, parseJson(json));
  return Reader(root).run();
}

}  // namespace gs
