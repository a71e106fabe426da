#include "agent/runtimes/runtime.h"

namespace gs {

std::string_view containerPhaseName(ContainerPhase phase) {
  switch (phase) {
    case ContainerPhase::kCreated:
      return "created";
    case ContainerPhase::kRunning:
      return "running";
    case ContainerPhase::kPaused:
      return "paused";
    case ContainerPhase::kExited:
      return "exited";
    case ContainerPhase::kRemoving:
      return "removing";
  }
  return "unknown";
}

}  // namespace gs
