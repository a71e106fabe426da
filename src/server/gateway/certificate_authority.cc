#include "server/gateway/certificate_authority.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encoding.h"
#include "net/x509.h"

namespace gs {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::string_view kCertificateEnd = "-----END CERTIFICATE-----\n";

std::string keyPath(const std::string& directory) { return directory + "/ca.key"; }
std::string certificatePath(const std::string& directory) { return directory + "/ca.crt"; }

// Whole or not at all, also after a power loss.
Status writeFile(const std::string& directory, const std::string& path, std::string_view text, mode_t mode) {
  const std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return fail(errnoError(errno, "create " + temporary));
  bool good = true;
  while (good && !text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    good = n >= 0 || errno == EINTR;
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
  }
  good = good && ::fchmod(fd, mode) == 0 && ::fsync(fd) == 0;
  const int err = errno;
  ::close(fd);
  if (!good) return fail(errnoError(err, "write " + temporary));
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail(errnoError(errno, "rename to " + path));
  const int dir = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir >= 0) {
    ::fsync(dir);
    ::close(dir);
  }
  return {};
}

Result<std::string> readFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) {
    return fail(makeError(ErrorCode::kNotFound, path + " does not exist").withFix("run `gstacks-server init` first"));
  }
  if (fd < 0) return fail(errnoError(errno, "open " + path));
  std::string out(kMaxFileBytes, '\0');
  std::size_t size = 0;
  ssize_t n = 0;
  while (size < out.size() && (n = ::read(fd, out.data() + size, out.size() - size)) != 0) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0) size += static_cast<std::size_t>(n);
  }
  const int err = errno;
  ::close(fd);
  if (n < 0) return fail(errnoError(err, "read " + path));
  out.resize(size);
  return out;
}

Error damaged(const std::string& directory, const Error& why) {
  return makeError(ErrorCode::kDataLoss, fmt::format("the CA in {} cannot be used: {}", directory, why.message))
      .withFix("restore ca.key and ca.crt from a backup");
}

}  // namespace

CertificateAuthority::CertificateAuthority(CertificateAuthoritySettings settings, const Clock& clock)
    : settings_(std::move(settings)), clock_(clock) {}
CertificateAuthority::~CertificateAuthority() = default;

Status CertificateAuthority::create(const std::string& directory, const Clock& clock) {
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return fail(errnoError(errno, "make " + directory));
  if (::access(certificatePath(directory).c_str(), F_OK) == 0) {
    return fail(ErrorCode::kAlreadyExists, fmt::format("there is a CA in {} already", directory));
  }
  GS_TRY(const auto key, generatePrivateKeyPem());
  // Two CAs with one name and different keys confuse whoever builds chains while both are trusted.
  GS_TRY(const auto certificate, makeCaCertificatePem(key, "GlobalStacks CA " + randomIdChars(10), clock.wallNow()));
  GS_CHECK(writeFile(directory, keyPath(directory), key.reveal(), 0600));
  return writeFile(directory, certificatePath(directory), certificate, 0644);
}

Result<std::unique_ptr<CertificateAuthority>> CertificateAuthority::load(CertificateAuthoritySettings settings,
                                                                         const Clock& clock) {
  auto authority = std::unique_ptr<CertificateAuthority>(new CertificateAuthority(std::move(settings), clock));
  const std::string& directory = authority->settings_.directory;
  GS_TRY(authority->anchorsPem_, readFile(certificatePath(directory)));
  GS_TRY(auto key, readFile(keyPath(directory)));
  authority->keyPem_ = SecretString(std::move(key));
  const auto end = authority->anchorsPem_.find(kCertificateEnd);
  authority->signerPem_ = authority->anchorsPem_.substr(0, end == std::string::npos ? end : end + kCertificateEnd.size());
  const auto signer = parseCertificate(authority->signerPem_);
  if (!signer) return fail(damaged(directory, signer.error()));
  authority->pin_ = signer->spkiSha256;
  // Making a context is what proves that key and certificate belong together and that every anchor can be read.
  const auto proof = makeTlsServerContext({authority->signerPem_, authority->keyPem_, authority->anchorsPem_});
  if (!proof) return fail(damaged(directory, proof.error()));
  return authority;
}

Result<TlsServerSettings> CertificateAuthority::issueServer(const std::vector<std::string>& names) const {
  GS_TRY(auto key, generatePrivateKeyPem());
  CertificateOrder order;
  order.commonName = "gstacks-server";
  GS_TRY(order.csrPem, makeCsrPem(key, order.commonName));
  order.use = CertificateUse::kTlsServer;
  order.subjectAltNames = names;
  order.now = clock_.wallNow();
  order.validity = settings_.serverLifetime;
  GS_TRY(const auto leaf, signCertificate(signerPem_, keyPem_, order));
  return TlsServerSettings{leaf.pem + signerPem_, std::move(key), anchorsPem_};
}

Result<IssuedCertificate> CertificateAuthority::issueClient(const std::string& csrPem, const HostId& host) const {
  CertificateOrder order;
  order.csrPem = csrPem;
  order.commonName = host.text();
  order.use = CertificateUse::kTlsClient;
  order.now = clock_.wallNow();
  order.validity = settings_.clientLifetime;
  auto leaf = signCertificate(signerPem_, keyPem_, order);
  if (!leaf && leaf.error().code == ErrorCode::kInvalidArgument) {
    return fail(std::move(leaf).error().withReason("csr_invalid"));
  }
  if (!leaf) return fail(std::move(leaf).error());
  return IssuedCertificate{leaf->pem, leaf->info.serialHex, leaf->info.notAfter};
}

}  // namespace gs
