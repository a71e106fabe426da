#include "server/sessions/attach_tickets.h"

#include <algorithm>

#include "base/digest.h"
#include "base/encoding.h"

namespace gs {
namespace {

constexpr std::string_view kPrefix = "gst_";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretChars = 43;

// Looking up by the hash takes as long whatever the ticket is: nothing about the secret is learned from the time.
std::string hashOf(std::string_view ticket) { return Digest::of(ticket).text(); }

}  // namespace

void AttachTickets::dropExpired() {
  const auto now = clock_.steadyNow();
  std::erase_if(unused_, [now](const auto& entry) { return entry.second.expires <= now; });
}

Result<AttachTickets::Issued> AttachTickets::issue(TicketGrant grant) {
  dropExpired();
  const auto held = std::ranges::count_if(unused_, [&](const auto& entry) { return entry.second.grant.actor.tenantId == grant.actor.tenantId; });
  if (static_cast<std::size_t>(held) >= maxPerTenant_) {
    return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the tenant has {} unused attach tickets", held)).withReason("too_many"));
  }
  const std::string ticket = std::string(kPrefix) + toBase64Url(randomBytes(kSecretBytes));
  unused_.emplace(hashOf(ticket), Entry{std::move(grant), clock_.steadyNow() + kLifetime});
  return Issued{SecretString(ticket), clock_.wallNow() + kLifetime};
}

Result<TicketGrant> AttachTickets::redeem(std::string_view ticket) {
  dropExpired();
  const bool wellFormed = ticket.starts_with(kPrefix) && ticket.size() == kPrefix.size() + kSecretChars;
  auto found = wellFormed ? unused_.extract(hashOf(ticket)) : decltype(unused_)::node_type();
  if (found) return std::move(found.mapped().grant);
  return fail(makeError(ErrorCode::kUnauthenticated, "the attach ticket is not valid, or not any more")
                  .withFix("ask for another: a ticket is good once, for 30 s"));
}

Status checkGrant(const TicketGrant& grant, const SandboxId& sandbox, const SessionId& session, AttachSession::Mode mode) {
  const auto refused = [](std::string_view why) {
    return fail(makeError(ErrorCode::kPermissionDenied, fmt::format("the attach ticket is for {}", why)).withReason("ticket_mismatch"));
  };
  if (grant.sandbox != sandbox || grant.session != session) return refused("another session");
  if (mode == AttachSession::Mode::kView || mode == grant.mode) return {};
  if (grant.mode == AttachSession::Mode::kTakeOver) return {};
  return refused(grant.mode == AttachSession::Mode::kView ? "viewing only" : "writing without taking over");
}

}  // namespace gs
