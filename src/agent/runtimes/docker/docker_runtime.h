// Runtime and ContainerImageLoader over a local Docker engine.
//
// Container name `gstacks-<sandboxId>`; labels gstacks.managed=1, gstacks.sandbox, gstacks.host, gstacks.generation,
// gstacks.blueprint. What the container may do is decided in container_config.h. Loop thread only.
#pragma once

#include <memory>
#include <string>

#include "agent/runtimes/image_loader.h"
#include "agent/runtimes/runtime.h"

namespace gs {

struct DockerSettings {
  std::string socketPath = "/var/run/docker.sock";
  // What the container's first process is; tests without a guest put something else in its place.
  std::vector<std::string> entrypoint{"/.gstacks/guest"};
};

class DockerRuntime : public Runtime, public ContainerImageLoader {};

[[nodiscard]] std::unique_ptr<DockerRuntime> makeDockerRuntime(Executor executor, DockerSettings settings);

}  // namespace gs
