#include "server/sessions/attach_tickets.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

using Mode = AttachSession::Mode;

TicketGrant grantFor(const std::string& tenant, Mode mode = Mode::kWrite) {
  TicketGrant grant;
  grant.actor.tenantId = TenantId::trusted(tenant);
  grant.actor.userId = UserId::trusted("usr_0123456789abcdefghjk");
  grant.sandbox = SandboxId::trusted("sbx_0123456789abcdefghjk");
  grant.session = SessionId::trusted("ses_0123456789abcdefghjk");
  grant.mode = mode;
  return grant;
}

TEST(AttachTickets, AreGoodOnce) {
  FakeClock clock;
  AttachTickets tickets(clock);
  const auto issued = tickets.issue(grantFor("ten_a"));
  ASSERT_TRUE(issued);
  EXPECT_EQ(issued->expiresAt, clock.wallNow() + Millis(30'000));
  const std::string ticket(issued->ticket.reveal());
  EXPECT_EQ(tickets.redeem(ticket + "x").error().code, ErrorCode::kUnauthenticated);
  EXPECT_EQ(tickets.redeem(ticket)->session, grantFor("ten_a").session);
  EXPECT_EQ(tickets.redeem(ticket).error().code, ErrorCode::kUnauthenticated);
}

TEST(AttachTickets, AreGoodForHalfAMinute) {
  FakeClock clock;
  AttachTickets tickets(clock);
  const auto early = tickets.issue(grantFor("ten_a"));
  const auto late = tickets.issue(grantFor("ten_a"));
  clock.advance(Millis(29'999));
  EXPECT_TRUE(tickets.redeem(early->ticket.reveal()));
  clock.advance(Millis(1));
  EXPECT_FALSE(tickets.redeem(late->ticket.reveal()));
}

TEST(AttachTickets, AreBoundedInEachTenant) {
  FakeClock clock;
  AttachTickets tickets(clock, 2);
  EXPECT_TRUE(tickets.issue(grantFor("ten_a")));
  EXPECT_TRUE(tickets.issue(grantFor("ten_a")));
  EXPECT_EQ(tickets.issue(grantFor("ten_a")).error().reason, "too_many");
  EXPECT_TRUE(tickets.issue(grantFor("ten_b")));
  clock.advance(Millis(30'000));
  EXPECT_TRUE(tickets.issue(grantFor("ten_a")));
}

TEST(AttachTickets, AllowWhatTheyWereAskedForAndLess) {
  struct Row {
    Mode granted;
    Mode wanted;
    bool allowed;
    std::string_view reason;
  };
  for (const auto& row : {Row{Mode::kView, Mode::kView, true, "the same"}, Row{Mode::kView, Mode::kWrite, false, "more"},
                          Row{Mode::kView, Mode::kTakeOver, false, "much more"}, Row{Mode::kWrite, Mode::kView, true, "less"},
                          Row{Mode::kWrite, Mode::kWrite, true, "the same"}, Row{Mode::kWrite, Mode::kTakeOver, false, "more"},
                          Row{Mode::kTakeOver, Mode::kWrite, true, "less"}}) {
    const auto grant = grantFor("ten_a", row.granted);
    EXPECT_EQ(checkGrant(grant, grant.sandbox, grant.session, row.wanted).has_value(), row.allowed) << row.reason;
  }
  const auto grant = grantFor("ten_a");
  EXPECT_EQ(checkGrant(grant, grant.sandbox, SessionId::make(), Mode::kWrite).error().reason, "ticket_mismatch");
  EXPECT_EQ(checkGrant(grant, SandboxId::make(), grant.session, Mode::kWrite).error().reason, "ticket_mismatch");
}

}  // namespace
}  // namespace gs
