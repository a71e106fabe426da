// What the agent's end of a file operation may send: read as the worker reads it, from a socket, and never carried out.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "guest/file_operations.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 60'000) return 0;  // all of it has to fit into the socket
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  if (::write(ends[0], data, size) != static_cast<ssize_t>(size)) std::abort();
  ::close(ends[0]);
  gs::guest::FileConnection connection(ends[1]);
  while (const auto frame = connection.read()) {
    if (frame->has_request()) {
      const auto split = gs::guest::splitPath("/" + frame->request().path());
      if (split.directory.empty()) std::abort();
    }
  }
  if (!connection.gone()) std::abort();
  ::close(ends[1]);
  return 0;
}
