// What is on this host and should not be, or should be and is not: the two-way comparison of records and things.
//
// Pure rules over a picture that somebody else took (daemon/host_picture.h). Nothing is cleaned here. A thing younger
// than the minimum age may be in the middle of being made or removed, and is not spoken of. A container is never "ours
// to remove" for being unknown: it may be adopted yet (design §4, rule 4).
#pragma once

#include <string>
#include <vector>

#include "agent/core/sandbox_model.h"
#include "agent/runtimes/runtime.h"

namespace gs {

enum class LeakKind : std::uint8_t {
  kContainerWithoutRecord,  // adoptable: the control plane may know it
  kRecordWithoutContainer,  // told of as running, and not there
  kRunDirWithoutRecord,     // and without container: nothing can use it
  kStaleSocket,             // of a sandbox that runs, and the agent does not listen on it
  kCacheLeftover,           // a download that nobody finishes
  kLayerLeftover,           // of archiving a sandbox that is not being archived
  kLogLeftover,             // what a sandbox wrote that is not on this host any more
  kUnusedGuestBinary,       // of an earlier version, and no container has it mounted
  kUnusedImage,             // in the engine's cache, and no container is made of it
};
[[nodiscard]] std::string_view leakKindName(LeakKind kind);  // "container_without_record"

// The last two cost disk and nothing else: notes, not leaks.
enum class LeakWeight : std::uint8_t { kLeak, kNote };
[[nodiscard]] LeakWeight weightOf(LeakKind kind);

struct Leak {
  LeakKind kind = LeakKind::kContainerWithoutRecord;
  std::string what;    // an id, a path or a reference
  std::string detail;  // for people
  Millis age{0};
};

struct AgedName {
  std::string name;
  WallTime since{};
};

struct HostPicture {
  WallTime takenAt{};
  std::vector<SandboxRecord> records;
  std::vector<RuntimeContainer> containers;  // as Runtime::list gives them
  std::vector<AgedName> runDirs;             // names of the folders below sandboxes/
  std::vector<AgedName> deafSockets;         // the same names: agent.sock is there and nobody listens; only when an agent runs
  std::vector<AgedName> cacheLeftovers;
  std::vector<AgedName> guestBinaries;       // paths; without the one that new sandboxes get
  std::vector<std::string> images;           // references of cached blueprints
  std::vector<AgedName> layers{};            // ids of sandboxes that something is left of archiving of: files, images
  std::vector<AgedName> logs{};              // names of the folders below logs/
};

[[nodiscard]] std::vector<Leak> findLeaks(const HostPicture& picture, Millis minimumAge);

}  // namespace gs
