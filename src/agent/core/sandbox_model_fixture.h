// Sandboxes and what is seen of them, for the tests of the model's rules.
#pragma once

#include <gtest/gtest.h>

#include "agent/core/sandbox_model.h"

namespace gs {

inline Assignment assignment(std::uint64_t generation, DesiredState desired = DesiredState::kRunning) {
  Assignment a;
  a.sandboxId = SandboxId::trusted("sbx_00000000000000000000");
  a.generation = generation;
  a.desired = desired;
  a.spec.manifest = Digest::of("m");
  return a;
}

inline const WallTime kNow = fromUnixMillis(1'767'323'045'678);

inline SandboxFacts seen(Seen container) {
  SandboxFacts facts;
  facts.container = container;
  return facts;
}
inline SandboxFacts withBlueprint(SandboxFacts facts) {
  facts.blueprintReady = true;
  return facts;
}
inline SandboxFacts withGate(SandboxFacts facts) {
  facts.gateOpen = true;
  return facts;
}
inline SandboxFacts withWorkloadExit(SandboxFacts facts, int code, int signal = 0) {
  facts.workloadExit = ExitInfo{code, signal, false, kNow};
  return facts;
}
inline SandboxFacts withContainerExit(SandboxFacts facts, int code, bool oom = false) {
  facts.exit = ExitInfo{code, 0, oom, kNow};
  return facts;
}
inline SandboxFacts withLostRuntime(SandboxFacts facts) {
  facts.runtimeWasLost = true;
  return facts;
}

inline SandboxFacts inInstance(SandboxFacts facts, std::string instance) {
  facts.instance = std::move(instance);
  return facts;
}

inline SandboxFacts withBoot(SandboxFacts facts, std::string bootId) {
  facts.bootId = std::move(bootId);
  return facts;
}

}  // namespace gs
