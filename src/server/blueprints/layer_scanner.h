// Reads the headers of a layer's tar as it flows by, and refuses what no unpacker should be asked to handle.
//
// Its own small parser, not a library: the bytes are hostile, only names and kinds matter, and it must see what dockerd
// (Go's archive/tar) will see: ustar, GNU long names and sparse files, pax records. Refused: `..` in a name or in a hard
// link's target, NUL in a name, devices, kinds that it does not know. A leading slash is allowed, because an unpacker
// takes every name relative to the layer's root. Symbolic links may point anywhere: they are resolved in the sandbox.
// Memory: at most one extended header (1 MiB). Any thread; one at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

class LayerScanner {
 public:
  // kInvalidArgument with reason archive_unsafe_path, archive_unsafe_entry or archive_not_an_image. After an error the
  // scanner is used up.
  [[nodiscard]] Status feed(std::string_view bytes);
  // kInvalidArgument (archive_truncated) when an entry has not ended.
  [[nodiscard]] Status finish() const;
  [[nodiscard]] std::uint64_t entries() const { return entries_; }

  // Whether a file that begins with these bytes (512 where it has as many) can be a tar.
  [[nodiscard]] static bool looksLike(std::string_view head);

 private:
  static constexpr std::size_t kBlock = 512;
  enum class Body : std::uint8_t { kSkip, kLongName, kLongLink, kPax, kPaxGlobal };

  [[nodiscard]] Status block(std::string_view header);
  [[nodiscard]] Status entry(std::string_view header, char kind, std::uint64_t size);
  [[nodiscard]] Status extended();
  [[nodiscard]] Status pax(std::string_view records);
  [[nodiscard]] Status beginBody(Body body, std::uint64_t size);
  void forgetOverrides();

  std::array<char, kBlock> buffer_{};
  std::size_t filled_ = 0;
  std::uint64_t skip_ = 0;        // content and padding still to pass over
  std::uint64_t wanted_ = 0;      // content of an extended header still to collect
  std::string collected_;
  Body body_ = Body::kSkip;
  bool sparseMap_ = false;        // the next block continues an old GNU sparse header
  std::uint64_t sparseSize_ = 0;
  int zeroBlocks_ = 0;
  bool ended_ = false;
  std::uint64_t entries_ = 0;

  // From extended headers, for the next entry.
  std::string name_;
  std::string link_;
  bool hasName_ = false;
  bool hasLink_ = false;
  bool hasSize_ = false;
  bool pending_ = false;  // an extended header came and its entry has not
  std::uint64_t size_ = 0;
};

}  // namespace gs
