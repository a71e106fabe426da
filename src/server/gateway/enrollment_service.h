// Lets machines in, and keeps those in that are: POST /agent/v1/enroll and /agent/v1/renew (enrollment.proto).
//
// Works on message bytes; the listener does the HTTP. Loop thread only; store and authority must outlive it. Restart: a
// host that enrolled is in the store before it hears of it. Limits: 64 requests at once, further ones are told to come back.
#pragma once

#include <string>

#include "net/tls.h"
#include "server/gateway/certificate_authority.h"
#include "server/store/store.h"

namespace gs {

struct EnrollmentSettings {
  std::chrono::seconds renewGrace = std::chrono::hours(24 * 30);
  std::size_t maxConcurrent = 64;
};

class EnrollmentService {
 public:
  EnrollmentService(Store& store, const CertificateAuthority& authority, const Clock& clock,
                    EnrollmentSettings settings = {});

  // EnrollRequest → EnrollResponse. Not idempotent. Errors as enrollment.proto lists them.
  [[nodiscard]] Task<Result<std::string>> enroll(std::string body);
  // RenewRequest → RenewResponse, for the host that the certificate names. Safe to repeat: each call gives one more
  // certificate. kUnauthenticated: none or an unknown certificate, or (certificate_expired) one older than the grace;
  // kPermissionDenied (host_revoked).
  [[nodiscard]] Task<Result<std::string>> renew(std::optional<PeerInfo::Certificate> certificate, std::string body);

 private:
  [[nodiscard]] Task<Result<std::string>> enrollAdmitted(std::string body);
  [[nodiscard]] Task<Result<std::string>> renewAdmitted(std::optional<PeerInfo::Certificate> certificate, std::string body);

  Store& store_;
  const CertificateAuthority& authority_;
  const Clock& clock_;
  EnrollmentSettings settings_;
  std::size_t running_ = 0;
};

}  // namespace gs
