// Tickets with which a page in a browser attaches to one session: it cannot send an API key with a WebSocket.
//
// A ticket is good once, for 30 s, for one session, as the user who asked for it. Kept in memory as hashes: a restart of
// the server makes all of them worthless, and a dump of its memory gives none away. Loop thread only; the clock must
// outlive it. Limits: `maxPerTenant` unused ones at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "server/store/store.h"
#include "wire/messages.h"

namespace gs {

struct TicketGrant {
  Actor actor;
  SandboxId sandbox;
  SessionId session;
  AttachSession::Mode mode = AttachSession::Mode::kWrite;
};

class AttachTickets {
 public:
  static constexpr Millis kLifetime{30'000};
  struct Issued {
    SecretString ticket;  // gst_ and 43 characters
    WallTime expiresAt{};
  };

  explicit AttachTickets(const Clock& clock, std::size_t maxPerTenant = 1'000) : clock_(clock), maxPerTenant_(maxPerTenant) {}

  // Each call makes another. kResourceExhausted (too_many).
  [[nodiscard]] Result<Issued> issue(TicketGrant grant);
  // What it is good for, and then it is not any more. kUnauthenticated: unknown, used, or too old; which, is not told.
  [[nodiscard]] Result<TicketGrant> redeem(std::string_view ticket);

 private:
  struct Entry {
    TicketGrant grant;
    SteadyTime expires;
  };
  void dropExpired();

  const Clock& clock_;
  std::size_t maxPerTenant_;
  std::map<std::string, Entry> unused_;  // by the hash of the ticket
};

// Whether an attach that was let in by this ticket may ask for that. kPermissionDenied (ticket_mismatch).
[[nodiscard]] Status checkGrant(const TicketGrant& grant, const SandboxId& sandbox, const SessionId& session,
                                AttachSession::Mode mode);

}  // namespace gs
