#include "agent/link/enrollment.h"

#include "base/encoding.h"
#include "net/x509.h"

namespace gs {
namespace {

constexpr Millis kCallTime{30'000};
// Certificates begin this long before they were issued (see net/x509.h).
constexpr Millis kBackdate = std::chrono::hours(2);

Error answerError(const HttpClientResponse& response, std::string_view what) {
  if (auto status = decodeStatus(response.body); status && !status->message.empty()) return std::move(*status);
  return makeError(ErrorCode::kUnavailable, fmt::format("the server answered {} to {}", response.status, what));
}

Task<Result<std::string>> post(Executor executor, HttpEndpoint endpoint, std::string target, std::string body) {
  const auto client = makeHttpClient(executor, std::move(endpoint), 0);
  HttpClientRequest request;
  request.method = "POST";
  request.target = target;
  request.headers.set("Content-Type", "application/x-protobuf");
  request.body = std::move(body);
  GS_CO_TRY(auto response, co_await client->send(std::move(request), Deadline::after(kCallTime), 256 * 1024));
  if (response.status != 200) co_return fail(answerError(response, target));
  co_return std::move(response.body);
}

}  // namespace

Result<ProvisioningToken> parseProvisioningToken(std::string_view text) {
  const auto malformed = [] {
    return fail(makeError(ErrorCode::kInvalidArgument, "this is not a provisioning token")
                    .withReason("token_malformed")
                    .withFix("it looks like gsp_<id>_<secret>_<pin>; create one with: gstacks token create"));
  };
  constexpr std::size_t kPrefix = 4;
  constexpr std::size_t kSecret = 43;
  // Split by position, because the base64url alphabet contains the underscore.
  if (text.size() != kPrefix + kIdChars + 1 + kSecret + 1 + kSecret || !text.starts_with("gsp_")) return malformed();
  if (text[kPrefix + kIdChars] != '_' || text[kPrefix + kIdChars + 1 + kSecret] != '_') return malformed();
  auto pin = fromBase64Url(text.substr(text.size() - kSecret));
  if (!pin || pin->size() != 32) return malformed();
  return ProvisioningToken{SecretString(std::string(text)), std::move(*pin)};
}

Task<Result<HostIdentity>> enrollHost(Executor executor, std::string serverUrl, ProvisioningToken token,
                                      std::string hostName, HostFacts facts) {
  GS_CO_TRY(auto endpoint, HttpEndpoint::parse(serverUrl));
  TlsClientSettings settings;
  settings.caSpkiSha256 = token.caSpkiSha256;
  GS_CO_TRY(endpoint.tls, makeTlsClientContext(settings));
  HostIdentity identity;
  identity.serverUrl = serverUrl;
  GS_CO_TRY(identity.keyPem, generatePrivateKeyPem());
  EnrollRequest request;
  request.token = token.text;
  GS_CO_TRY(request.csrPem, makeCsrPem(identity.keyPem, "gstacks-agent"));
  request.hostName = hostName.substr(0, 63);
  request.facts = std::move(facts);
  GS_CO_TRY(const auto body, co_await post(executor, std::move(endpoint), "/agent/v1/enroll", encode(request)));
  GS_CO_TRY(auto response, decodeEnrollResponse(body));
  identity.hostId = response.hostId;
  identity.clusterId = response.clusterId;
  identity.hostName = response.hostName;
  identity.certificatePem = response.certificatePem;
  identity.caPem = response.caPem;
  co_return identity;
}

Task<Result<HostIdentity>> renewIdentity(Executor executor, HostIdentity identity) {
  GS_CO_TRY(auto endpoint, endpointOf(identity));
  GS_CO_TRY(auto key, generatePrivateKeyPem());
  RenewRequest request;
  GS_CO_TRY(request.csrPem, makeCsrPem(key, identity.hostId.text()));
  GS_CO_TRY(const auto body, co_await post(executor, std::move(endpoint), "/agent/v1/renew", encode(request)));
  GS_CO_TRY(auto response, decodeRenewResponse(body));
  identity.keyPem = std::move(key);
  identity.certificatePem = response.certificatePem;
  if (!response.caPem.empty()) identity.caPem = response.caPem;
  co_return identity;
}

Result<WallTime> renewalTime(const HostIdentity& identity) {
  GS_TRY(const auto certificate, parseCertificate(identity.certificatePem));
  const auto life = certificate.notAfter - certificate.notBefore - kBackdate;
  return certificate.notAfter - std::max<Millis>(life, Millis(0)) / 3;
}

}  // namespace gs
