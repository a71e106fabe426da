// Owning pointers and error texts for OpenSSL. Internal to src/net.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/result.h"
#include "base/secret.h"
#include "net/tls.h"

namespace gs {

template <auto Free>
struct OpenSslDeleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using BioPtr = std::unique_ptr<BIO, OpenSslDeleter<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, OpenSslDeleter<X509_free>>;
using X509ReqPtr = std::unique_ptr<X509_REQ, OpenSslDeleter<X509_REQ_free>>;
using X509StorePtr = std::unique_ptr<X509_STORE, OpenSslDeleter<X509_STORE_free>>;
using X509StoreCtxPtr = std::unique_ptr<X509_STORE_CTX, OpenSslDeleter<X509_STORE_CTX_free>>;
using PkeyPtr = std::unique_ptr<EVP_PKEY, OpenSslDeleter<EVP_PKEY_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, OpenSslDeleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, OpenSslDeleter<SSL_free>>;

// The oldest error in OpenSSL's queue as text; empties the queue.
[[nodiscard]] std::string openSslReason();

// kInvalidArgument when there is not at least one.
[[nodiscard]] Result<std::vector<X509Ptr>> readCertificates(std::string_view pem);
// Only P-256; never asks for a passphrase.
[[nodiscard]] Result<PkeyPtr> readPrivateKey(const SecretString& pem);
[[nodiscard]] bool isP256(EVP_PKEY* key);
// SHA-256 of the SubjectPublicKeyInfo, raw 32 bytes.
[[nodiscard]] std::string spkiSha256(X509* certificate);
[[nodiscard]] Result<PeerInfo::Certificate> describeCertificate(X509* certificate);

}  // namespace gs
