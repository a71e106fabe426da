#include "server/files/file_service.h"

#include "async/with_deadline.h"
#include "base/encoding.h"
#include "base/log.h"

namespace gs {
namespace {

constexpr std::string_view kFeature = "files";
constexpr std::size_t kMaxAuditedPath = 300;

std::string_view nameOf(const FileRequest& request) {
  struct Namer {
    std::string_view operator()(const StatFile&) const { return "stat"; }
    std::string_view operator()(const ListDirectory&) const { return "list"; }
    std::string_view operator()(const ReadFile&) const { return "read"; }
    std::string_view operator()(const WriteFile&) const { return "write"; }
    std::string_view operator()(const RemoveFile&) const { return "remove"; }
    std::string_view operator()(const MakeDirectory&) const { return "mkdir"; }
    std::string_view operator()(const ReadTree&) const { return "read_tree"; }
    std::string_view operator()(const WriteTree&) const { return "write_tree"; }
  };
  return std::visit(Namer{}, request.operation);
}

}  // namespace

// Counts an operation for as long as it runs, its last words included.
class FileService::Use {
 public:
  Use(FileService& service, TenantId tenant, SandboxId sandbox) : service_(service), tenant_(std::move(tenant)), sandbox_(std::move(sandbox)) {
    ++service_.running_[tenant_];
    ++service_.inUse_[sandbox_];
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    if (--service_.running_.at(tenant_) == 0) service_.running_.erase(tenant_);
    if (--service_.inUse_.at(sandbox_) == 0) service_.inUse_.erase(sandbox_);
  }

 private:
  FileService& service_;
  TenantId tenant_;
  SandboxId sandbox_;
};

FileService::FileService(Executor executor, Store& store, LinkHub& hub, const Clock& clock, FileServiceSettings settings)
    : store_(store), hub_(hub), clock_(clock), settings_(settings), tasks_(std::move(executor)) {}

Task<Result<std::unique_ptr<FileOperation>>> FileService::begin(Actor actor, SandboxId sandbox, FileRequest request) {
  GS_CO_TRY(auto record, co_await find(actor.tenantId, std::move(sandbox)));
  if (stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
  const auto count = running_.find(actor.tenantId);
  if (count != running_.end() && count->second >= settings_.maxPerTenant) {
    co_return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the tenant has {} file operations under way", count->second)).withReason("too_many"));
  }
  auto use = std::make_shared<Use>(*this, actor.tenantId, record.id);
  co_await noteActivity(record);
  const auto session = SessionId::make();
  // Written before anything can happen in the sandbox.
  GS_CO_CHECK(co_await audit(actor, "session.begin", record.id,
                             fmt::format("{} files {} \"{}\"", session, nameOf(request), escapeForLog(request.path, kMaxAuditedPath))));
  auto channel = co_await open(record.hostId, session, record.id, encode(request));
  if (!channel) {
    co_await conclude(nullptr, std::move(actor), std::move(record), fmt::format("{} not begun: {}", session, channel.error().message), nullptr);
    co_return fail(std::move(channel).error());
  }
  channels_[channel->get()] = *channel;
  auto atEnd = [this, actor, record, session, use](std::shared_ptr<WebSocket> ended, const std::string& summary) {
    channels_.erase(ended.get());
    tasks_.spawn("file operation's end", conclude(std::move(ended), actor, record, fmt::format("{} {}", session, summary), use));
  };
  co_return std::make_unique<FileOperation>(std::move(*channel), std::move(atEnd));
}

Task<Result<SandboxRecord>> FileService::find(TenantId tenant, SandboxId sandbox) {
  GS_CO_TRY(auto record, co_await store_.getSandbox(tenant, std::move(sandbox)));
  if (record.state != SandboxState::kRunning) {
    const auto code = record.state == SandboxState::kUnknown ? ErrorCode::kUnavailable : ErrorCode::kFailedPrecondition;
    co_return fail(makeError(code, fmt::format("the sandbox {} is {}", record.name, sandboxStateName(record.state)))
                       .withReason("sandbox_not_running")
                       .withFix(fmt::format("start it: gstacks sandbox start {}", record.name)));
  }
  GS_CO_TRY(const auto host, co_await store_.getHost(std::move(tenant), record.hostId));
  if (std::ranges::find(host.features, kFeature) == host.features.end()) {
    co_return fail(makeError(ErrorCode::kFailedPrecondition, fmt::format("the agent of host {} is too old for file operations", host.name))
                       .withReason("files_unsupported")
                       .withFix("upgrade gstacks-agent there"));
  }
  co_return record;
}

Task<Result<std::shared_ptr<WebSocket>>> FileService::open(HostId host, SessionId session, SandboxId sandbox, std::string request) {
  const auto deadline = Deadline::after(settings_.channelTimeout);
  SessionOpen message{std::move(session), std::move(sandbox), {}};
  message.kind = FilesSession{};
  const std::string bytes = encode(message);
  for (;;) {
    GS_CO_TRY(auto channel, co_await hub_.takeChannel(host, deadline));
    // A spare may have died unnoticed; nothing has begun on it then.
    if (co_await channel->write(bytes) && co_await channel->write(request)) co_return channel;
    if (deadline.expired()) co_return fail(ErrorCode::kDeadlineExceeded, "the host did not open a channel in time");
  }
}

Task<void> FileService::conclude(std::shared_ptr<WebSocket> channel, Actor actor, SandboxRecord sandbox, std::string detail,
                                 std::shared_ptr<Use> use) {
  const auto noted = co_await audit(std::move(actor), "session.end", sandbox.id, std::move(detail));
  if (!noted) logError("audit_not_written", {{"sandbox", sandbox.id.text()}, {"error", noted.error().describe()}});
  co_await noteActivity(std::move(sandbox));
  use.reset();
  if (channel) co_await channel->close(1000, "the operation is over");
}

// Only where somebody counts on it: a write for each begin and end.
Task<void> FileService::noteActivity(SandboxRecord sandbox) {
  if (sandbox.idleStop == Seconds(0)) co_return;
  if (const auto noted = co_await store_.noteActivity(sandbox.id); !noted) {
    logWarn("activity_not_noted", {{"sandbox", sandbox.id.text()}, {"error", noted.error().describe()}});
  }
}

Task<Status> FileService::audit(Actor actor, std::string action, SandboxId sandbox, std::string detail) {
  AuditRecord record;
  record.tenantId = actor.tenantId;
  record.actor = fmt::format("{}/{}", actor.userId, actor.apiKeyId);
  record.action = std::move(action);
  record.subject = sandbox.text();
  record.detail = std::move(detail);
  record.at = clock_.wallNow();
  co_return co_await store_.appendAudit(std::move(record));
}

std::vector<SandboxId> FileService::sandboxesInUse() const {
  std::vector<SandboxId> out;
  for (const auto& [sandbox, operations] : inUse_) out.push_back(sandbox);
  return out;
}

Task<void> FileService::stop() {
  stopping_ = true;
  for (const auto& [key, weak] : channels_) {
    if (const auto channel = weak.lock()) channel->abort();
  }
  co_await tasks_.join();
}

}  // namespace gs
