#include <gtest/gtest.h>

#include "async/run_task.h"
#include "base/digest.h"
#include "base/encoding.h"
#include "server/identity/authenticator.h"
#include "server/identity/credentials.h"
#include "server/identity/identity_service.h"

namespace gs {
namespace {

class IdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(":memory:", &clock_).value();
    service_ = std::make_unique<IdentityService>(*store_, clock_, std::string(32, 'p'));
    authenticator_ = std::make_unique<Authenticator>(*store_, clock_);
    first_ = run(service_->createTenant("acme", "admin@example.com")).value();
  }
  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }
  Result<Actor> ask(std::optional<std::string> header) { return run(authenticator_->authenticate(std::move(header))); }
  static std::string bearer(const SecretString& key) { return fmt::format("Bearer {}", key.reveal()); }
  ApiKeyRecord stored() { return run(store_->getApiKey(first_.record.id)).value(); }

  FakeClock clock_;
  asio::io_context loop_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<IdentityService> service_;
  std::unique_ptr<Authenticator> authenticator_;
  CreatedApiKey first_;
};

TEST(Credentials, HaveTheFormOfTheContractAndReadBack) {
  const auto keyId = ApiKeyId::make();
  const auto key = mintApiKey(keyId);
  EXPECT_EQ(key.text.reveal().size(), 4U + 20 + 1 + 43);
  EXPECT_EQ(parseApiKey(key.text.reveal())->id, keyId);
  EXPECT_EQ(parseApiKey(key.text.reveal())->hash, key.hash);
  EXPECT_EQ(key.hash, Digest::of(key.text.reveal().substr(25)).raw());
  const auto tokenId = TokenId::make();
  const auto token = mintProvisioningToken(tokenId, std::string(32, 'p'));
  EXPECT_EQ(token.text.reveal().size(), 4U + 20 + 1 + 43 + 1 + 43);
  EXPECT_TRUE(token.text.reveal().ends_with(toBase64Url(std::string(32, 'p'))));
  EXPECT_EQ(parseProvisioningToken(token.text.reveal())->id, tokenId);
  EXPECT_EQ(parseProvisioningToken(token.text.reveal())->hash, token.hash);
  EXPECT_NE(mintApiKey(keyId).hash, key.hash);
}

TEST(Credentials, RefuseEveryOtherFormWithoutQuotingIt) {
  const std::string good(mintApiKey(ApiKeyId::make()).text.reveal());
  std::string badId = good;
  badId[5] = 'i';  // not a Crockford digit
  std::string badSecret = good;
  badSecret.back() = '!';
  std::string badSeparator = good;
  badSeparator[24] = '-';
  const struct {
    const char* why;
    std::string text;
  } rows[] = {{"nothing", ""},          {"a prefix", "gsk_"},           {"one character short", good.substr(0, 67)},
              {"one too many", good + "A"}, {"another kind", "gsp" + good.substr(3)}, {"a bad id", badId},
              {"a bad secret", badSecret}, {"no separator", badSeparator}};
  for (const auto& row : rows) {
    const auto result = parseApiKey(row.text);
    ASSERT_FALSE(result) << row.why;
    EXPECT_EQ(result.error().code, ErrorCode::kUnauthenticated) << row.why;
    EXPECT_EQ(result.error().message, "not an API key") << row.why;
  }
  EXPECT_EQ(parseProvisioningToken(good).error().reason, "token_unknown");
}

TEST_F(IdentityTest, KnowsTheFirstAdmin) {
  const auto actor = ask(bearer(first_.key));
  ASSERT_TRUE(actor);
  EXPECT_EQ(actor->role, Role::kAdmin);
  EXPECT_EQ(actor->apiKeyId, first_.record.id);
  EXPECT_TRUE(ask("bearer  " + std::string(first_.key.reveal()))) << "the scheme has no case, spaces are free";
  const auto who = run(service_->whoami(*actor)).value();
  EXPECT_EQ(who.tenant.name, "acme");
  EXPECT_EQ(who.user.email, "admin@example.com");
}

TEST_F(IdentityTest, AnswersEveryInvalidKeyAlike) {
  const auto revoked = run(service_->createApiKey(*ask(bearer(first_.key)), "ci", Role::kMember)).value();
  ASSERT_TRUE(run(service_->revokeApiKey(*ask(bearer(first_.key)), revoked.record.id)));
  std::string wrong(first_.key.reveal());
  wrong[30] = wrong[30] == 'A' ? 'B' : 'A';
  const struct {
    const char* why;
    std::optional<std::string> header;
  } rows[] = {
      {"none", std::nullopt},
      {"empty", ""},
      {"no key", "Bearer"},
      {"no key after a space", "Bearer "},
      {"another scheme", "Basic " + std::string(first_.key.reveal())},
      {"no scheme", std::string(first_.key.reveal())},
      {"malformed", "Bearer gsk_nonsense"},
      {"unknown id", bearer(mintApiKey(ApiKeyId::make()).text)},
      {"wrong secret", "Bearer " + wrong},
      {"revoked", bearer(revoked.key)},
  };
  for (const auto& row : rows) {
    const auto result = ask(row.header);
    ASSERT_FALSE(result) << row.why;
    EXPECT_EQ(result.error().describe(), ask("Bearer x").error().describe()) << row.why;
    EXPECT_EQ(result.error().code, ErrorCode::kUnauthenticated) << row.why;
  }
}

TEST_F(IdentityTest, RecordsTheUseOfAKeyOnceAMinute) {
  EXPECT_FALSE(stored().lastUsedAt);
  ASSERT_TRUE(ask(bearer(first_.key)));
  const auto first = stored().lastUsedAt;
  EXPECT_EQ(first, clock_.wallNow());
  clock_.advance(Millis(59'999));
  ASSERT_TRUE(ask(bearer(first_.key)));
  EXPECT_EQ(stored().lastUsedAt, first);
  clock_.advance(Millis(1));
  ASSERT_TRUE(ask(bearer(first_.key)));
  EXPECT_EQ(stored().lastUsedAt, clock_.wallNow());
}

TEST_F(IdentityTest, NeverMakesAKeyAboveTheOneThatMakesIt) {
  const Actor admin = *ask(bearer(first_.key));
  const auto viewer = run(service_->createApiKey(admin, "looker", Role::kViewer)).value();
  EXPECT_EQ(ask(bearer(viewer.key))->role, Role::kViewer);
  Actor member = admin;
  member.role = Role::kMember;
  EXPECT_EQ(run(service_->createApiKey(member, "up", Role::kAdmin)).error().code, ErrorCode::kPermissionDenied);
}

TEST_F(IdentityTest, KeepsNoSecretInTheClear) {
  const Actor admin = *ask(bearer(first_.key));
  const auto created = run(service_->createToken(admin, {run(store_->getDefaultCluster(admin.tenantId))->id, "", 3, std::chrono::seconds(60)})).value();
  const auto token = run(service_->getToken(admin, created.record.id)).value();
  EXPECT_EQ(token.secretHash.size(), 32U);
  EXPECT_EQ(created.token.reveal().find(token.secretHash), std::string_view::npos);
  EXPECT_EQ(token.expiresAt, clock_.wallNow() + std::chrono::seconds(60));
}

TEST(TokenState, NamesTheLastThatHolds) {
  const WallTime now{std::chrono::hours(1)};
  TokenRecord token;
  token.expiresAt = now + Millis(1);
  EXPECT_EQ(tokenStateName(token, now), "active");
  token.uses = 1;
  EXPECT_EQ(tokenStateName(token, now), "exhausted");
  EXPECT_EQ(tokenStateName(token, now + Millis(1)), "expired");
  token.revokedAt = now;
  EXPECT_EQ(tokenStateName(token, now + Millis(1)), "revoked");
}

TEST_F(IdentityTest, RefusesTenantNamesThatAreNone) {
  EXPECT_EQ(run(service_->createTenant("No Name", "a")).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(run(service_->createTenant("fine", "")).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(run(service_->createTenant("acme", "a")).error().code, ErrorCode::kAlreadyExists);
}

}  // namespace
}  // namespace gs
