// Keys, certificate requests and certificates of the built-in CA: what the server signs and the agent asks for.
//
// P-256 keys and ECDSA-SHA256 only: one curve that is fast everywhere, and nothing to negotiate. Pure but for the
// random generator; nothing is stored here. Signing takes about 0.1 ms: fine on the loop thread.
// Certificates begin two hours before `now`, so that a host whose clock is slow can use its certificate at once.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "net/tls.h"

namespace gs {

// A new P-256 key, PKCS #8 in PEM.
[[nodiscard]] Result<SecretString> generatePrivateKeyPem();

// A self-signed CA for ten years; it may sign leaves only (path length 0). The common name should tell one CA from
// another: two with one name and different keys confuse chain building.
[[nodiscard]] Result<std::string> makeCaCertificatePem(const SecretString& keyPem, std::string_view commonName,
                                                       WallTime now);

// A request (PKCS #10) that proves possession of the key. The signer decides about everything else in the certificate.
[[nodiscard]] Result<std::string> makeCsrPem(const SecretString& keyPem, std::string_view commonName);

enum class CertificateUse : std::uint8_t { kTlsServer, kTlsClient };

struct CertificateOrder {
  std::string csrPem;      // gives the public key; its subject and extensions are ignored
  std::string commonName;  // 1 to 64 printable ASCII characters
  CertificateUse use = CertificateUse::kTlsClient;
  std::vector<std::string> subjectAltNames;  // DNS names and IP addresses, told apart by their form
  WallTime now;
  std::chrono::seconds validity{};  // from now; cut at the CA's own end
};

struct SignedCertificate {
  std::string pem;  // the leaf alone
  PeerInfo::Certificate info;
};

// Every certificate gets a random serial of 128 bits, so a repeat makes another certificate. kInvalidArgument: the
// request is no CSR, its signature does not prove possession, its key is not P-256, or a name cannot be used.
[[nodiscard]] Result<SignedCertificate> signCertificate(std::string_view caCertificatePem, const SecretString& caKeyPem,
                                                        const CertificateOrder& order);

// The first certificate in the text.
[[nodiscard]] Result<PeerInfo::Certificate> parseCertificate(std::string_view pem);

}  // namespace gs
