// The few calls of the Docker Engine API that we make, typed, over its unix socket.
//
// A thin client: it knows paths, bodies and sentences (engine_errors.h), not sandboxes. The version is pinned in the
// path (v1.41, Engine 20.10, Debian 12's), so a newer engine answers in the form that was tested. There is no call that
// pulls an image, executes a command or reads or writes a container's files, and there must never be one.
// Loop thread only. Every method: kUnavailable or kDeadlineExceeded with reason "docker_unreachable" when the engine
// does not answer; cancel leaves the effect unknown; repeats are the engine's own (said where it matters).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/runtimes/docker/engine_errors.h"
#include "base/clock.h"
#include "base/json.h"
#include "net/http_client.h"

namespace gs {

inline constexpr std::string_view kEnginePrefix = "/v1.41";

struct EngineInfo {
  std::string version;  // "20.10.24"
  bool liveRestore = false;
  bool memoryLimits = false;
  bool cpuLimits = false;
  bool pidsLimits = false;
  bool seccomp = false;          // and not switched off by default
  bool containerdStore = false;  // image ids are not config digests there
  std::string dataFolder;
};

// Labels in the engine's order. An image's author chose some of them.
using EngineLabels = std::vector<std::pair<std::string, std::string>>;

struct EngineContainer {
  std::string id;
  std::string name;    // without the leading slash
  std::string status;  // created, running, paused, restarting, removing, exited, dead
  int pid = 0;
  int exitCode = 0;
  bool oomKilled = false;
  std::optional<WallTime> startedAt;
  std::optional<WallTime> finishedAt;
  EngineLabels labels;
  // From listContainers only.
  std::optional<WallTime> createdAt;
  std::vector<std::pair<std::string, std::string>> mounts;  // inside, on the host

  [[nodiscard]] std::string_view label(std::string_view key) const;  // "" when absent
  [[nodiscard]] bool hasLabel(std::string_view key) const;
};

struct EngineImage {
  std::string id;
  std::vector<std::string> layers;  // digests, lowest first
};

// What a container has on disk, and of what image it is.
struct EngineContainerSize {
  std::uint64_t changedBytes = 0;  // beyond its image
  std::uint64_t rootBytes = 0;     // all of its root file system
  std::string image;               // the image's id
  bool hasVolumes = false;         // anonymous ones, as the image declares them
};

// An image to be made of a container as it is; the label marks it.
struct EngineCommit {
  std::string container;
  std::string repository;
  std::string tag;
  std::string label;
  std::string mark;
};

struct EngineMarkedImage {
  std::string id;
  std::string mark;
  std::optional<WallTime> createdAt;
};

class DockerEngine {
 public:
  DockerEngine(Executor executor, std::string socketPath);

  [[nodiscard]] Task<Result<EngineInfo>> info(Deadline deadline);

  // kAlreadyExists when the name is taken, kFailedPrecondition "blueprint_missing" when the image is absent.
  [[nodiscard]] Task<Status> createContainer(std::string name, Json config, Deadline deadline);
  // The five take a name or an id; kNotFound when there is none.
  [[nodiscard]] Task<Status> startContainer(std::string name, Deadline deadline);  // running: success
  [[nodiscard]] Task<Status> killContainer(std::string name, std::string_view signal,
                                           Deadline deadline);                     // ended: success
  [[nodiscard]] Task<Status> waitUntilEnded(std::string name, Deadline deadline);  // at once when it does not run
  [[nodiscard]] Task<Status> waitUntilRemoved(std::string name, Deadline deadline);
  // Kills it and removes it with its anonymous volumes. kAborted "removal_in_progress" when another call is at it.
  [[nodiscard]] Task<Status> removeContainer(std::string name, Deadline deadline);
  [[nodiscard]] Task<Result<std::optional<EngineContainer>>> inspectContainer(std::string name, Deadline deadline);
  // In any state, bearing all the labels ("key=value"). Without pid, exit and times.
  [[nodiscard]] Task<Result<std::vector<EngineContainer>>> listContainers(std::vector<std::string> labels,
                                                                          Deadline deadline);

  // Tags of this repository, "repository:tag".
  [[nodiscard]] Task<Result<std::vector<std::string>>> listImages(std::string repository, Deadline deadline);
  // The id of the image that a reference names; nothing when there is none.
  [[nodiscard]] Task<Result<std::optional<std::string>>> findImageId(std::string reference, Deadline deadline);
  [[nodiscard]] Task<Status> loadImages(std::unique_ptr<BodySource> archive, Deadline deadline);
  [[nodiscard]] Task<Status> removeImage(std::string reference, Deadline deadline);  // absent: success

  // For taking what a container changed; kNotFound when there is no such container. The container's files are read by
  // the engine alone.
  [[nodiscard]] Task<Result<EngineContainerSize>> measureContainer(std::string name, Deadline deadline);
  [[nodiscard]] Task<Status> commit(EngineCommit commit, Deadline deadline);  // repeat: another image takes the tag over
  // Nothing when there is none.
  [[nodiscard]] Task<Result<std::optional<EngineImage>>> findImage(std::string reference, Deadline deadline);
  // The image as `docker save` gives it. The deadline is for the beginning, which takes as long as the engine needs to
  // write it all into a file of its own.
  [[nodiscard]] Task<Result<std::unique_ptr<BodyReader>>> saveImage(std::string reference, Deadline deadline);
  // Images that bear the label (and `also`, "key=value", unless empty), and have no tag besides this repository's.
  [[nodiscard]] Task<Result<std::vector<EngineMarkedImage>>> listMarkedImages(std::string repository, std::string label,
                                                                             std::string also, Deadline deadline);

  // Starts, ends and removals of containers with these labels, as JSON lines; from the moment of the answer.
  [[nodiscard]] Task<Result<std::unique_ptr<BodyReader>>> events(std::vector<std::string> labels, Deadline deadline);

  [[nodiscard]] const std::string& socketPath() const { return socketPath_; }

 private:
  Task<Result<HttpClientResponse>> call(HttpClientRequest request, Deadline deadline, std::size_t maxBodyBytes);
  Task<Result<HttpClientResponse>> call(std::string method, std::string target, Deadline deadline);

  std::string socketPath_;
  std::unique_ptr<HttpClient> client_;
};

}  // namespace gs
