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
constexpr std::int64_t kMaxGraceSeconds = 3'600;
constexpr std::size_t kMaxClientBytes = 64;
constexpr std::int64_t kMaxOffset = (std::int64_t{1} << 53) - 1;

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
    attaching_ = root_.contains("kind") && root_["kind"] == "attach";
    if (attaching_) out_.attach.emplace();
    for (const auto& [key, value] : root_.items()) {
      if (!(attaching_ ? attachMember(key, value) : execMember(key, value)) && !member(key, value)) {
        fault("/" + pointerToken(escapeForLog(key, 64)), "is not known");
      }
    }
    for (const auto* key : attaching_ ? kAttachNeeds : kExecNeeds) {
      const bool loginShell = std::string_view(key) == "argv" && root_.contains("terminal");
      if (!root_.contains(key) && !loginShell) fault(fmt::format("/{}", key), "is missing");
    }
    if (bytes_ > kMaxTotalBytes) fault("", fmt::format("argv and env together are over {} bytes", kMaxTotalBytes));
    if (!faults_.empty()) return failed();
    return std::move(out_);
  }

 private:
  static constexpr std::array<const char*, 3> kExecNeeds{"kind", "sandboxId", "argv"};
  static constexpr std::array<const char*, 3> kAttachNeeds{"kind", "sandboxId", "sessionId"};

  // Each says whether it knows the member.
  bool member(const std::string& key, const Json& value) {
    if (key == "kind") {
      if (value != "exec" && value != "attach") fault("/kind", "must be \"exec\" or \"attach\"");
    } else if (key == "sandboxId") {
      if (const auto* text = string(value, "/sandboxId")) {
        out_.sandbox = *text;
        if (!isResourceName(*text) && !isIdText("sbx", *text)) fault("/sandboxId", "is neither an id nor a name of a sandbox");
      }
    } else if (key == "waitMs") {
      if (!value.is_number_integer() || value < 0 || value > kMaxWaitMs) {
        fault("/waitMs", fmt::format("must be an integer from 0 to {}", kMaxWaitMs));
      } else {
        out_.wait = Millis(value.get<std::int64_t>());
      }
    } else {
      return false;
    }
    return true;
  }

  bool attachMember(const std::string& key, const Json& value) {
    auto& attach = *out_.attach;
    if (key == "sessionId") {
      const auto* text = string(value, "/sessionId");
      if (text == nullptr) return true;
      if (auto id = SessionId::parse(*text)) {
        attach.session = std::move(*id);
      } else {
        fault("/sessionId", "is no id of a session");
      }
    } else if (key == "mode") {
      if (value == "write") attach.mode = AttachSession::Mode::kWrite;
      else if (value == "take_over") attach.mode = AttachSession::Mode::kTakeOver;
      else if (value == "view") attach.mode = AttachSession::Mode::kView;
      else fault("/mode", "must be \"write\", \"take_over\" or \"view\"");
    } else if (key == "client") {
      client(value, "/client", attach.client);
    } else if (key == "outputOffset") {
      if (!value.is_number_integer() || value < 0 || value > kMaxOffset) {
        fault("/outputOffset", "must be a number of bytes from 0 on");
      } else {
        attach.outputOffset = value.get<std::uint64_t>();
      }
    } else {
      return false;
    }
    return true;
  }

  void client(const Json& value, const std::string& pointer, std::string& out) {
    const auto* text = string(value, pointer);
    if (text == nullptr) return;
    out = *text;
    const bool plain = std::all_of(text->begin(), text->end(), [](char c) { return isWord(c) || c == '.' || c == '-'; });
    if (text->empty() || text->size() > kMaxClientBytes || !plain) fault(pointer, "must be 1 to 64 letters, digits, _, . and -");
  }

  void reattach(const Json& value) {
    if (!value.is_object()) return fault("/reattach", "must be an object");
    auto& policy = out_.exec.policy.emplace();
    policy.lifetime = SessionPolicy::Lifetime::kGrace;
    policy.grace = kUsualGrace;
    for (const auto& [key, member] : value.items()) {
      if (key == "client") {
        client(member, "/reattach/client", policy.client);
      } else if (key == "graceSeconds") {
        if (!member.is_number_integer() || member < 0 || member > kMaxGraceSeconds) {
          fault("/reattach/graceSeconds", fmt::format("must be an integer from 0 to {}", kMaxGraceSeconds));
        } else {
          policy.grace = Seconds(member.get<std::int64_t>());
        }
      } else if (key == "detached") {
        if (!member.is_boolean()) fault("/reattach/detached", "must be true or false");
        else if (member.get<bool>()) policy.lifetime = SessionPolicy::Lifetime::kDetached;
      } else {
        fault("/reattach/" + pointerToken(escapeForLog(key, 64)), "is not known");
      }
    }
  }

  bool execMember(const std::string& key, const Json& value) {
    if (key == "argv") {
      argv(value);
    } else if (key == "reattach") {
      reattach(value);
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
    } else {
      return false;
    }
    return true;
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
  bool attaching_ = false;
  std::size_t bytes_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace

Result<OpenRequest> parseOpenRequest(std::string_view json) {
  GS_TRY(const Json root, parseJson(json));
  return Reader(root).run();
}

}  // namespace gs
