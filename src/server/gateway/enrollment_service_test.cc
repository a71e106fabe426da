#include "server/gateway/enrollment_service.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "server/gateway/gateway_fixture.h"

namespace gs {
namespace {

class EnrollmentTest : public GatewayTest {
 protected:
  Task<Result<std::string>> renew(const TestIdentity& identity) {
    const auto csr = makeCsrPem(generatePrivateKeyPem().value(), "x").value();
    co_return co_await post(clientOf(identity), "/agent/v1/renew", encode(RenewRequest{csr}));
  }
};

TEST_F(EnrollmentTest, LetsAMachineInOnceWithASingleUseToken) {
  const auto token = newToken();
  withGateway([&]() -> Task<void> {
    const auto first = co_await enroll(token);
    EXPECT_TRUE(first.has_value()) << first.error().describe();
    if (!first) co_return;
    const auto certificate = parseCertificate(first->certificate).value();
    EXPECT_EQ(certificate.commonName, first->host.text());
    EXPECT_LE(certificate.notAfter, real_.wallNow() + std::chrono::hours(24));
    EXPECT_TRUE(co_await store_->authenticateHost(first->host, certificate.serialHex));
    const auto second = co_await enroll(token);
    EXPECT_EQ(second.error().reason, "token_exhausted");
    EXPECT_EQ(second.error().code, ErrorCode::kUnauthenticated);
  });
}

TEST_F(EnrollmentTest, MakesExactlyOneHostOfManyConcurrentAttempts) {
  const auto token = newToken();
  withGateway([&]() -> Task<void> {
    TaskGroup group(loop_.get_executor());
    int enrolled = 0;
    int refused = 0;
    const auto attempt = [&](SecretString t) -> Task<void> {
      const auto result = co_await enroll(std::move(t));
      ++(result ? enrolled : refused);
    };
    for (int i = 0; i < 40; ++i) group.spawn("enroll", attempt(token));
    co_await group.join();
    EXPECT_EQ(enrolled, 1);
    EXPECT_EQ(refused, 39);
    EXPECT_EQ((co_await store_->listHosts(acme_.tenantId, std::nullopt, {}))->items.size(), 1U);
  });
}

TEST_F(EnrollmentTest, TellsWhyATokenIsRefused) {
  const auto good = newToken(5);
  const std::string text(good.reveal());
  std::string otherPin = text;
  otherPin.replace(otherPin.size() - 43, 43, toBase64Url(std::string(32, 'p')));
  std::string otherSecret = text;
  otherSecret.replace(25, 43, toBase64Url(std::string(32, 's')));
  withGateway([&]() -> Task<void> {
    EXPECT_EQ((co_await enroll(SecretString("gsp_nonsense"))).error().reason, "token_malformed");
    EXPECT_EQ((co_await enroll(SecretString(text + "x"))).error().reason, "token_malformed");
    EXPECT_EQ((co_await enroll(SecretString(otherPin))).error().reason, "token_unknown");
    EXPECT_EQ((co_await enroll(SecretString(otherSecret))).error().reason, "token_unknown");
    const auto badCsr = co_await enroll(good, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    EXPECT_EQ(badCsr.error().reason, "csr_invalid");
    EXPECT_EQ(badCsr.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ((co_await store_->listTokens(acme_.tenantId, {}))->items.at(0).uses, 0);
    real_.advance(std::chrono::hours(2));
    EXPECT_EQ((co_await enroll(good)).error().reason, "token_expired");
  });
}

TEST_F(EnrollmentTest, RefusesAServerWithAnotherCaThanThePin) {
  withGateway([&]() -> Task<void> {
    const auto result = co_await post(client({"", std::string(32, 'z'), "", {}}), "/agent/v1/enroll", "x");
    EXPECT_EQ(result.error().reason, "tls_pin_mismatch");
  });
}

TEST_F(EnrollmentTest, RefusesBodiesThatAreTooLargeOrGarbage) {
  withGateway([&]() -> Task<void> {
    const TlsClientSettings pinned{"", authority_->pin(), "", {}};
    EXPECT_EQ((co_await post(client(pinned), "/agent/v1/enroll", "\xff\xff garbage")).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ((co_await post(client(pinned), "/agent/v1/enroll", std::string(300 * 1024, 'x'))).error().code, ErrorCode::kResourceExhausted);
    EXPECT_EQ((co_await post(client(pinned), "/agent/v1/renew", "")).error().reason, "certificate_required");
  });
}

TEST_F(EnrollmentTest, RenewsAnExpiredCertificateWithinTheGraceAndNothingElse) {
  const auto token = newToken();
  withGateway([&]() -> Task<void> {
    const auto enrolled = co_await enroll(token);
    EXPECT_TRUE(enrolled.has_value());
    if (!enrolled) co_return;
    const auto& identity = *enrolled;
    EXPECT_TRUE((co_await renew(identity)).has_value());
    real_.advance(std::chrono::hours(24 * 20));
    const auto link = co_await dial(identity);
    EXPECT_EQ(link.error().code, ErrorCode::kUnauthenticated);
    EXPECT_NE(link.error().message.find("certificate_expired"), std::string::npos) << link.error().message;
    EXPECT_TRUE((co_await renew(identity)).has_value());
    real_.advance(std::chrono::hours(24 * 12));
    EXPECT_EQ((co_await renew(identity)).error().reason, "certificate_expired");
  });
}

TEST_F(EnrollmentTest, RefusesToRenewForARemovedHost) {
  const auto token = newToken();
  withGateway([&]() -> Task<void> {
    const auto identity = co_await enroll(token);
    EXPECT_TRUE(identity.has_value());
    if (!identity) co_return;
    EXPECT_TRUE((co_await store_->removeHost(acme_, identity->host, Store::RemoveHost::kOnlyWhenEmpty)).has_value());
    EXPECT_EQ((co_await renew(*identity)).error().code, ErrorCode::kPermissionDenied);
  });
}

TEST_F(EnrollmentTest, ShedsLoadPastItsLimit) {
  enrollmentSettings_.maxConcurrent = 0;
  const auto token = newToken();
  withGateway([&]() -> Task<void> { EXPECT_EQ((co_await enroll(token)).error().code, ErrorCode::kUnavailable); });
}

TEST_F(EnrollmentTest, NeverReplacesACa) {
  EXPECT_EQ(CertificateAuthority::create(root_ + "/ca", real_).error().code, ErrorCode::kAlreadyExists);
  const auto again = CertificateAuthority::load({root_ + "/ca"}, real_).value();
  EXPECT_EQ(again->pin(), authority_->pin());
  EXPECT_EQ(std::filesystem::status(root_ + "/ca/ca.key").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(CertificateAuthority::load({root_ + "/none"}, real_).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gs
