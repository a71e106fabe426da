// What can go wrong with trees and tar streams. Stands alone: the guest has no base/result.h.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace gs {

enum class TreeFault : std::uint8_t {
  kMalformed,    // the tar is none, or is cut
  kUnsupported,  // an entry that is neither file, directory nor link
  kOutside,      // a name that would lead out of the destination
  kTooDeep,      // over the limit of levels or of a name's length
  kNotAFile,     // a FIFO, device or socket where a file was needed, or a directory in the way
  kNotADirectory,
  kChanged,      // a file shrank while it was read
  kTold,         // the sender of the tar says that it failed
  kSystem,       // a system call failed: `error` says how
};

struct TreeError {
  TreeFault fault = TreeFault::kSystem;
  int error = 0;  // errno, with kSystem
  std::string message;
};

template <class T>
using TreeResult = std::expected<T, TreeError>;

[[nodiscard]] std::unexpected<TreeError> treeFail(TreeFault fault, std::string message);
// "cannot open "a/b": No such file or directory".
[[nodiscard]] std::unexpected<TreeError> systemFail(int error, std::string_view doing, std::string_view name);
// In double quotes, at most 200 bytes, everything but printable ASCII as \xNN.
[[nodiscard]] std::string quotedName(std::string_view name);

}  // namespace gs
