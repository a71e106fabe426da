#include "net/x509.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "base/encoding.h"
#include "net/openssl.h"

namespace gs {
namespace {

struct Authority {
  SecretString key = generatePrivateKeyPem().value();
  std::string certificate = makeCaCertificatePem(key, "gstacks test CA", SystemClock().wallNow()).value();
};

CertificateOrder order(const std::string& csr) {
  return {.csrPem = csr,
          .commonName = "hst_1",
          .use = CertificateUse::kTlsClient,
          .subjectAltNames = {},
          .now = parseTime("2026-01-02T03:04:05.000Z").value(),
          .validity = std::chrono::hours(24)};
}

std::string textOf(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string keyPem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return textOf(bio.get());
}

std::string csrPem(EVP_PKEY* key) {
  const X509ReqPtr request(X509_REQ_new());
  X509_REQ_set_pubkey(request.get(), key);
  X509_REQ_sign(request.get(), key, EVP_sha256());
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return textOf(bio.get());
}

TEST(X509, SignsWhatWasOrderedAndIgnoresTheRequestsSubject) {
  const Authority ca;
  const auto key = generatePrivateKeyPem().value();
  const auto made = signCertificate(ca.certificate, ca.key, order(makeCsrPem(key, "admin").value())).value();
  EXPECT_EQ(made.info.commonName, "hst_1");
  EXPECT_EQ(formatTime(made.info.notBefore), "2026-01-02T01:04:05.000Z") << "two hours back";
  EXPECT_EQ(formatTime(made.info.notAfter), "2026-01-03T03:04:05.000Z");
  EXPECT_EQ(made.info.serialHex.size(), 32U) << made.info.serialHex;
  const auto parsed = parseCertificate(made.pem).value();
  EXPECT_EQ(parsed.serialHex, made.info.serialHex);
  EXPECT_EQ(parsed.spkiSha256.size(), 32U);
  EXPECT_NE(parsed.spkiSha256, parseCertificate(ca.certificate).value().spkiSha256);
  const auto again = signCertificate(ca.certificate, ca.key, order(makeCsrPem(key, "admin").value())).value();
  EXPECT_NE(again.info.serialHex, made.info.serialHex);
  EXPECT_EQ(again.info.spkiSha256, made.info.spkiSha256);
}

TEST(X509, RefusesARequestWithoutProofOfPossession) {
  const Authority ca;
  auto csr = makeCsrPem(generatePrivateKeyPem().value(), "x").value();
  // One bit of the signature: the last bytes of the DER.
  const auto begin = csr.find('\n') + 1;
  const auto end = csr.find("\n-----END");
  std::string body = csr.substr(begin, end - begin);
  std::erase(body, '\n');
  auto der = fromBase64(body).value();
  der.back() = static_cast<char>(der.back() ^ 1);
  csr = "-----BEGIN CERTIFICATE REQUEST-----\n" + toBase64(der) + "\n-----END CERTIFICATE REQUEST-----\n";
  const auto refused = signCertificate(ca.certificate, ca.key, order(csr));
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(refused.error().message.contains("possession")) << refused.error().message;
}

TEST(X509, RefusesOtherKeysAndNames) {
  const Authority ca;
  const Authority other;
  const auto csr = makeCsrPem(generatePrivateKeyPem().value(), "x").value();
  for (const PkeyPtr& key : {PkeyPtr(EVP_EC_gen("P-384")), PkeyPtr(EVP_RSA_gen(2048))}) {
    EXPECT_EQ(makeCsrPem(SecretString(keyPem(key.get())), "x").error().code, ErrorCode::kInvalidArgument);
    const auto refused = signCertificate(ca.certificate, ca.key, order(csrPem(key.get())));
    EXPECT_TRUE(refused.error().message.contains("P-256")) << refused.error().message;
  }
  EXPECT_EQ(makeCsrPem(SecretString("nonsense"), "x").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(signCertificate(ca.certificate, other.key, order(csr)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(signCertificate("", ca.key, order(csr)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(signCertificate(ca.certificate, ca.key, order("garbage")).error().code, ErrorCode::kInvalidArgument);
  for (const std::string name : {"", "a\nb", "\x80"}) {
    auto bad = order(csr);
    bad.commonName = name;
    EXPECT_EQ(signCertificate(ca.certificate, ca.key, bad).error().code, ErrorCode::kInvalidArgument) << name;
  }
  auto bad = order(csr);
  bad.subjectAltNames = {"host,DNS:evil"};
  EXPECT_EQ(signCertificate(ca.certificate, ca.key, bad).error().code, ErrorCode::kInvalidArgument);
}

TEST(X509, ParsesOnlyCertificates) {
  for (const auto* text : {"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}) {
    EXPECT_EQ(parseCertificate(text).error().code, ErrorCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace gs
