#include "server/gateway/enrollment_service.h"

#include "base/encoding.h"
#include "base/log.h"
#include "server/identity/credentials.h"
#include "wire/messages.h"

namespace gs {
namespace {

constexpr std::size_t kPinChars = 43;  // base64url of 32 bytes
constexpr std::size_t kMaxHostName = 63;

Error malformed() {
  return makeError(ErrorCode::kUnauthenticated, "this is not a provisioning token")
      .withReason("token_malformed")
      .withFix("copy the whole token, from gsp_ to its end");
}

// The pin in the token must be ours: an agent never sends a token to a server with another key, so one that has another
// pin belongs to some other control plane.
Result<PresentedToken> parseToken(std::string_view text, const std::string& pin) {
  auto presented = parseProvisioningToken(text);
  if (!presented) return fail(malformed());
  const auto pinned = fromBase64Url(text.substr(text.size() - kPinChars));
  if (!pinned || text[text.size() - kPinChars - 1] != '_') return fail(malformed());
  if (!constantTimeEqual(*pinned, pin)) {
    return fail(makeError(ErrorCode::kUnauthenticated, "the provisioning token belongs to another control plane")
                    .withReason("token_unknown")
                    .withFix("make a new provisioning token on this server (gstacks token create)"));
  }
  return presented;
}

}  // namespace

EnrollmentService::EnrollmentService(Store& store, const CertificateAuthority& authority, const Clock& clock,
                                     EnrollmentSettings settings)
    : store_(store), authority_(authority), clock_(clock), settings_(settings) {}

namespace {

struct Admission {
  std::size_t& running;
  explicit Admission(std::size_t& r) : running(r) { ++running; }
  ~Admission() { --running; }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
};

std::unexpected<Error> tooMany() {
  return fail(makeError(ErrorCode::kUnavailable, "too many machines enroll or renew at this moment").withReason("try_again"));
}

}  // namespace

Task<Result<std::string>> EnrollmentService::enroll(std::string body) {
  if (running_ >= settings_.maxConcurrent) co_return tooMany();
  const Admission admission(running_);
  co_return co_await enrollAdmitted(std::move(body));
}

Task<Result<std::string>> EnrollmentService::renew(std::optional<PeerInfo::Certificate> certificate, std::string body) {
  if (running_ >= settings_.maxConcurrent) co_return tooMany();
  const Admission admission(running_);
  co_return co_await renewAdmitted(std::move(certificate), std::move(body));
}

Task<Result<std::string>> EnrollmentService::enrollAdmitted(std::string body) {
  GS_CO_TRY(auto request, decodeEnrollRequest(body));
  GS_CO_TRY(auto token, parseToken(request.token.reveal(), authority_.pin()));
  Store::Enrollment enrollment;
  enrollment.tokenId = std::move(token.id);
  enrollment.secretHash = std::move(token.hash);
  enrollment.hostId = HostId::make();
  enrollment.wantedName = (request.hostName.empty() ? request.facts.hostname : request.hostName).substr(0, kMaxHostName);
  enrollment.facts = std::move(request.facts);
  // Signed before the token is burnt: a request that cannot be signed must not cost a use.
  GS_CO_TRY(const auto issued, authority_.issueClient(request.csrPem, enrollment.hostId));
  enrollment.certificate = {issued.serialHex, enrollment.hostId, issued.notAfter, std::nullopt};
  enrollment.now = clock_.wallNow();
  const TokenId tokenId = enrollment.tokenId;
  auto host = co_await store_.enrollHost(std::move(enrollment));
  if (!host) {
    logWarn("enrollment_refused", {{"token", tokenId.text()}, {"reason", host.error().reason}});
    co_return fail(std::move(host).error());
  }
  logInfo("host_enrolled", {{"host", host->id.text()}, {"name", host->name}, {"token", tokenId.text()}});
  co_return encode(EnrollResponse{host->id, host->clusterId, host->name, issued.pem, authority_.anchorsPem()});
}

Task<Result<std::string>> EnrollmentService::renewAdmitted(std::optional<PeerInfo::Certificate> certificate,
                                                           std::string body) {
  if (!certificate) {
    co_return fail(makeError(ErrorCode::kUnauthenticated, "a renewal needs the host's certificate").withReason("certificate_required"));
  }
  const auto hostId = HostId::parse(certificate->commonName);
  if (!hostId) {
    co_return fail(makeError(ErrorCode::kUnauthenticated, "the certificate is not that of a host").withReason("certificate_unknown"));
  }
  if (clock_.wallNow() > certificate->notAfter + settings_.renewGrace) {
    co_return fail(makeError(ErrorCode::kUnauthenticated,
                             fmt::format("the certificate expired at {}, too long ago to be renewed", formatTime(certificate->notAfter)))
                       .withReason("certificate_expired")
                       .withFix("enroll the machine anew with a provisioning token"));
  }
  GS_CO_TRY(const auto request, decodeRenewRequest(body));
  GS_CO_TRY(const auto host, co_await store_.authenticateHost(*hostId, certificate->serialHex));
  GS_CO_TRY(const auto issued, authority_.issueClient(request.csrPem, host.id));
  GS_CO_CHECK(co_await store_.insertCertificate({issued.serialHex, host.id, issued.notAfter, std::nullopt}));
  logInfo("certificate_renewed", {{"host", host.id.text()}, {"not_after", formatTime(issued.notAfter)}});
  co_return encode(RenewResponse{issued.pem, authority_.anchorsPem()});
}

}  // namespace gs
