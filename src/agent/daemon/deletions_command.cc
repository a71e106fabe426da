#include "agent/daemon/deletions_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "agent/sandboxes/journal.h"
#include "wire/messages.h"

namespace gs {
namespace {

constexpr std::size_t kMostBytes = 128;

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

std::string pathOf(const AgentPaths& paths, Destruction answer) {
  return answer == Destruction::kReleased ? paths.confirmedDeletions() : paths.rejectedDeletions();
}

}  // namespace

HostCondition deletionsHeld(const std::vector<HeldDestruction>& held, const DeletionFenceLimits& limits) {
  const auto fence = fenceId(held);
  const bool remote = limits.remote == RemoteConfirmation::kTaken;
  return {"deletions_held",
          fmt::format("{} deletions are held, because more than {} % of this host's sandboxes, and at least {}, were to be destroyed "
                      "within {} s; nothing of them was touched; fence {}",
                      held.size(), limits.percent, limits.atLeast, limits.window.count() / 1000, fence),
          fmt::format("if they are meant: {}gstacks-agent deletions confirm --fence {} on the host; if not: the same with reject, and "
                      "find out who wished them",
                      remote ? fmt::format("gstacks host confirm-deletions HOST --fence {}, or ", fence) : "", fence)};
}

Result<std::vector<HeldDestruction>> readDestructions(const AgentPaths& paths, Destruction which) {
  if (!std::filesystem::exists(paths.database())) {
    return fail(ErrorCode::kNotFound, "there is no journal in " + paths.stateDir());
  }
  GS_TRY(auto database, Database::open(paths.database()));
  std::map<std::string, FenceAnswers> answers;
  bool begun = false;
  GS_CHECK(database.query("SELECT key, value FROM agent_state", {}, [&](const Row& row) {
    const std::string key = row.text(0);
    begun = begun || key == kReleasesBegunKey;
    const auto value = std::strtoull(row.text(1).c_str(), nullptr, 10);
    if (key.starts_with(kReleaseKeyPrefix)) answers[key.substr(kReleaseKeyPrefix.size())].released = value;
    if (key.starts_with(kRefusalKeyPrefix)) answers[key.substr(kRefusalKeyPrefix.size())].refused = value;
  }));
  std::vector<HeldDestruction> out;
  // An agent that knows of no fence has written it: it holds nothing.
  if (!begun) return out;
  GS_CHECK(database.query("SELECT assignment FROM sandbox ORDER BY sandbox_id", {}, [&](const Row& row) {
    const auto assignment = decodeAssignment(row.text(0));
    if (!assignment) return;
    const auto destruction = destructionOf(*assignment);
    if (answerTo(destruction, answers[assignment->sandboxId.text()]) == which) {
      out.push_back({assignment->sandboxId, destruction, assignment->spec.name});
    }
  }));
  return out;
}

std::string describeHeld(const std::vector<HeldDestruction>& held, const std::vector<HeldDestruction>& refused) {
  std::string out;
  for (const auto& each : refused) out += fmt::format("{}  {}  rejected\n", each.sandboxId.text(), each.name);
  if (held.empty()) return out + "no deletions are held\n";
  for (const auto& each : held) out += fmt::format("{}  {}\n", each.sandboxId.text(), each.name);
  return out + fmt::format("{0} deletions are held; nothing of them was touched. If they are meant:\n"
                           "  gstacks-agent deletions confirm --fence {1}\nIf they are not:\n"
                           "  gstacks-agent deletions reject --fence {1}\n",
                           held.size(), fenceId(held));
}

Status answerOnHost(const AgentPaths& paths, Destruction answer, const std::vector<HeldDestruction>& held, const std::string& fence) {
  if (held.empty() || fenceId(held) != fence) {
    return fail(makeError(ErrorCode::kFailedPrecondition,
                          held.empty() ? "no deletions are held" : "other deletions are held now than that id names")
                    .withReason("fence_changed")
                    .withFix("gstacks-agent deletions list"));
  }
  const std::string path = pathOf(paths, answer);
  const std::string draft = path + ".new";
  {
    std::remove(draft.c_str());
    const OpenFile file(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.get() < 0) return fail(errnoError(errno, "writing " + draft));
    const auto written = ::write(file.get(), fence.data(), fence.size());
    if (written != static_cast<ssize_t>(fence.size()) || ::fsync(file.get()) != 0) return fail(errnoError(errno, "writing " + draft));
  }
  if (std::rename(draft.c_str(), path.c_str()) != 0) return fail(errnoError(errno, "writing " + path));
  return {};
}

Result<std::string> takeAnswer(const AgentPaths& paths, Destruction answer) {
  const std::string path = pathOf(paths, answer);
  const OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::string();
    const auto error = errnoError(errno, "reading " + path);
    std::remove(path.c_str());
    return fail(error);
  }
  struct stat found {};
  const bool own = ::fstat(file.get(), &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == ::geteuid() &&
                   (found.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  std::string text(kMostBytes, '\0');
  const auto size = own ? ::read(file.get(), text.data(), text.size()) : -1;
  std::remove(path.c_str());
  if (size < 0) return fail(ErrorCode::kPermissionDenied, path + " is not a file that only this user can write");
  text.resize(static_cast<std::size_t>(size));
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  return text;
}

}  // namespace gs
