#include "wire/convert.h"

namespace gs::wire {
namespace {

constexpr std::size_t kMostText = 256;

pb::RuntimeHealth::State stateOut(RuntimeState state) {
  switch (state) {
    case RuntimeState::kHealthy: return pb::RuntimeHealth::STATE_HEALTHY;
    case RuntimeState::kUnhealthy: return pb::RuntimeHealth::STATE_UNHEALTHY;
    case RuntimeState::kAbsent: return pb::RuntimeHealth::STATE_ABSENT;
    case RuntimeState::kComingSoon: return pb::RuntimeHealth::STATE_COMING_SOON;
  }
  return pb::RuntimeHealth::STATE_UNSPECIFIED;
}

// A state that this version does not know cannot be scheduled on.
RuntimeState stateIn(pb::RuntimeHealth::State state) {
  switch (state) {
    case pb::RuntimeHealth::STATE_HEALTHY: return RuntimeState::kHealthy;
    case pb::RuntimeHealth::STATE_ABSENT: return RuntimeState::kAbsent;
    case pb::RuntimeHealth::STATE_COMING_SOON: return RuntimeState::kComingSoon;
    default: return RuntimeState::kUnhealthy;
  }
}

}  // namespace

void write(const HostFacts& value, pb::HostFacts* out) {
  out->set_agent_version(value.agentVersion);
  out->set_os_name(value.osName);
  out->set_os_version(value.osVersion);
  out->set_architecture(value.architecture);
  out->set_kernel(value.kernel);
  out->set_hostname(value.hostname);
  out->set_cpu_count(value.cpuCount);
  out->set_cpu_model(value.cpuModel);
  out->set_memory_bytes(value.memoryBytes);
  out->set_disk_bytes(value.diskBytes);
  for (const auto& trait : value.traits) out->add_traits(trait);
  for (const auto& runtime : value.runtimes) {
    auto* item = out->add_runtimes();
    item->set_name(runtime.name);
    item->set_state(stateOut(runtime.state));
    item->set_version(runtime.version);
    item->set_reason(runtime.reason);
  }
  for (const auto& condition : value.conditions) {
    auto* item = out->add_conditions();
    item->set_code(condition.code);
    item->set_message(condition.message);
    item->set_fix(condition.fix);
  }
  out->set_boot_id(value.bootId);
}

Result<HostFacts> read(const pb::HostFacts& in) {
  HostFacts out;
  const std::pair<std::string_view, const std::string*> texts[] = {
      {"agent_version", &in.agent_version()}, {"os_name", &in.os_name()},     {"os_version", &in.os_version()},
      {"architecture", &in.architecture()},   {"kernel", &in.kernel()},       {"hostname", &in.hostname()},
      {"cpu_model", &in.cpu_model()},         {"boot_id", &in.boot_id()},
  };
  for (const auto& [field, text] : texts) GS_CHECK(checkLength(field, text->size(), kMostText));
  GS_CHECK(checkLength("traits", static_cast<std::size_t>(in.traits_size()), 64));
  GS_CHECK(checkLength("runtimes", static_cast<std::size_t>(in.runtimes_size()), 16));
  GS_CHECK(checkLength("conditions", static_cast<std::size_t>(in.conditions_size()), 32));
  if (in.architecture() != "amd64" && in.architecture() != "arm64") {
    return fail(fieldError("architecture", "must be amd64 or arm64"));
  }
  out.agentVersion = in.agent_version();
  out.osName = in.os_name();
  out.osVersion = in.os_version();
  out.architecture = in.architecture();
  out.kernel = in.kernel();
  out.hostname = in.hostname();
  out.cpuCount = in.cpu_count();
  out.cpuModel = in.cpu_model();
  out.memoryBytes = in.memory_bytes();
  out.diskBytes = in.disk_bytes();
  out.bootId = in.boot_id();
  for (const auto& trait : in.traits()) {
    GS_CHECK(checkLength("traits", trait.size(), 63));
    out.traits.push_back(trait);
  }
  for (const auto& item : in.runtimes()) {
    GS_CHECK(checkLength("runtimes.name", item.name().size(), 63));
    GS_CHECK(checkLength("runtimes.version", item.version().size(), kMostText));
    GS_CHECK(checkLength("runtimes.reason", item.reason().size(), 1024));
    out.runtimes.push_back({item.name(), stateIn(item.state()), item.version(), item.reason()});
  }
  for (const auto& item : in.conditions()) {
    GS_CHECK(checkLength("conditions.code", item.code().size(), 63));
    GS_CHECK(checkLength("conditions.message", item.message().size(), 1024));
    GS_CHECK(checkLength("conditions.fix", item.fix().size(), 1024));
    out.conditions.push_back({item.code(), item.message(), item.fix()});
  }
  return out;
}

void write(const HostTelemetry& value, pb::HostTelemetry* out) {
  out->set_memory_available_bytes(value.memoryAvailableBytes);
  out->set_disk_free_bytes(value.diskFreeBytes);
  out->set_uptime_seconds(value.uptimeSeconds);
  out->set_load1_milli(value.load1Milli);
  out->set_load5_milli(value.load5Milli);
  out->set_load15_milli(value.load15Milli);
  out->set_agent_rss_bytes(value.agentRssBytes);
  out->set_sandboxes_running(value.sandboxesRunning);
}

HostTelemetry read(const pb::HostTelemetry& in) {
  return {in.memory_available_bytes(), in.disk_free_bytes(), in.uptime_seconds(),  in.load1_milli(),
          in.load5_milli(),            in.load15_milli(),    in.agent_rss_bytes(), in.sandboxes_running()};
}

}  // namespace gs::wire

namespace gs {

std::string encode(const HostFacts& message) { return wire::serialize<wire::pb::HostFacts>(message); }

Result<HostFacts> decodeHostFacts(std::string_view bytes) {
  GS_TRY(const auto message, wire::parseMessage<wire::pb::HostFacts>(bytes, "HostFacts"));
  return wire::read(message);
}

}  // namespace gs
