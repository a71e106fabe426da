#include "wire/convert.h"

namespace gs {
namespace pb = wire::pb;

namespace {
// A chain of a few P-256 certificates is about 1 KiB each.
constexpr std::size_t kMostPem = 64 * 1024;
}  // namespace

std::string encode(const EnrollRequest& message) {
  pb::EnrollRequest out;
  out.set_token(std::string(message.token.reveal()));
  out.set_csr_pem(message.csrPem);
  out.set_host_name(message.hostName);
  wire::write(message.facts, out.mutable_facts());
  return out.SerializeAsString();
}

Result<EnrollRequest> decodeEnrollRequest(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::EnrollRequest>(bytes, "EnrollRequest"));
  GS_CHECK(wire::checkLength("token", in.token().size(), 256));
  GS_CHECK(wire::checkLength("csr_pem", in.csr_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("host_name", in.host_name().size(), 63));
  GS_TRY(auto facts, wire::read(in.facts()));
  return EnrollRequest{SecretString(in.token()), in.csr_pem(), in.host_name(), std::move(facts)};
}

std::string encode(const EnrollResponse& message) {
  pb::EnrollResponse out;
  out.set_host_id(message.hostId.text());
  out.set_cluster_id(message.clusterId.text());
  out.set_host_name(message.hostName);
  out.set_certificate_pem(message.certificatePem);
  out.set_ca_pem(message.caPem);
  return out.SerializeAsString();
}

Result<EnrollResponse> decodeEnrollResponse(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::EnrollResponse>(bytes, "EnrollResponse"));
  EnrollResponse out;
  GS_TRY(out.hostId, HostId::parse(in.host_id()));
  GS_TRY(out.clusterId, ClusterId::parse(in.cluster_id()));
  GS_CHECK(wire::checkLength("certificate_pem", in.certificate_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("ca_pem", in.ca_pem().size(), kMostPem));
  out.hostName = in.host_name();
  out.certificatePem = in.certificate_pem();
  out.caPem = in.ca_pem();
  return out;
}

std::string encode(const RenewRequest& message) {
  pb::RenewRequest out;
  out.set_csr_pem(message.csrPem);
  return out.SerializeAsString();
}

Result<RenewRequest> decodeRenewRequest(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::RenewRequest>(bytes, "RenewRequest"));
  GS_CHECK(wire::checkLength("csr_pem", in.csr_pem().size(), kMostPem));
  return RenewRequest{in.csr_pem()};
}

std::string encode(const RenewResponse& message) {
  pb::RenewResponse out;
  out.set_certificate_pem(message.certificatePem);
  out.set_ca_pem(message.caPem);
  return out.SerializeAsString();
}

Result<RenewResponse> decodeRenewResponse(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::RenewResponse>(bytes, "RenewResponse"));
  GS_CHECK(wire::checkLength("certificate_pem", in.certificate_pem().size(), kMostPem));
  GS_CHECK(wire::checkLength("ca_pem", in.ca_pem().size(), kMostPem));
  return RenewResponse{in.certificate_pem(), in.ca_pem()};
}

}  // namespace gs
