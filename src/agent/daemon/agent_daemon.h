// The running agent: constructs every part, top to bottom, and ties the link to the sandboxes.
//
// Loop thread only. run() returns after a stop signal, with every task joined; sandboxes are left as they are (rule 7).
#pragma once

#include <boost/asio/io_context.hpp>

#include "agent/blueprints/blueprint_cache.h"
#include "agent/daemon/agent_config.h"
#include "agent/layers/layer_archiver.h"
#include "agent/link/channel_dialer.h"
#include "agent/link/control_link.h"
#include "agent/link/link_blob_source.h"
#include "agent/link/link_layer_uploader.h"
#include "agent/logs/log_session.h"
#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/sandboxes/link_watch.h"
#include "agent/sandboxes/supervisor.h"
#include "agent/telemetry/host_probe.h"

namespace gs {

class AgentDaemon final : private LinkDelegate, private BlueprintProvider, private SandboxArchiver, private OutputKeeper {
 public:
  struct Start {
    AgentConfig config;
    HostIdentity identity;
    Database database;  // migrated
    std::string guestBinary;
    std::uint64_t lastEpoch = 0;
  };
  AgentDaemon(asio::io_context& loop, Start start);
  ~AgentDaemon() override;

  // Until SIGTERM or SIGINT.
  [[nodiscard]] Task<Status> run();

 private:
  // LinkDelegate
  [[nodiscard]] HostFacts facts() override;
  [[nodiscard]] HostTelemetry telemetry() override;
  [[nodiscard]] std::vector<AssignmentVersion> versions() override { return supervisor_.versions(); }
  [[nodiscard]] std::vector<Observation> unacknowledged() override { return supervisor_.unacknowledged(); }
  [[nodiscard]] Task<AssignmentAck> assign(Assignment assignment) override;
  void acknowledge(const SandboxId& id, std::uint64_t sequence) override { supervisor_.acknowledge(id, sequence); }
  void openChannels(std::vector<SecretString> tickets) override { channels_.open(std::move(tickets)); }
  [[nodiscard]] std::optional<HeldSandbox> findHeld(const SandboxId& id) override;
  [[nodiscard]] Task<Result<std::uint32_t>> confirmDeletions(std::string fence) override;
  [[nodiscard]] Task<Result<std::uint32_t>> rejectDeletions(std::string fence) override;
  void linkUp(std::uint64_t epoch) override;
  void linkDown() override;
  void identityRenewed(const HostIdentity& identity) override;
  // BlueprintProvider
  [[nodiscard]] Task<Result<CacheHandle>> ensureLocal(Digest manifest, Deadline deadline) override;

  // SandboxArchiver
  [[nodiscard]] Task<Status> takeLayer(SandboxId id, std::uint64_t generation, Deadline deadline) override;
  [[nodiscard]] Task<Status> sendLayer(SandboxId id, std::uint64_t generation, Deadline deadline) override;
  [[nodiscard]] Task<Status> discardLayer(SandboxId id, Deadline deadline) override;

  // OutputKeeper
  [[nodiscard]] Task<void> collect(SandboxId id, GuestChannel& channel) override { return logs_.collect(std::move(id), channel); }
  [[nodiscard]] Task<void> drained(SandboxId id, GuestChannel& channel, Deadline deadline) override {
    return logs_.drained(std::move(id), channel, deadline);
  }
  [[nodiscard]] Task<Status> discardOutput(SandboxId id) override { return logs_.discard(std::move(id)); }

  [[nodiscard]] Task<void> watchHealth();
  // Removes now and then what is provably ours and of no use; see host_picture.h.
  [[nodiscard]] Task<void> sweep();
  // What an operator should mend about the host itself: clock, disk.
  [[nodiscard]] std::vector<HostCondition> hostConditions();
  void tellChangedFacts();
  // A confirmation that root on this host has put into the state directory; see deletions_command.h.
  [[nodiscard]] Task<void> takeLocalAnswers();
  // Whether one more sandbox may be made: the disk reserve is for journal and link (design §4, rule 12).
  [[nodiscard]] Status checkRoom() const;
  [[nodiscard]] Task<void> rememberEpoch(std::uint64_t epoch);
  [[nodiscard]] SandboxParts sandboxParts(const Start& start);
  [[nodiscard]] Result<std::unique_ptr<GuestChannel>> openGuestChannel(const SandboxId& id);

  Executor executor_;
  SystemClock clock_;
  AgentPaths paths_;
  HostProbe probe_;
  HostFacts facts_;
  HostFacts told_;  // as the control plane has them
  std::uint64_t diskReserve_;
  DeletionFenceLimits fence_;
  BlockingPool pool_;
  DatabaseThread database_;
  Journal journal_;
  DockerRuntime docker_;
  std::unique_ptr<BlobFiles> blobFiles_;
  ControlLink link_;
  LinkBlobSource blobSource_;
  BlueprintCache cache_;
  LinkLayerUploader layerUploader_;
  LayerArchiver layers_;
  WorkloadLogs logs_;
  Supervisor supervisor_;
  LinkWatch linkWatch_;
  ChannelDialer channels_;
  TaskGroup tasks_;
};

}  // namespace gs
