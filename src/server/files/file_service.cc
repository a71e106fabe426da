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
  Use(FileService& service, TenantId tenant, const SandboxId& sandbox)
      : service_(service), tenant_(std::move(tenant)), sandbox_(service.account_.use(sandbox)) {
    ++service_.running_[tenant_];
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  ~Use() {
    if (--service_.running_.at(tenant_) == 0) service_.running_.erase(tenant_);
  }

 private:
  FileService& service_;
  TenantId tenant_;
  std::shared_ptr<void> sandbox_;
};

FileService::FileService(Executor executor, Store& store, LinkHub& hub, const Clock& clock, FileServiceSettings settings)
    : store_(store), settings_(settings), account_(store, hub, clock, settings.channelTimeout), tasks_(std::move(executor)) {}

Task<Result<std::unique_ptr<FileOperation>>> FileService::begin(Actor actor, SandboxId sandbox, FileRequest request) {
  GS_CO_TRY(auto record, co_await find(actor.tenantId, std::move(sandbox)));
  if (stopping_) co_return fail(ErrorCode::kUnavailable, "the server is stopping");
  const auto count = running_.find(actor.tenantId);
  if (count != running_.end() && count->second >= settings_.maxPerTenant) {
    co_return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the tenant has {} file operations under way", count->second)).withReason("too_many"));
  }
  auto use = std::make_shared<Use>(*this, actor.tenantId, record.id);
  co_await account_.noteActivity(record);
  const auto session = SessionId::make();
  // Written before anything can happen in the sandbox.
  GS_CO_CHECK(co_await account_.audit(actor, "session.begin", record.id,
                             fmt::format("{} files {} \"{}\"", session, nameOf(request), escapeForLog(request.path, kMaxAuditedPath))));
  SessionOpen message{session, record.id, {}};
  message.kind = FilesSession{};
  auto channel = co_await account_.beginOnChannel(record.hostId, {encode(message), encode(request)});
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

Task<void> FileService::conclude(std::shared_ptr<WebSocket> channel, Actor actor, SandboxRecord sandbox, std::string detail,
                                 std::shared_ptr<Use> use) {
  const auto noted = co_await account_.audit(std::move(actor), "session.end", sandbox.id, std::move(detail));
  if (!noted) logError("audit_not_written", {{"sandbox", sandbox.id.text()}, {"error", noted.error().describe()}});
  co_await account_.noteActivity(std::move(sandbox));
  use.reset();
  if (channel) co_await channel->close(1000, "the operation is over");
}

Task<void> FileService::stop() {
  stopping_ = true;
  for (const auto& [key, weak] : channels_) {
    if (const auto channel = weak.lock()) channel->abort();
  }
  co_await tasks_.join();
}

}  // namespace gs
