// The built-in CA: made once at `init`, it signs the agent listener's certificate and every host's.
//
// On disk in <directory>: `ca.key` (0600, P-256) and `ca.crt`, which may hold several certificates while one CA replaces
// another: the first belongs to the key and signs, all are trusted and handed to agents.
// Everything that is issued is dated back, because hosts' clocks may be an hour off. Blocking but quick (one signature);
// any thread. Immutable after load.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/secret.h"
#include "net/tls.h"

namespace gs {

struct CertificateAuthoritySettings {
  std::string directory;                                     // <data dir>/ca
  std::chrono::seconds clientLifetime = std::chrono::hours(24);
  std::chrono::seconds serverLifetime = std::chrono::hours(24 * 90);
};

struct IssuedCertificate {
  std::string pem;
  std::string serialHex;
  WallTime notAfter{};
};

class CertificateAuthority {
 public:
  // Makes key and certificate. kAlreadyExists when a certificate is there: a CA is never replaced by accident. One that
  // was half made (a key alone, after a crash) is made anew.
  [[nodiscard]] static Status create(const std::string& directory, const Clock& clock);
  // kNotFound with the fix when there is none; kDataLoss when a file is damaged or key and certificate do not fit.
  [[nodiscard]] static Result<std::unique_ptr<CertificateAuthority>> load(CertificateAuthoritySettings settings,
                                                                          const Clock& clock);
  ~CertificateAuthority();

  // Raw SHA-256 of the signing certificate's SubjectPublicKeyInfo: the last part of a provisioning token.
  [[nodiscard]] const std::string& pin() const { return pin_; }
  // All trusted CA certificates, the signing one first.
  [[nodiscard]] const std::string& anchorsPem() const { return anchorsPem_; }
  // Fresh key and certificate for the listener. `names` are DNS names or addresses.
  [[nodiscard]] Result<TlsServerSettings> issueServer(const std::vector<std::string>& names) const;
  // A client certificate with the host's id as common name, for the key in the request; its subject and extensions are
  // ignored. kInvalidArgument (reason csr_invalid): no P-256 request that is signed with its own key.
  [[nodiscard]] Result<IssuedCertificate> issueClient(const std::string& csrPem, const HostId& host) const;
  [[nodiscard]] std::chrono::seconds serverLifetime() const { return settings_.serverLifetime; }

 private:
  CertificateAuthority(CertificateAuthoritySettings settings, const Clock& clock);

  CertificateAuthoritySettings settings_;
  const Clock& clock_;
  std::string anchorsPem_;
  std::string signerPem_;
  SecretString keyPem_;
  std::string pin_;
};

}  // namespace gs
