// A file tree as a tar, pulled piece by piece: whoever sends it decides when the next piece is read.
//
// Depth first, in the file system's order. Memory: a directory's names 8 KiB at a time for each level, 256 levels at most.
// Links are packed as links; FIFOs and devices as headers alone; sockets, and what vanishes meanwhile, not at all. Blocking.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "trees/safe_file.h"
#include "trees/tar_format.h"

namespace gs {

inline constexpr std::size_t kMaxTreeLevels = 256;

class TreePacker {
 public:
  enum class Named : std::uint8_t { kByItsName, kContentsOnly };
  enum class Special : std::uint8_t { kAsHeaders, kPassOver };  // FIFOs and devices

  // `path` is absolute or relative to the working directory. kByItsName: the last part of the path is the first part of
  // each name, and a link there is packed as a link. kContentsOnly: names begin with "./", and links are followed to it.
  [[nodiscard]] static TreeResult<TreePacker> open(const std::string& path, Named named, Special special = Special::kAsHeaders);

  // Some bytes into `out`; 0 is the end. kChanged: a file shrank; kTooDeep; kSystem. An error is for good.
  [[nodiscard]] TreeResult<std::size_t> read(std::span<char> out);
  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  [[nodiscard]] std::uint64_t passedOver() const { return passedOver_; }  // with sockets
  [[nodiscard]] std::uint64_t fileBytes() const { return fileBytes_; }

 private:
  struct Level {
    DirectoryNames names;
    std::string prefix;  // of the names below, with the slash
  };
  explicit TreePacker(Special special) : special_(special) {}
  [[nodiscard]] TreeResult<void> advance();
  [[nodiscard]] TreeResult<void> add(int parent, const std::string& name, std::string tarName);
  [[nodiscard]] TreeResult<void> addHeld(OwnedFd held, const std::string& name, std::string tarName);

  Special special_;
  std::vector<Level> levels_;
  std::string pending_;
  std::size_t pendingAt_ = 0;
  OwnedFd file_;
  std::string fileName_;
  std::uint64_t fileLeft_ = 0;
  std::size_t filePadding_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t fileBytes_ = 0;
  std::uint64_t passedOver_ = 0;
  bool ended_ = false;
};

}  // namespace gs
