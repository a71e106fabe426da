#include "net/x509.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/pem.h>

#include "base/encoding.h"
#include "net/openssl.h"

namespace gs {
namespace {

constexpr auto kBackdate = std::chrono::hours(2);
constexpr auto kCaValidity = std::chrono::hours(24 * 3652);

std::unexpected<Error> failed(std::string_view what) {
  return fail(ErrorCode::kInternal, fmt::format("{} failed: {}", what, openSslReason()));
}

template <class Write>
Result<std::string> toPem(Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return failed("writing PEM");
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

Result<std::string> certificatePem(X509* certificate) {
  return toPem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

Status checkCommonName(std::string_view name) {
  const bool printable = std::ranges::all_of(name, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (name.empty() || name.size() > 64 || !printable) {
    return fail(ErrorCode::kInvalidArgument, "a common name must have 1 to 64 printable characters");
  }
  return {};
}

Status setCommonName(X509_NAME* name, std::string_view text) {
  GS_CHECK(checkCommonName(text));
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, bytes, static_cast<int>(text.size()), -1, 0) !=
      1) {
    return failed("setting the common name");
  }
  return {};
}

// Version, serial, key and times: what CA and leaf have in common.
Result<X509Ptr> newCertificate(EVP_PKEY* key, WallTime notBefore, WallTime notAfter) {
  X509Ptr certificate(X509_new());
  auto bytes = randomBytes(16);
  bytes[0] = static_cast<char>((bytes[0] & 0x3f) | 0x40);  // positive, and always 16 bytes long
  const std::unique_ptr<BIGNUM, OpenSslDeleter<BN_free>> serial(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
  const auto seconds = [](WallTime t) {
    return std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
  };
  auto* c = certificate.get();
  if (!certificate || !serial || X509_set_version(c, X509_VERSION_3) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(c)) == nullptr ||
      ASN1_TIME_set(X509_getm_notBefore(c), seconds(notBefore)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(c), seconds(notAfter)) == nullptr || X509_set_pubkey(c, key) != 1) {
    return failed("making a certificate");
  }
  return certificate;
}

// `value` is always a constant of this file: OpenSSL's configuration syntax must never see foreign text.
Status addExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  if (!added) return failed("adding an extension");
  return {};
}

bool isDnsName(std::string_view name) {
  return !name.empty() && name.size() <= 253 &&
         std::ranges::all_of(name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.'; });
}

Status addAltNames(X509* certificate, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  const std::unique_ptr<GENERAL_NAMES, OpenSslDeleter<GENERAL_NAMES_free>> all(GENERAL_NAMES_new());
  for (const auto& name : names) {
    unsigned char address[16];
    const int addressSize = ::inet_pton(AF_INET, name.c_str(), address) == 1    ? 4
                            : ::inet_pton(AF_INET6, name.c_str(), address) == 1 ? 16
                                                                                : 0;
    if (addressSize == 0 && !isDnsName(name)) {
      return fail(ErrorCode::kInvalidArgument, "not a DNS name or IP address: " + escapeForLog(name));
    }
    GENERAL_NAME* item = GENERAL_NAME_new();
    ASN1_STRING* value = addressSize > 0 ? static_cast<ASN1_STRING*>(ASN1_OCTET_STRING_new()) : ASN1_IA5STRING_new();
    if (addressSize > 0) {
      ASN1_STRING_set(value, address, addressSize);
    } else {
      ASN1_STRING_set(value, name.data(), static_cast<int>(name.size()));
    }
    GENERAL_NAME_set0_value(item, addressSize > 0 ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(all.get(), item) == 0) {
      GENERAL_NAME_free(item);
      return failed("adding a name");
    }
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, all.get(), 0, 0) != 1) return failed("adding names");
  return {};
}

Status sign(X509* certificate, EVP_PKEY* key) {
  if (X509_sign(certificate, key, EVP_sha256()) == 0) return failed("signing a certificate");
  return {};
}

Result<PkeyPtr> keyOfRequest(std::string_view csrPem) {
  const BioPtr bio(BIO_new_mem_buf(csrPem.data(), static_cast<int>(csrPem.size())));
  const X509ReqPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (!request) return fail(ErrorCode::kInvalidArgument, "this is not a certificate request: " + openSslReason());
  PkeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (!isP256(key.get())) {
    (void)openSslReason();
    return fail(ErrorCode::kInvalidArgument, "the request's key is not a P-256 key");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    (void)openSslReason();
    return fail(ErrorCode::kInvalidArgument, "the request does not prove possession of its key");
  }
  return key;
}

}  // namespace

Result<SecretString> generatePrivateKeyPem() {
  const PkeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return failed("making a key");
  GS_TRY(auto pem, toPem([&](BIO* bio) {
           return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
         }));
  return SecretString(std::move(pem));
}

Result<std::string> makeCaCertificatePem(const SecretString& keyPem, std::string_view commonName, WallTime now) {
  GS_TRY(const auto key, readPrivateKey(keyPem));
  GS_TRY(const auto certificate, newCertificate(key.get(), now - kBackdate, now + kCaValidity));
  auto* c = certificate.get();
  GS_CHECK(setCommonName(X509_get_subject_name(c), commonName));
  if (X509_set_issuer_name(c, X509_get_subject_name(c)) != 1) return failed("setting the issuer");
  GS_CHECK(addExtension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  GS_CHECK(addExtension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign"));
  GS_CHECK(addExtension(c, c, NID_subject_key_identifier, "hash"));
  GS_CHECK(sign(c, key.get()));
  return certificatePem(c);
}

Result<std::string> makeCsrPem(const SecretString& keyPem, std::string_view commonName) {
  GS_TRY(const auto key, readPrivateKey(keyPem));
  const X509ReqPtr request(X509_REQ_new());
  GS_CHECK(setCommonName(X509_REQ_get_subject_name(request.get()), commonName));
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0) {
    return failed("making a certificate request");
  }
  return toPem([&](BIO* bio) { return PEM_write_bio_X509_REQ(bio, request.get()); });
}

Result<SignedCertificate> signCertificate(std::string_view caCertificatePem, const SecretString& caKeyPem,
                                          const CertificateOrder& order) {
  GS_TRY(const auto authorities, readCertificates(caCertificatePem));
  GS_TRY(const auto caKey, readPrivateKey(caKeyPem));
  auto* ca = authorities.front().get();
  if (X509_check_private_key(ca, caKey.get()) != 1) {
    (void)openSslReason();
    return fail(ErrorCode::kInvalidArgument, "the CA's key does not belong to its certificate");
  }
  GS_TRY(const auto caInfo, describeCertificate(ca));
  GS_TRY(const auto key, keyOfRequest(order.csrPem));
  const auto end = std::min<WallTime>(order.now + order.validity, caInfo.notAfter);
  GS_TRY(const auto certificate, newCertificate(key.get(), order.now - kBackdate, end));
  auto* c = certificate.get();
  GS_CHECK(setCommonName(X509_get_subject_name(c), order.commonName));
  if (X509_set_issuer_name(c, X509_get_subject_name(ca)) != 1) return failed("setting the issuer");
  GS_CHECK(addExtension(c, ca, NID_basic_constraints, "critical,CA:FALSE"));
  GS_CHECK(addExtension(c, ca, NID_key_usage, "critical,digitalSignature"));
  GS_CHECK(
      addExtension(c, ca, NID_ext_key_usage, order.use == CertificateUse::kTlsServer ? "serverAuth" : "clientAuth"));
  GS_CHECK(addExtension(c, ca, NID_subject_key_identifier, "hash"));
  GS_CHECK(addExtension(c, ca, NID_authority_key_identifier, "keyid:always"));
  GS_CHECK(addAltNames(c, order.subjectAltNames));
  GS_CHECK(sign(c, caKey.get()));
  SignedCertificate out;
  GS_TRY(out.pem, certificatePem(c));
  GS_TRY(out.info, describeCertificate(c));
  return out;
}

Result<PeerInfo::Certificate> parseCertificate(std::string_view pem) {
  GS_TRY(const auto certificates, readCertificates(pem));
  return describeCertificate(certificates.front().get());
}

}  // namespace gs
