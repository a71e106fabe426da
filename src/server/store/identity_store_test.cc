#include "server/store/cursor.h"
#include "server/store/store_fixture.h"

namespace gs {
namespace {

using IdentityStore = StoreTest;

ApiKeyRecord keyOf(const Actor& actor, std::string name) {
  ApiKeyRecord key;
  key.id = ApiKeyId::make();
  key.tenantId = actor.tenantId;
  key.userId = actor.userId;
  key.name = std::move(name);
  key.role = Role::kMember;
  key.secretHash = "hash";
  key.createdAt = FakeClock().wallNow();
  return key;
}

TEST_F(IdentityStore, MakesATenantWithAllThatItNeedsOrNothing) {
  EXPECT_EQ(run(store_->countTenants()).value(), 1);
  EXPECT_EQ(run(store_->getTenant(acme_.tenantId)).value().name, "acme");
  EXPECT_EQ(run(store_->getUser(acme_.tenantId, acme_.userId)).value().role, Role::kAdmin);
  EXPECT_TRUE(run(store_->getDefaultCluster(acme_.tenantId)).value().isDefault);
  Store::NewTenant twin;
  twin.tenant = {TenantId::make(), "acme", now()};
  EXPECT_EQ(codeOf(run(store_->insertTenant(twin))), ErrorCode::kAlreadyExists);
  EXPECT_EQ(run(store_->countTenants()).value(), 1);
}

TEST_F(IdentityStore, GivesAKeyByIdWithTheRoleOfItsUserAlsoWhenRevoked) {
  const auto key = keyOf(acme_, "ci");
  ASSERT_TRUE(run(store_->insertApiKey(acme_, key)));
  ASSERT_TRUE(run(store_->touchApiKey(key.id, now())));
  ASSERT_TRUE(run(store_->revokeApiKey(acme_, key.id)));
  const auto first = run(store_->getApiKey(key.id)).value();
  EXPECT_EQ(first.userRole, Role::kAdmin);
  EXPECT_EQ(first.role, Role::kMember);
  EXPECT_EQ(first.secretHash, "hash");
  EXPECT_EQ(first.lastUsedAt, now());
  EXPECT_EQ(first.revokedAt, now());
  clock_.advance(Millis(5000));
  ASSERT_TRUE(run(store_->revokeApiKey(acme_, key.id))) << "a repeat succeeds";
  EXPECT_EQ(run(store_->getApiKey(key.id)).value().revokedAt, first.revokedAt) << "and changes nothing";
  EXPECT_EQ(codeOf(run(store_->getApiKey(ApiKeyId::make()))), ErrorCode::kNotFound);
}

TEST_F(IdentityStore, FreesTheNameOfARevokedKey) {
  const auto key = keyOf(acme_, "ci");
  ASSERT_TRUE(run(store_->insertApiKey(acme_, key)));
  EXPECT_EQ(codeOf(run(store_->insertApiKey(acme_, keyOf(acme_, "ci")))), ErrorCode::kAlreadyExists);
  ASSERT_TRUE(run(store_->revokeApiKey(acme_, key.id)));
  EXPECT_TRUE(run(store_->insertApiKey(acme_, keyOf(acme_, "ci"))));
}

TEST_F(IdentityStore, PagesNewestFirstWithoutRepeatingOrSkippingWhileOthersInsert) {
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) {
    clock_.advance(Millis(i % 2));  // equal times as well: the id breaks the tie
    auto key = keyOf(acme_, fmt::format("k{}", i));
    key.createdAt = now();
    ASSERT_TRUE(run(store_->insertApiKey(acme_, key)));
  }
  std::vector<std::string> seen;
  PageRequest request{2, ""};
  do {
    const auto page = run(store_->listApiKeys(acme_.tenantId, request)).value();
    for (const auto& item : page.items) seen.push_back(item.name);
    request.cursor = page.nextCursor;
    auto late = keyOf(acme_, fmt::format("late{}", seen.size()));
    late.createdAt = now() + Millis(1000);
    ASSERT_TRUE(run(store_->insertApiKey(acme_, late)));
  } while (!request.cursor.empty());
  EXPECT_EQ(seen.size(), 6U);  // five and the first admin's
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::string>{"admin", "k0", "k1", "k2", "k3", "k4"}));
}

TEST_F(IdentityStore, RefusesACursorOfAnotherListOrTenant) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run(store_->insertApiKey(acme_, keyOf(acme_, fmt::format("k{}", i)))));
  const auto cursor = run(store_->listApiKeys(acme_.tenantId, {1, ""})).value().nextCursor;
  ASSERT_FALSE(cursor.empty());
  const Actor other = addTenant("other");
  struct Case {
    const char* why;
    ErrorCode got;
  };
  std::string damaged = cursor;
  damaged.back() = damaged.back() == 'A' ? 'B' : 'A';
  for (const Case& c : {
           Case{"another tenant's", codeOf(run(store_->listApiKeys(other.tenantId, {1, cursor})))},
           Case{"another kind of list", codeOf(run(store_->listTokens(acme_.tenantId, {1, cursor})))},
           Case{"changed", codeOf(run(store_->listApiKeys(acme_.tenantId, {1, damaged})))},
           Case{"made up", codeOf(run(store_->listApiKeys(acme_.tenantId, {1, "abc"})))},
       }) {
    EXPECT_EQ(c.got, ErrorCode::kInvalidArgument) << c.why;
  }
}

TEST(Cursor, RoundTripsWithinItsScopeOnly) {
  const PageKey key{1'700'000'000'123, "sbx_00000000000000000000"};
  EXPECT_EQ(decodeCursor("sandbox/t", encodeCursor("sandbox/t", key)).value(), key);
  EXPECT_FALSE(decodeCursor("sandbox/t/state=running", encodeCursor("sandbox/t", key)));
}

TEST_F(IdentityStore, WritesTheAuditLineInTheSameTransaction) {
  const auto key = keyOf(acme_, "ci");
  ASSERT_TRUE(run(store_->insertApiKey(acme_, key)));
  ASSERT_FALSE(run(store_->insertApiKey(acme_, keyOf(acme_, "ci"))));
  ASSERT_TRUE(run(store_->revokeApiKey(acme_, key.id)));
  ASSERT_TRUE(run(store_->appendAudit({0, acme_.tenantId, "system", "session.open", "sbx_x", "d", now()})));
  const auto lines = run(store_->listAudit(acme_.tenantId, {})).value().items;
  ASSERT_EQ(lines.size(), 4U) << "the refused insert left no line";
  EXPECT_EQ(lines[0].action, "session.open");
  EXPECT_EQ(lines[1].action, "api_key.revoke");
  EXPECT_EQ(lines[1].actor, acme_.userId.text() + "/" + acme_.apiKeyId.text());
  EXPECT_EQ(lines[1].subject, key.id.text());
  const auto second = run(store_->listAudit(acme_.tenantId, {2, run(store_->listAudit(acme_.tenantId, {2, ""}))->nextCursor}));
  ASSERT_EQ(second->items.size(), 2U);
  EXPECT_EQ(second->items[1].action, "tenant.create");
}

TEST_F(IdentityStore, ChecksThatItCanWrite) {
  EXPECT_TRUE(run(store_->checkHealth()));
  EXPECT_TRUE(run(store_->checkHealth()));
}

}  // namespace
}  // namespace gs
