#include <nlohmann/json.hpp>

#include "server/api/handlers.h"
#include "server/api/reply.h"
#include "server/api/text.h"
#include "server/api/views.h"

namespace gs {
namespace {

constexpr std::size_t kMaxText = 1024;

}  // namespace

Json view::auditEntry(const AuditRecord& record) {
  Json out{{"sequence", record.id},
           {"at", formatTime(record.at)},
           {"actor", cutText(record.actor, kMaxText)},
           {"action", record.action},
           {"subject", cutText(record.subject, kMaxText)}};
  if (!record.detail.empty()) out["detail"] = cutText(record.detail, kMaxText);
  return out;
}

Task<Result<HttpResponse>> handlers::listAudit(Api& api, ApiCall& call) {
  GS_CO_TRY(const auto page, co_await api.parts().audit.list(call.actor, call.page()));
  co_return listReply(view::items(page, view::auditEntry), page.nextCursor);
}

}  // namespace gs
