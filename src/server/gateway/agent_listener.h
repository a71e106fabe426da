// The door for agents: TLS, who is asking, and which part answers. Paths are those of the agent contract.
//
// Every request with a client certificate is checked against the store, so a revoked host gets nothing from any
// connection, new or kept alive. The listener's certificate is issued at start and again at two thirds of its life.
// Loop thread only. All parts must outlive it; stop() before destruction.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/task_group.h"
#include "net/http_server.h"
#include "server/blueprints/blob_store.h"
#include "server/gateway/archive_intake.h"
#include "server/gateway/enrollment_service.h"
#include "server/gateway/gateway_hub.h"

namespace gs {

struct AgentListenerSettings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 8443;
  // Besides localhost, 127.0.0.1 and ::1: names and addresses by which agents reach this server (--agent-name).
  std::vector<std::string> names;
  std::size_t maxConnections = 40'000;
};

struct AgentListenerParts {
  Store& store;
  const CertificateAuthority& authority;
  EnrollmentService& enrollment;
  GatewayHub& hub;
  BlobCredentials& credentials;
  ArchiveIntake& archives;
  std::shared_ptr<BlobStore> blobs;
  BlockingPool& pool;  // for reading blobs
  const Clock& clock;
};

class AgentListener {
 public:
  // Listens and serves. kUnavailable with the fix when the port is taken.
  [[nodiscard]] static Result<std::unique_ptr<AgentListener>> start(Executor executor, AgentListenerSettings settings,
                                                                    AgentListenerParts parts);
  ~AgentListener();
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  // Stops accepting, ends what runs and joins. Stop the hub first, so that agents hear 1001. Repeat is harmless.
  [[nodiscard]] Task<void> stop();

 private:
  AgentListener(Executor executor, AgentListenerSettings settings, AgentListenerParts parts);
  [[nodiscard]] Task<HttpResponse> handle(HttpRequest& request, BodyReader& body);
  [[nodiscard]] Task<HttpResponse> exchange(HttpRequest& request, BodyReader& body);
  [[nodiscard]] Task<HttpResponse> link(HttpRequest& request);
  [[nodiscard]] Task<HttpResponse> channel(HttpRequest& request);
  [[nodiscard]] Task<HttpResponse> blob(HttpRequest& request);
  [[nodiscard]] Task<HttpResponse> archive(HttpRequest& request, BodyReader& body);
  // The host of the request's certificate, if that is valid now and not revoked.
  [[nodiscard]] Task<Result<HostRecord>> authenticate(const HttpRequest& request);
  [[nodiscard]] Result<std::shared_ptr<TlsServerContext>> freshTls() const;
  [[nodiscard]] Task<void> renewTls();

  AgentListenerSettings settings_;
  AgentListenerParts parts_;
  TaskGroup tasks_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace gs
