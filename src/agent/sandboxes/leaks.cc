#include "agent/sandboxes/leaks.h"

#include <map>
#include <set>

namespace gs {
namespace {

constexpr std::pair<LeakKind, std::string_view> kNames[] = {
    {LeakKind::kContainerWithoutRecord, "container_without_record"},
    {LeakKind::kRecordWithoutContainer, "record_without_container"},
    {LeakKind::kRunDirWithoutRecord, "run_dir_without_record"},
    {LeakKind::kStaleSocket, "stale_socket"},
    {LeakKind::kCacheLeftover, "cache_leftover"},
    {LeakKind::kLayerLeftover, "layer_leftover"},
    {LeakKind::kLogLeftover, "log_leftover"},
    {LeakKind::kUnusedGuestBinary, "unused_guest_binary"},
    {LeakKind::kUnusedImage, "unused_image"}};

}  // namespace

std::string_view leakKindName(LeakKind kind) {
  for (const auto& [value, name] : kNames) {
    if (value == kind) return name;
  }
  return "";
}

LeakWeight weightOf(LeakKind kind) {
  return kind == LeakKind::kUnusedGuestBinary || kind == LeakKind::kUnusedImage ? LeakWeight::kNote : LeakWeight::kLeak;
}

std::vector<Leak> findLeaks(const HostPicture& picture, Millis minimumAge) {
  std::vector<Leak> out;
  const auto report = [&](LeakKind kind, std::string what, std::string detail, WallTime since) {
    const auto age = std::chrono::duration_cast<Millis>(picture.takenAt - since);
    if (age >= minimumAge) out.push_back({kind, std::move(what), std::move(detail), age});
  };
  std::map<std::string, const SandboxRecord*> records;
  for (const auto& record : picture.records) records[record.assignment.sandboxId.text()] = &record;
  std::map<std::string, const RuntimeContainer*> containers;
  std::set<std::string> mountedGuests, usedManifests;
  for (const auto& container : picture.containers) {
    containers[container.sandboxId.text()] = &container;
    mountedGuests.insert(container.guestBinary);
    usedManifests.insert(container.manifest);
  }

  for (const auto& [id, container] : containers) {
    if (records.contains(id)) continue;
    report(LeakKind::kContainerWithoutRecord, id,
           "the container gstacks-" + id + " belongs to no sandbox of this host's journal; it may be adopted",
           container->createdAt.value_or(picture.takenAt));
  }
  for (const auto& [id, record] : records) {
    const bool toldRunning = record->assignment.desired == DesiredState::kRunning &&
                             record->observation.state == SandboxState::kRunning &&
                             record->observation.generation == record->assignment.generation;
    if (toldRunning && !containers.contains(id)) {
      report(LeakKind::kRecordWithoutContainer, id, "the journal says that it runs, and it has no container",
             record->observation.observedAt);
    }
  }
  for (const auto& dir : picture.runDirs) {
    if (records.contains(dir.name) || containers.contains(dir.name)) continue;
    report(LeakKind::kRunDirWithoutRecord, dir.name, "a run directory without sandbox and container", dir.since);
  }
  for (const auto& socket : picture.deafSockets) {
    const auto container = containers.find(socket.name);
    if (container == containers.end() || !container->second->alive() || !records.contains(socket.name)) continue;
    report(LeakKind::kStaleSocket, socket.name, "the agent does not listen on the socket of a sandbox that runs",
           socket.since);
  }
  for (const auto& file : picture.cacheLeftovers) {
    report(LeakKind::kCacheLeftover, file.name, "a download that nobody finishes", file.since);
  }
  std::set<std::string> archiving;
  for (const auto& [id, record] : records) {
    if (record->assignment.desired == DesiredState::kArchived) archiving.insert(id);
  }
  for (const auto& layer : picture.layers) {
    if (archiving.contains(layer.name)) continue;
    report(LeakKind::kLayerLeftover, layer.name, "what is left of archiving a sandbox that is not being archived", layer.since);
  }
  for (const auto& log : picture.logs) {
    if (records.contains(log.name) || containers.contains(log.name)) continue;
    report(LeakKind::kLogLeftover, log.name, "what a sandbox wrote that is not on this host any more", log.since);
  }
  for (const auto& guest : picture.guestBinaries) {
    if (mountedGuests.contains(guest.name)) continue;
    report(LeakKind::kUnusedGuestBinary, guest.name, "a guest program that no container uses", guest.since);
  }
  for (const auto& image : picture.images) {
    const auto hex = image.substr(image.rfind(':') + 1);
    if (usedManifests.contains("sha256:" + hex)) continue;
    // The engine does not tell since when; what is only a note needs no age.
    out.push_back({LeakKind::kUnusedImage, image, "a cached blueprint that no container is made of", Millis(0)});
  }
  return out;
}

}  // namespace gs
