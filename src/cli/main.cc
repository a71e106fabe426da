#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cli/app.h"

namespace {

// `ps` shows every user the words of every process. What was taken over is covered up; a moment of exposure stays,
// which is why the help advises other ways.
void coverSecrets(int argc, char** argv) {
  constexpr std::string_view kPrefix = "gsk_";
  for (int i = 1; i < argc; ++i) {
    if (char* secret = std::strstr(argv[i], kPrefix.data())) std::memset(secret, 'x', std::strlen(secret));
  }
}

// Started without one of the standard descriptors, the first socket would become it, and output would go to the server.
void openStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) std::_Exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  openStandardDescriptors();
  // A reader that goes away ends us as it ends any other filter, also when a parent had it ignored.
  std::signal(SIGPIPE, SIG_DFL);
  const std::vector<std::string> words(argv + 1, argv + argc);
  coverSecrets(argc, argv);
  return gs::cli::runApp(words, gs::cli::processEnvironment());
}
