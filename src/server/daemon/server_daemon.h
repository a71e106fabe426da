// The running control plane: constructs every part, top to bottom, and is the only place that knows them all.
//
// Loop thread only. run() returns after a stop signal, with every task joined. Hosts notice the end of their links and
// dial again; sandboxes go on.
#pragma once

#include <boost/asio/io_context.hpp>

#include "server/api/api.h"
#include "server/blueprints/archive_importer.h"
#include "server/blueprints/file_blob_store.h"
#include "server/daemon/data_directory.h"
#include "server/daemon/listen_address.h"
#include "server/gateway/agent_listener.h"
#include "server/sandboxes/deadline_keeper.h"
#include "server/sandboxes/event_feed.h"
#include "server/sandboxes/event_pruner.h"
#include "server/sandboxes/waiting_room.h"
#include "server/files/file_service.h"
#include "server/sessions/splicing_broker.h"

namespace gs {

struct ServerSettings {
  std::string dataDir;
  ListenAddress http{"127.0.0.1", 8080};
  ListenAddress agent{"127.0.0.1", 8443};
  std::vector<std::string> agentNames;
  std::chrono::seconds certificateLifetime = std::chrono::hours(24);  // of hosts' certificates
  PlacementRules placement;
  SandboxEventLimits events;
  WaitingRoomSettings waiting;
  std::vector<std::string> allowedOrigins;  // of pages that may open sessions
  std::string portsFile;  // empty: none. {"http":N,"agent":N}, written when both listen
};

class ServerDaemon {
 public:
  // What must be there before the first part is made; any of it may fail.
  struct Start {
    ServerSettings settings;
    std::unique_ptr<Store> store;
    std::unique_ptr<CertificateAuthority> authority;
    std::shared_ptr<BlobStore> blobs;
  };
  // Locks and opens the data directory; `loop` must outlive what is returned. kFailedPrecondition with the fix when it
  // is not initialised or in use.
  [[nodiscard]] static Result<Start> prepare(asio::io_context& loop, ServerSettings settings,
                                             const Clock& clock);

  ServerDaemon(asio::io_context& loop, Start start, const Clock& clock);
  ~ServerDaemon();

  // Until SIGTERM or SIGINT. kUnavailable when an address is taken.
  [[nodiscard]] Task<Status> run();

 private:
  [[nodiscard]] Task<Status> listen();
  [[nodiscard]] Status announce() const;
  [[nodiscard]] Task<void> stop();

  const Clock& clock_;
  Executor executor_;
  ServerSettings settings_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<CertificateAuthority> authority_;
  std::shared_ptr<BlobStore> blobs_;
  BlockingPool blobPool_;

  SandboxEvents events_;
  BlobCredentials credentials_;
  GatewayHub hub_;
  EnrollmentService enrollment_;
  ArchiveIntake archives_;

  Authenticator authenticator_;
  AuditLog audit_;
  IdentityService identity_;
  HostService hosts_;
  ArchiveImporter importer_;
  BlueprintCatalog blueprints_;
  SandboxService sandboxes_;
  EventPruner eventPruner_;
  EventFeed feed_;
  WaitingRoom waiting_;
  SplicingBroker sessions_;
  SandboxLogs logs_;
  FileService files_;
  SessionDirectory sessionDirectory_;
  AttachTickets tickets_;
  DeadlineKeeper deadlines_;
  HealthProbe health_;

  std::unique_ptr<Api> api_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<AgentListener> agents_;
};

}  // namespace gs
