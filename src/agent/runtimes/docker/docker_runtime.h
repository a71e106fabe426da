// Runtime and ContainerImageLoader over a local Docker engine.
//
// Container name `gstacks-<sandboxId>`; labels gstacks.managed=1, gstacks.sandbox, gstacks.host, gstacks.generation,
// gstacks.blueprint, gstacks.user, gstacks.working-dir. What the container may do is decided in container_config.h; what Docker's answers mean, in
// engine_errors.h. It holds connections to the engine and nothing else: no memory of containers, nothing on disk.
// Conditions that health() reports: docker_socket_missing, docker_permission_denied, docker_not_answering,
// docker_live_restore_off, docker_limits_missing, docker_seccomp_off, docker_image_store_unsupported.
// Loop thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/runtimes/docker/docker_engine.h"
#include "agent/runtimes/docker/engine_instance.h"
#include "agent/runtimes/image_loader.h"
#include "agent/runtimes/runtime.h"

namespace gs {

// A temporary image of takeLayer().
struct LayerLeftover {
  SandboxId sandboxId;
  std::string image;  // its id
  std::optional<WallTime> createdAt;
};

struct DockerSettings {
  std::string socketPath = "/var/run/docker.sock";
  // What the container's first process is; tests without a guest put something else in its place.
  std::vector<std::string> entrypoint{"/.gstacks/guest"};
};

class DockerRuntime final : public Runtime, public ContainerImageLoader {
 public:
  DockerRuntime(const Executor& executor, DockerSettings settings);

  [[nodiscard]] std::string_view name() const override { return "docker"; }
  [[nodiscard]] Result<std::string> instance() const override { return engineInstance(settings_.socketPath, {}); }
  [[nodiscard]] Task<RuntimeReport> health(Deadline deadline) override;
  [[nodiscard]] Task<Status> create(ContainerPlan plan, Deadline deadline) override;
  [[nodiscard]] Task<Status> start(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Status> stop(SandboxId id, Millis grace, Deadline deadline) override;
  [[nodiscard]] Task<Status> remove(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::optional<RuntimeContainer>>> inspect(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::vector<RuntimeContainer>>> list(HostId host, Deadline deadline) override;
  [[nodiscard]] Task<Result<std::unique_ptr<RuntimeWatch>>> watch(HostId host, Deadline deadline) override;

  [[nodiscard]] Task<Result<LayerMeasure>> measureLayer(SandboxId id, Deadline deadline) override;
  [[nodiscard]] Task<Status> takeLayer(SandboxId id, std::uint64_t generation, LayerSink& sink, Deadline deadline) override;
  [[nodiscard]] Task<Status> dropLayers(SandboxId id, Deadline deadline) override;
  // What takeLayer() has made of this host's sandboxes and dropLayers() has not removed yet.
  [[nodiscard]] Task<Result<std::vector<LayerLeftover>>> layerLeftovers(HostId host, Deadline deadline);

  [[nodiscard]] std::string_view runtimeName() const override { return "docker"; }
  [[nodiscard]] Task<Result<std::optional<Digest>>> findImage(std::string reference, Deadline deadline) override;
  [[nodiscard]] Task<Status> load(std::unique_ptr<BodySource> archive, Deadline deadline) override;
  [[nodiscard]] Task<Status> removeImage(std::string reference, Deadline deadline) override;

  // References of all cached blueprints in the engine, whoever of its users put them there.
  [[nodiscard]] Task<Result<std::vector<std::string>>> cachedImages(Deadline deadline);

 private:
  // Absent is kNotFound.
  Task<Result<RuntimeContainer>> require(SandboxId id, Deadline deadline);

  DockerSettings settings_;
  DockerEngine engine_;
};

// The row and conditions for an engine that answered. Pure.
[[nodiscard]] RuntimeReport reportOf(const EngineInfo& info);
// kFailedPrecondition "container_foreign" when the container does not bear our labels. Pure.
[[nodiscard]] Result<RuntimeContainer> describeContainer(const EngineContainer& container);

}  // namespace gs
