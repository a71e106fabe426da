// Begins file operations in sandboxes: checks, a data channel of the host, the audit log, and the count of what runs.
//
// Loop thread only; store and hub must outlive it. Limits: `maxPerTenant` operations of a tenant at once. Restart: nothing
// is kept; operations end with their channels, and clients resume transfers.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>

#include "async/task_group.h"
#include "server/core/records.h"
#include "server/files/file_operation.h"
#include "server/sessions/session_account.h"

namespace gs {

struct FileServiceSettings {
  Millis channelTimeout{10'000};
  std::size_t maxPerTenant = 1'024;
};

class FileService {
 public:
  FileService(Executor executor, Store& store, LinkHub& hub, const Clock& clock, FileServiceSettings settings = {});

  // The operation, under way: its request is sent. kNotFound: no such sandbox in the actor's tenant; kFailedPrecondition:
  // it does not run (sandbox_not_running), or its host is too old (files_unsupported); kResourceExhausted (too_many);
  // kUnavailable, kDeadlineExceeded: no channel to its host. The request's own errors come from FileOperation::next.
  [[nodiscard]] Task<Result<std::unique_ptr<FileOperation>>> begin(Actor actor, SandboxId sandbox, FileRequest request);

  // The sandboxes that have an operation now.
  [[nodiscard]] std::vector<SandboxId> sandboxesInUse() const { return account_.sandboxesInUse(); }
  // Ends what runs, and every new one is refused. Returns when all ends are written.
  [[nodiscard]] Task<void> stop();

 private:
  class Use;
  [[nodiscard]] Task<Result<SandboxRecord>> find(TenantId tenant, SandboxId sandbox);
  [[nodiscard]] Task<void> conclude(std::shared_ptr<WebSocket> channel, Actor actor, SandboxRecord sandbox, std::string detail,
                                    std::shared_ptr<Use> use);

  Store& store_;
  FileServiceSettings settings_;
  SessionAccount account_;
  std::unordered_map<TenantId, std::size_t> running_;
  std::map<WebSocket*, std::weak_ptr<WebSocket>> channels_;
  TaskGroup tasks_;
  bool stopping_ = false;
};

}  // namespace gs
