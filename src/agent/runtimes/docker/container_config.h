// What a sandbox's container may do: the one place where its security-relevant settings are decided.
//
// A pure function from the plan to the body of POST /containers/create, so that a golden file shows the whole of it and
// a test can state what must hold for every plan. The image contributes nothing but its file system: entrypoint, user,
// folder, health check and stop signal that it declares are overridden here, and its environment reaches the workload
// through the guest.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/runtimes/runtime.h"
#include "base/json.h"

namespace gs {

inline constexpr std::string_view kGuestTarget = "/.gstacks/guest";
inline constexpr std::string_view kRunTarget = "/.gstacks/run";

inline constexpr std::string_view kLabelManaged = "gstacks.managed";
inline constexpr std::string_view kLabelSandbox = "gstacks.sandbox";
inline constexpr std::string_view kLabelHost = "gstacks.host";
inline constexpr std::string_view kLabelGeneration = "gstacks.generation";
inline constexpr std::string_view kLabelBlueprint = "gstacks.blueprint";
inline constexpr std::string_view kLabelUser = "gstacks.user";
inline constexpr std::string_view kLabelWorkingDir = "gstacks.working-dir";

// A Linux capability (capabilities(7)), whether a sandbox has it, and why.
enum class CapabilityRule : std::uint8_t { kKeep, kDrop };
struct CapabilityChoice {
  std::string_view name;
  CapabilityRule rule;
  std::string_view why;
};

// Docker's fourteen default capabilities, each with our verdict. All others are dropped without a row.
[[nodiscard]] std::span<const CapabilityChoice> capabilityChoices();

[[nodiscard]] std::string containerName(const SandboxId& id);  // "gstacks-sbx_…"

// `entrypoint` is what the first process is: the guest, or a test's stand-in.
[[nodiscard]] Json containerConfig(const ContainerPlan& plan, const std::vector<std::string>& entrypoint);

}  // namespace gs
