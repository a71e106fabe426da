// Walks a tar stream as it comes, without keeping it: what each entry is, and its bytes as they were.
//
// The counterpart of image_archive.h: what an engine writes, which is what a sandbox wrote into its files. So the names,
// sizes and extension headers are hostile: every length is checked, and no more than kMaxExtensionBytes is kept. It
// judges nothing but the form. Sans-IO; any thread, one at a time. Fuzzed (tar_walker_fuzz.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

struct TarEntry {
  std::string path;  // as written, with the long names of GNU and pax
  char type = '0';
  std::uint64_t sizeBytes = 0;
};

class TarWalker {
 public:
  // The extension headers before one entry, together.
  static constexpr std::size_t kMaxExtensionBytes = 1 << 20;

  // What is found, in order. An error ends the walk and comes back from feed().
  class Visitor {
   public:
    virtual ~Visitor() = default;
    // `header`: the entry's header block with the extension headers before it, as they were.
    [[nodiscard]] virtual Status begin(const TarEntry& entry, std::string_view header) = 0;
    [[nodiscard]] virtual Status content(std::string_view bytes) = 0;
    // The content is complete; `padding` follows it.
    [[nodiscard]] virtual Status end(std::string_view padding) = 0;
  };

  explicit TarWalker(Visitor& visitor) : visitor_(visitor) {}
  TarWalker(const TarWalker&) = delete;
  TarWalker& operator=(const TarWalker&) = delete;

  // kDataLoss, reason "tar_malformed": not a tar. The visitor's error otherwise. Useless after an error.
  [[nodiscard]] Status feed(std::string_view bytes);
  // kDataLoss when the stream ended within an entry, or before the blocks that end a tar.
  [[nodiscard]] Status finish() const;

 private:
  enum class State : std::uint8_t { kHeader, kExtension, kContent, kPadding, kEnded };

  [[nodiscard]] Status takeHeader();
  [[nodiscard]] Status takeExtension();
  [[nodiscard]] Status beginEntry();
  [[nodiscard]] Status endContent();

  Visitor& visitor_;
  State state_ = State::kHeader;
  std::string block_;      // the header, or what of the padding has come
  std::string pending_;    // extension headers, raw
  std::string extension_;  // the content of the present one, with its padding
  char extensionType_ = 0;
  std::uint64_t extensionBytes_ = 0;
  std::uint64_t left_ = 0;     // of the content
  std::size_t padding_ = 0;    // that follows the content
  std::string longPath_;       // from extension headers, for the next entry
  bool hasLongSize_ = false;
  std::uint64_t longSize_ = 0;
};

}  // namespace gs
