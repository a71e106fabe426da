#include "net/openssl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <ctime>

#include "base/digest.h"

namespace gs {
namespace {

// Without one, OpenSSL would ask for a passphrase on the terminal.
int noPassphrase(char*, int, int, void*) {
  return 0;
}

BioPtr view(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Result<WallTime> toWallTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return fail(ErrorCode::kInvalidArgument, "the certificate has a broken time");
  return WallTime(std::chrono::seconds(::timegm(&parts)));
}

Result<std::string> commonNameOf(const X509_NAME* name) {
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return std::string();
  if (X509_NAME_get_index_by_NID(name, NID_commonName, index) >= 0) {
    return fail(ErrorCode::kInvalidArgument, "the certificate has two common names");
  }
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (size < 0) return fail(ErrorCode::kInvalidArgument, "the certificate has a broken common name");
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  if (text.contains('\0')) return fail(ErrorCode::kInvalidArgument, "the certificate has a NUL in its common name");
  return text;
}

}  // namespace

std::string openSslReason() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:x}", code);
}

Result<std::vector<X509Ptr>> readCertificates(std::string_view pem) {
  const auto bio = view(pem);
  std::vector<X509Ptr> out;
  while (X509Ptr certificate{PEM_read_bio_X509(bio.get(), nullptr, noPassphrase, nullptr)})
    out.push_back(std::move(certificate));
  // The end of the text is reported as "no start line"; anything else is a certificate that could not be read.
  const auto code = ERR_peek_last_error();
  const bool ended = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  const auto reason = openSslReason();
  if (!ended) return fail(ErrorCode::kInvalidArgument, "a certificate cannot be read: " + reason);
  if (out.empty()) return fail(ErrorCode::kInvalidArgument, "there is no PEM certificate in the text");
  return out;
}

bool isP256(EVP_PKEY* key) {
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) return false;
  char group[32] = {};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1 &&
         std::string_view(group, size) == SN_X9_62_prime256v1;
}

Result<PkeyPtr> readPrivateKey(const SecretString& pem) {
  const auto bio = view(pem.reveal());
  PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, noPassphrase, nullptr));
  if (!key) return fail(ErrorCode::kInvalidArgument, "the private key cannot be read: " + openSslReason());
  if (!isP256(key.get())) return fail(ErrorCode::kInvalidArgument, "the private key is not a P-256 key");
  return key;
}

std::string spkiSha256(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return {};
  auto hash = Digest::of(std::string_view(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size))).raw();
  OPENSSL_free(der);
  return hash;
}

Result<PeerInfo::Certificate> describeCertificate(X509* certificate) {
  PeerInfo::Certificate out;
  GS_TRY(out.commonName, commonNameOf(X509_get_subject_name(certificate)));
  GS_TRY(out.notBefore, toWallTime(X509_get0_notBefore(certificate)));
  GS_TRY(out.notAfter, toWallTime(X509_get0_notAfter(certificate)));
  const std::unique_ptr<BIGNUM, OpenSslDeleter<BN_free>> serial(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (!serial) return fail(ErrorCode::kInvalidArgument, "the certificate has a broken serial number");
  char* hex = BN_bn2hex(serial.get());
  for (const char* c = hex; *c != '\0'; ++c)
    out.serialHex += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  OPENSSL_free(hex);
  out.spkiSha256 = spkiSha256(certificate);
  return out;
}

}  // namespace gs
