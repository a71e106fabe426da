#include "agent/runtimes/docker/docker_runtime.h"

#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "agent/runtimes/docker/cgroup_memory.h"
#include "agent/runtimes/docker/container_config.h"
#include "agent/runtimes/docker/engine_events.h"
#include "base/encoding.h"
#include "base/log.h"

namespace gs {
namespace {

// A name is reserved a little before its container can be inspected, when two creates of one sandbox meet.
constexpr Millis kNameReservedPause{50};
constexpr int kNameReservedTries = 60;

Error missing(const SandboxId& id) {
  auto error = makeError(ErrorCode::kNotFound, fmt::format("sandbox {} has no container on this host", id));
  error.reason = "container_missing";
  return error;
}

Error foreign(const EngineContainer& container) {
  auto error = makeError(ErrorCode::kFailedPrecondition,
                         fmt::format("the container {} was not made by this agent", escapeForLog(container.name)));
  error.reason = "container_foreign";
  error.fix = fmt::format("look at it (docker inspect {0}) and rename or remove it", escapeForLog(container.name));
  return error;
}

Error otherGeneration(const ContainerPlan& plan, const RuntimeContainer& found) {
  const bool host = found.hostId != plan.hostId;
  auto error = makeError(
      ErrorCode::kAborted,
      host ? fmt::format("sandbox {} has a container of another host, {}", plan.sandboxId, found.hostId)
           : fmt::format("sandbox {} has a container of generation {}, not {}", plan.sandboxId, found.generation,
                         plan.generation));
  error.reason = host ? "host_differs" : "generation_differs";
  return error;
}

ContainerPhase phaseOf(std::string_view status) {
  if (status == "created") return ContainerPhase::kCreated;
  if (status == "running" || status == "restarting") return ContainerPhase::kRunning;
  if (status == "paused") return ContainerPhase::kPaused;
  // dead: a removal failed half way; it cannot be started any more and remove() finishes it.
  if (status == "removing" || status == "dead") return ContainerPhase::kRemoving;
  return ContainerPhase::kExited;
}

bool isDockerInstalled() {
  struct stat found{};
  constexpr std::array kPlaces{"/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd", "/snap/bin/dockerd"};
  return std::ranges::any_of(kPlaces, [&](const char* place) { return ::stat(place, &found) == 0; });
}

RuntimeReport reportOfSilence(const Error& error, const std::string& socketPath) {
  auto silence = explainSilence(socketPath);
  RuntimeReport out{{"docker", RuntimeState::kUnhealthy, "", silence.message}, {}};
  if (silence.code == "docker_socket_missing" && !isDockerInstalled()) {
    out.health.state = RuntimeState::kAbsent;
    out.health.reason = "Docker is not installed";
    silence.fix = "install Docker (apt-get install docker.io)";
  } else if (silence.code == "docker_not_answering" && error.reason != "docker_unreachable") {
    out.health.reason = silence.message = error.message;  // it did answer: with an error
  }
  out.conditions.push_back({silence.code, silence.message, silence.fix});
  return out;
}

std::vector<std::string> hostLabels(const HostId& host) {
  return {fmt::format("{}=1", kLabelManaged), fmt::format("{}={}", kLabelHost, host)};
}

}  // namespace

RuntimeReport reportOf(const EngineInfo& info) {
  RuntimeReport out{{"docker", RuntimeState::kHealthy, info.version, ""}, {}};
  const auto refuse = [&](HostCondition condition) {
    out.health.state = RuntimeState::kUnhealthy;
    if (out.health.reason.empty()) out.health.reason = condition.message;
    out.conditions.push_back(std::move(condition));
  };
  if (!info.seccomp) {
    refuse({"docker_seccomp_off", "Docker runs containers without its default seccomp profile",
            "remove seccomp-profile=unconfined from Docker's settings, or use a kernel with seccomp"});
  }
  if (!info.memoryLimits || !info.cpuLimits || !info.pidsLimits) {
    refuse({"docker_limits_missing", "Docker cannot limit memory, CPU and processes on this kernel",
            "mount the memory, cpu and pids cgroups (kernel options cgroup_enable=memory)"});
  }
  if (info.containerdStore) {
    refuse({"docker_image_store_unsupported", "Docker keeps images in containerd's store, whose image ids we cannot verify",
            "set \"features\": {\"containerd-snapshotter\": false} in /etc/docker/daemon.json and restart Docker"});
  }
  if (!info.liveRestore) {
    out.conditions.push_back({"docker_live_restore_off", "sandboxes end when Docker restarts",
                              "set \"live-restore\": true in /etc/docker/daemon.json and reload Docker"});
  }
  return out;
}

Result<RuntimeContainer> describeContainer(const EngineContainer& container) {
  RuntimeContainer out;
  auto sandbox = SandboxId::parse(container.label(kLabelSandbox));
  auto host = HostId::parse(container.label(kLabelHost));
  const auto generation = container.label(kLabelGeneration);
  const auto [end, problem] =
      std::from_chars(generation.data(), generation.data() + generation.size(), out.generation);
  if (container.label(kLabelManaged) != "1" || !sandbox || !host || problem != std::errc() ||
      end != generation.data() + generation.size() || container.name != containerName(*sandbox)) {
    return fail(foreign(container));
  }
  out.sandboxId = std::move(*sandbox);
  out.hostId = std::move(*host);
  out.nativeId = container.id;
  out.phase = phaseOf(container.status);
  out.pid = out.alive() ? container.pid : 0;
  out.exitCode = out.phase == ContainerPhase::kExited ? container.exitCode : 0;
  out.oomKilled = container.oomKilled;
  out.startedAt = container.startedAt;
  out.finishedAt = container.finishedAt;
  if (container.hasLabel(kLabelUser) && container.hasLabel(kLabelWorkingDir)) {
    out.execDefaults = ExecDefaults{std::string(container.label(kLabelUser)), std::string(container.label(kLabelWorkingDir))};
  }
  return out;
}

DockerRuntime::DockerRuntime(const Executor& executor, DockerSettings settings)
    : settings_(std::move(settings)), engine_(executor, settings_.socketPath) {}

Task<RuntimeReport> DockerRuntime::health(Deadline deadline) {
  auto info = co_await engine_.info(deadline);
  if (!info) co_return reportOfSilence(info.error(), settings_.socketPath);
  co_return reportOf(*info);
}

Task<Status> DockerRuntime::create(ContainerPlan plan, Deadline deadline) {
  const auto name = containerName(plan.sandboxId);
  const auto config = containerConfig(plan, settings_.entrypoint);
  for (int attempt = 0; attempt < kNameReservedTries; ++attempt) {
    auto created = co_await engine_.createContainer(name, config, deadline);
    if (created) co_return Status{};
    auto& error = created.error();
    if (error.reason == "blueprint_missing") {
      error.message = fmt::format("the image of blueprint {} is not in Docker any more", plan.image.manifest.text());
      error.fix = "start the sandbox again: the agent loads the image from its cache";
    }
    if (error.reason != "name_taken") co_return fail(std::move(error));
    GS_CO_TRY(auto found, co_await inspect(plan.sandboxId, deadline));
    if (found) {
      if (found->hostId != plan.hostId || found->generation != plan.generation) {
        co_return fail(otherGeneration(plan, *found));
      }
      co_return Status{};
    }
    co_await sleepUntil(Deadline::after(kNameReservedPause).earlier(deadline));
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "creating the container took too long");
  }
  auto error = makeError(ErrorCode::kAborted, "Docker keeps the container's name for one that it does not show");
  error.reason = "name_reserved";
  co_return fail(std::move(error));
}

Task<Result<RuntimeContainer>> DockerRuntime::require(SandboxId id, Deadline deadline) {
  GS_CO_TRY(auto found, co_await inspect(id, deadline));
  if (!found) co_return fail(missing(id));
  co_return std::move(*found);
}

Task<Status> DockerRuntime::start(SandboxId id, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await require(id, deadline));
  if (found.phase == ContainerPhase::kRunning) co_return Status{};
  // From here on by id: the container that was looked at, not one that took its name meanwhile.
  co_return co_await engine_.startContainer(found.nativeId, deadline);
}

Task<Status> DockerRuntime::stop(SandboxId id, Millis grace, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await require(id, deadline));
  if (!found.alive()) co_return Status{};
  // A paused process cannot act on SIGTERM; SIGKILL takes it as it is.
  if (grace > Millis::zero() && found.phase == ContainerPhase::kRunning) {
    GS_CO_CHECK(co_await engine_.killContainer(found.nativeId, "SIGTERM", deadline));
    const auto patience = Deadline::after(grace);
    const auto ended = co_await engine_.waitUntilEnded(found.nativeId, patience.earlier(deadline));
    if (ended || ended.error().code != ErrorCode::kDeadlineExceeded || deadline.expired()) co_return ended;
  }
  GS_CO_CHECK(co_await engine_.killContainer(found.nativeId, "SIGKILL", deadline));
  co_return co_await engine_.waitUntilEnded(found.nativeId, deadline);
}

Task<Status> DockerRuntime::remove(SandboxId id, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await inspect(id, deadline));
  if (!found) co_return Status{};
  auto removed = co_await engine_.removeContainer(found->nativeId, deadline);
  if (!removed && removed.error().reason == "removal_in_progress") {
    removed = co_await engine_.waitUntilRemoved(found->nativeId, deadline);
  }
  if (!removed && removed.error().code == ErrorCode::kNotFound) co_return Status{};
  co_return removed;
}

Task<Result<std::optional<RuntimeContainer>>> DockerRuntime::inspect(SandboxId id, Deadline deadline) {
  GS_CO_TRY(const auto found, co_await engine_.inspectContainer(containerName(id), deadline));
  if (!found) co_return std::optional<RuntimeContainer>();
  GS_CO_TRY(auto described, describeContainer(*found));
  // Docker tells it only of a container that has ended; the workload in one that runs may be dead of it already.
  if (described.alive() && oomKillsOf(described.pid) > 0) described.oomKilled = true;
  co_return std::optional(std::move(described));
}

Task<Result<std::vector<RuntimeContainer>>> DockerRuntime::list(HostId host, Deadline deadline) {
  GS_CO_TRY(const auto containers, co_await engine_.listContainers(hostLabels(host), deadline));
  std::vector<RuntimeContainer> out;
  for (const auto& container : containers) {
    auto described = describeContainer(container);
    if (!described) {
      logWarn("docker_container_ignored", {{"container", escapeForLog(container.name)},
                                           {"why", "it bears our labels but was not made by this agent"}});
      continue;
    }
    described->createdAt = container.createdAt;
    described->manifest = container.label(kLabelBlueprint);
    for (const auto& [inside, source] : container.mounts) {
      if (inside == kGuestTarget) described->guestBinary = source;
    }
    out.push_back(std::move(*described));
  }
  co_return out;
}

Task<Result<std::unique_ptr<RuntimeWatch>>> DockerRuntime::watch(HostId host, Deadline deadline) {
  GS_CO_TRY(auto stream, co_await engine_.events(hostLabels(host), deadline));
  co_return std::make_unique<EngineWatch>(std::move(stream));
}

Task<Result<std::optional<Digest>>> DockerRuntime::findImage(std::string reference, Deadline deadline) {
  GS_CO_TRY(const auto id, co_await engine_.findImageId(std::move(reference), deadline));
  if (!id) co_return std::optional<Digest>();
  auto digest = Digest::parse(*id);
  if (!digest) co_return fail(ErrorCode::kInternal, "Docker names an image by something else than a digest");
  co_return std::optional(std::move(*digest));
}

Task<Status> DockerRuntime::load(std::unique_ptr<BodySource> archive, Deadline deadline) {
  return engine_.loadImages(std::move(archive), deadline);
}

Task<Status> DockerRuntime::removeImage(std::string reference, Deadline deadline) {
  return engine_.removeImage(std::move(reference), deadline);
}

Task<Result<std::vector<std::string>>> DockerRuntime::cachedImages(Deadline deadline) {
  return engine_.listImages("gstacks.local/blueprint", deadline);
}

}  // namespace gs
