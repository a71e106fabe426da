// The HTTP API: one pipeline for every request, and a handler for each operation of the contract.
//
// Request id → route → API key → role → parameters → body → handler → headers. What a handler gets has passed all of it;
// what it returns as an Error becomes a problem here and nowhere else. Exceptions are caught here (bugs): 500.
// Loop thread only. The parts must outlive it; drain() before the server stops, so that answers get out.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/event.h"
#include "net/http_server.h"
#include "server/api/api_call.h"
#include "server/api/health_probe.h"
#include "server/api/router.h"
#include "server/audit/audit_log.h"
#include "server/blueprints/blueprint_catalog.h"
#include "server/files/file_service.h"
#include "server/hosts/host_service.h"
#include "server/identity/authenticator.h"
#include "server/identity/identity_service.h"
#include "server/logs/sandbox_logs.h"
#include "server/sandboxes/event_feed.h"
#include "server/sandboxes/sandbox_service.h"
#include "server/sessions/session_broker.h"
#include "server/sessions/session_directory.h"

namespace gs {

struct ApiParts {
  Authenticator& authenticator;
  IdentityService& identity;
  HostService& hosts;
  BlueprintCatalog& blueprints;
  SandboxService& sandboxes;
  SessionBroker& sessions;
  // Whether the tenant may open one more session: kResourceExhausted (too_many).
  std::function<Status(const TenantId&)> checkSessionQuota;
  SessionDirectory& sessionDirectory;
  AttachTickets& tickets;
  std::vector<std::string> allowedOrigins;  // of pages that may open sessions, such as https://console.example
  HealthProbe& health;
  AuditLog& audit;
  EventFeed& feed;
  FileService& files;
  SandboxLogs& logs;
};

class Api {
 public:
  // Compiles the contract. kInternal when contract and handlers do not fit each other.
  [[nodiscard]] static Result<std::unique_ptr<Api>> make(Executor executor, ApiParts parts);

  [[nodiscard]] HttpHandler handler();
  // Waits until no request is being answered (sessions do not count), or until the deadline.
  [[nodiscard]] Task<void> drain(Deadline deadline);

  [[nodiscard]] ApiParts& parts() { return parts_; }
  [[nodiscard]] const Contract& contract() const { return *contract_; }

 private:
  Api(Executor executor, ApiParts parts, std::unique_ptr<Contract> contract);
  [[nodiscard]] Status bindHandlers();
  [[nodiscard]] Task<HttpResponse> answer(HttpRequest& request, BodyReader& body);
  [[nodiscard]] Task<Result<HttpResponse>> process(ApiCall& call);
  // By the API key, or where the operation takes them by an attach ticket, which is used up by that.
  [[nodiscard]] Task<Status> identify(ApiCall& call);

  using Handler = Task<Result<HttpResponse>> (*)(Api&, ApiCall&);
  ApiParts parts_;
  std::unique_ptr<Contract> contract_;
  Router router_;
  std::unordered_map<std::string, Handler> handlers_;
  std::size_t running_ = 0;
  Event idle_;
};

}  // namespace gs
