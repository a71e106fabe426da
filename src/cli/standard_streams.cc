#include "cli/standard_streams.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "cli/config_file.h"
#include "cli/output.h"

namespace gs::cli {
namespace {

constexpr std::size_t kMaxSecretBytes = 4096;

// For the signal handler, which cannot be given anything.
termios savedTerminal;  // NOLINT

void restoreAndDie(int number) {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &savedTerminal);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

Result<SecretString> readSecretLine(int fd) {
  std::string line;
  while (line.size() < kMaxSecretBytes && line.find('\n') == std::string::npos) {
    char piece[512];
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(fileError(errno, "cannot read the secret"));
    if (got == 0) break;
    line.append(piece, static_cast<std::size_t>(got));
  }
  line.resize(std::min(line.size(), line.find('\n')));
  const auto first = line.find_first_not_of(" \t\r");
  const auto last = line.find_last_not_of(" \t\r");
  if (first == std::string::npos)
    return fail(ErrorCode::kInvalidArgument, "there is no secret to read: the first line is empty");
  return SecretString(line.substr(first, last - first + 1));
}

}  // namespace

Interrupt::Interrupt() : fd_(::eventfd(0, EFD_CLOEXEC)) {}
Interrupt::~Interrupt() {
  if (fd_ >= 0) ::close(fd_);
}
void Interrupt::raise() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(fd_, &one, sizeof one));  // cannot fail short of an overflow, which is raised as well
}

Result<std::string> readChunk(int fd, int wakeFd, std::size_t limit) {
  std::string chunk(limit, '\0');
  while (true) {
    pollfd waits[] = {{.fd = fd, .events = POLLIN, .revents = 0}, {.fd = wakeFd, .events = POLLIN, .revents = 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) return fail(errnoError(errno, "cannot wait for input"));
    if (waits[1].revents != 0) return fail(ErrorCode::kCancelled, "the session is over");
    if (waits[0].revents == 0) continue;
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return fail(errnoError(errno, "cannot read input"));
    chunk.resize(static_cast<std::size_t>(got));
    return chunk;
  }
}

Status writeFully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {
      pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, -1);
    } else if (errno == EPIPE) {
      dieOfBrokenPipe();
    } else if (errno != EINTR) {
      return fail(errnoError(
          errno, fd == STDOUT_FILENO ? "cannot write to standard output" : "cannot write to standard error"));
    }
  }
  return {};
}

Result<SecretString> readSecretFile(const std::string& path) {
  if (path == "-") return readSecretLine(STDIN_FILENO);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(fileError(errno, "cannot open " + path));
  auto secret = readSecretLine(fd);
  ::close(fd);
  if (!secret) return fail(std::move(secret).error().context("reading " + path));
  return secret;
}

Result<SecretString> askSecret(std::string_view question) {
  if (::isatty(STDIN_FILENO) != 1 || ::tcgetattr(STDIN_FILENO, &savedTerminal) != 0) {
    return fail(ErrorCode::kInvalidArgument, "standard input is no terminal to ask on");
  }
  // Interrupted, the terminal would stay mute.
  const auto previousInt = std::signal(SIGINT, restoreAndDie);
  const auto previousTerm = std::signal(SIGTERM, restoreAndDie);
  termios mute = savedTerminal;
  mute.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &mute);
  // Asked only now: what is pasted on seeing the question must not be shown, nor be lost to the flush.
  std::fprintf(stderr, "%.*s", static_cast<int>(question.size()), question.data());
  std::fflush(stderr);
  auto secret = readSecretLine(STDIN_FILENO);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &savedTerminal);
  std::signal(SIGINT, previousInt);
  std::signal(SIGTERM, previousTerm);
  std::fputc('\n', stderr);
  return secret;
}

Result<SecretFile> SecretFile::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return fail(fileError(errno, "cannot create " + path));
  return SecretFile(path, fd);
}

SecretFile::SecretFile(SecretFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

SecretFile::~SecretFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(path_.c_str());
}

Status SecretFile::write(std::string_view secret) {
  GS_CHECK(writeFully(fd_, fmt::format("{}\n", secret)));
  if (::fsync(fd_) != 0 && errno != EINVAL) return fail(fileError(errno, "cannot write " + path_));
  if (::close(std::exchange(fd_, -1)) != 0) return fail(fileError(errno, "cannot write " + path_));
  return {};
}

}  // namespace gs::cli
