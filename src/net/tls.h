// TLS settings as plain values, and the contexts made from them. TLS 1.3 only: both ends are ours.
//
// Contexts are shared between connections and may be replaced while connections live (certificate renewal).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"

namespace gs {

// What is known of the other side of a connection.
struct PeerInfo {
  std::string address;  // "127.0.0.1:4711", or "unix"
  // Set when the peer proved a certificate that chains to the configured CA. Time validity is NOT enforced by the
  // TLS layer of a server: an expired certificate is reported here and the application decides (grace renewal).
  struct Certificate {
    std::string commonName;
    std::string serialHex;
    WallTime notBefore;
    WallTime notAfter;
    std::string spkiSha256;  // raw 32 bytes
  };
  std::optional<Certificate> certificate;
};

struct TlsServerSettings {
  std::string certificateChainPem;  // leaf first, then the CA, so that a client can find the pinned key
  SecretString privateKeyPem;
  std::string clientCaPem;  // a client certificate is asked for, not required; one from another CA fails the handshake
};

struct TlsClientSettings {
  // Exactly one of the two trust anchors: CA certificates in PEM (several may overlap), or the raw SHA-256 of the CA's
  // SubjectPublicKeyInfo, found in the chain that the server sends (enrollment, RFC 7469 pin form).
  std::string caPem;
  std::string caSpkiSha256;
  std::string certificatePem;  // optional client certificate
  SecretString privateKeyPem;
};

class TlsServerContext;
class TlsClientContext;

// kInvalidArgument when a PEM text cannot be used, with the reason.
[[nodiscard]] Result<std::shared_ptr<TlsServerContext>> makeTlsServerContext(const TlsServerSettings& settings);
[[nodiscard]] Result<std::shared_ptr<TlsClientContext>> makeTlsClientContext(const TlsClientSettings& settings);

}  // namespace gs
