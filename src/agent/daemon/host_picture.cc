#include "agent/daemon/host_picture.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "db/database.h"
#include "wire/messages.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

// What a file's metadata were changed last: unlike the time of the contents it cannot lie in the past by copying.
WallTime changedAt(const fs::path& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return SystemClock().wallNow();
  return fromUnixMillis(found.st_ctim.tv_sec * 1000 + found.st_ctim.tv_nsec / 1'000'000);
}

std::vector<AgedName> entriesOf(const fs::path& folder) {
  std::vector<AgedName> out;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator(); it.increment(error)) {
    out.push_back({it->path().filename().string(), changedAt(it->path())});
  }
  return out;
}

// Paths on which some process of this host listens (flag __SO_ACCEPTCON).
std::set<std::string> listeningPaths() {
  std::set<std::string> out;
  std::ifstream in("/proc/net/unix");
  std::string number, references, protocol, flags, type, state, inode, path;
  std::getline(in, path);
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    path.clear();
    fields >> number >> references >> protocol >> flags >> type >> state >> inode >> path;
    if (flags == "00010000") out.insert(path);
  }
  return out;
}

// Whether an agent holds the lock of this run directory. Not by trying it: that could keep an agent from starting.
bool agentRuns(const AgentPaths& paths) {
  struct stat lock {};
  if (::stat(paths.lockFile().c_str(), &lock) != 0) return false;
  const auto suffix = fmt::format(":{}", lock.st_ino);
  std::ifstream in("/proc/locks");
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string number, kind, advice, access, pid, file;
    fields >> number >> kind >> advice >> access >> pid >> file;
    if (kind == "FLOCK" && file.ends_with(suffix)) return true;
  }
  return false;
}

Result<std::vector<SandboxRecord>> readRecords(const AgentPaths& paths) {
  std::vector<SandboxRecord> out;
  if (!fs::exists(paths.database())) return out;
  GS_TRY(auto database, Database::open(paths.database()));
  GS_CHECK(database.query("SELECT assignment, observation FROM sandbox", {}, [&](const Row& row) {
    auto assignment = decodeAssignment(row.text(0));
    if (!assignment) return;
    SandboxRecord record;
    record.assignment = std::move(*assignment);
    if (auto observation = decodeObservation(row.text(1))) record.observation = std::move(*observation);
    out.push_back(std::move(record));
  }));
  return out;
}

void addFiles(const AgentPaths& paths, const std::string& currentGuest, HostPicture* out) {
  out->runDirs = entriesOf(paths.sandboxesDir());
  if (agentRuns(paths)) {
    const auto listening = listeningPaths();
    for (const auto& dir : out->runDirs) {
      const auto socket = paths.sandboxesDir() + "/" + dir.name + "/agent.sock";
      if (fs::exists(socket) && !listening.contains(socket)) out->deafSockets.push_back({dir.name, changedAt(socket)});
    }
  }
  for (const auto& file : entriesOf(paths.layersDir())) {
    out->layers.push_back({file.name.substr(0, file.name.find('-')), file.since});
  }
  out->logs = entriesOf(paths.logsDir());
  out->cacheLeftovers = entriesOf(fs::path(paths.cacheDir()) / "tmp");
  for (const auto& folder : entriesOf(paths.guestDir())) {
    const auto path = paths.guestDir() + "/" + folder.name + "/gstacks-guest";
    if (path != currentGuest) out->guestBinaries.push_back({path, folder.since});
  }
}

Json toJson(const Leak& leak) {
  return {{"kind", leakKindName(leak.kind)},
          {"what", leak.what},
          {"detail", leak.detail},
          {"ageSeconds", leak.age.count() / 1000}};
}

}  // namespace

Task<Result<HostPicture>> takePicture(AgentPaths paths, HostId host, DockerRuntime& docker, std::string currentGuest,
                                      Deadline deadline) {
  HostPicture out;
  GS_CO_TRY(auto before, readRecords(paths));
  addFiles(paths, currentGuest, &out);
  GS_CO_TRY(out.containers, co_await docker.list(host, deadline));
  GS_CO_TRY(const auto layers, co_await docker.layerLeftovers(host, deadline));
  for (const auto& layer : layers) out.layers.push_back({layer.sandboxId.text(), layer.createdAt.value_or(SystemClock().wallNow())});
  GS_CO_TRY(out.images, co_await docker.cachedImages(deadline));
  // A record is written before anything is made, and forgotten after everything is gone. So it is read on both sides:
  // what was there before and is not any more was deleted meanwhile, and its things may have been seen.
  GS_CO_TRY(out.records, readRecords(paths));
  for (auto& record : before) {
    const auto same = [&](const SandboxRecord& r) { return r.assignment.sandboxId == record.assignment.sandboxId; };
    if (std::ranges::any_of(out.records, same)) continue;
    record.assignment.desired = DesiredState::kDeleted;
    out.records.push_back(std::move(record));
  }
  out.takenAt = SystemClock().wallNow();
  co_return out;
}

std::vector<Leak> cleanProvablyOurs(const AgentPaths& paths, const std::vector<Leak>& leaks) {
  std::vector<Leak> removed;
  for (const auto& leak : leaks) {
    std::error_code error;
    if (leak.kind == LeakKind::kRunDirWithoutRecord && SandboxId::parse(leak.what)) {
      fs::remove_all(paths.sandboxesDir() + "/" + leak.what, error);
    } else if (leak.kind == LeakKind::kCacheLeftover) {
      fs::remove(fs::path(paths.cacheDir()) / "tmp" / leak.what, error);
    } else {
      continue;
    }
    if (!error) removed.push_back(leak);
  }
  return removed;
}

std::string leaksAsJson(const std::vector<Leak>& leaks) {
  Json out = {{"leaks", Json::array()}, {"notes", Json::array()}};
  for (const auto& leak : leaks) {
    out[weightOf(leak.kind) == LeakWeight::kLeak ? "leaks" : "notes"].push_back(toJson(leak));
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace gs
