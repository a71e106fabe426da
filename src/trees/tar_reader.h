// Reads a tar from pieces of any size: ustar, pax headers, GNU long names and GNU numbers.
//
// Any bytes may come. Memory: one header and at most 64 KiB of pax records or long names. What an entry's data is for is
// the sink's business. The end must be marked by a zero block; what follows that is ignored, as tar(1) does.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "trees/tar_format.h"
#include "trees/tree_error.h"

namespace gs {

class TarSink {
 public:
  virtual ~TarSink() = default;
  // Its data follows, exactly sizeBytes of it, and then entryEnd(). Only files have any.
  [[nodiscard]] virtual TreeResult<void> entry(const TarEntry& entry) = 0;
  [[nodiscard]] virtual TreeResult<void> data(std::string_view bytes) = 0;
  [[nodiscard]] virtual TreeResult<void> entryEnd() = 0;
};

class TarReader {
 public:
  explicit TarReader(TarSink& sink) : sink_(sink) {}

  // An error is for good. kMalformed; kUnsupported; kTold with the sender's words; those of the sink.
  [[nodiscard]] TreeResult<void> feed(std::string_view bytes);
  // kMalformed when the tar is cut.
  [[nodiscard]] TreeResult<void> finish() const;

 private:
  enum class State : std::uint8_t { kHeader, kExtended, kData, kPadding, kEnded };

  [[nodiscard]] TreeResult<void> header(std::string_view block);
  [[nodiscard]] TreeResult<void> begin(TarEntry entry);
  [[nodiscard]] TreeResult<void> extendedDone();
  [[nodiscard]] TreeResult<void> records(std::string_view text);
  [[nodiscard]] TreeResult<void> record(std::string_view key, std::string_view value);

  // What pax and GNU headers say of the next entry.
  struct Overrides {
    std::optional<std::string> name;
    std::optional<std::string> linkTarget;
    std::optional<std::uint64_t> size;
    std::optional<std::uint32_t> uid;
    std::optional<std::uint32_t> gid;
    std::optional<std::pair<std::int64_t, std::uint32_t>> modified;
  };

  TarSink& sink_;
  State state_ = State::kHeader;
  std::string pending_;  // of a header or of an extended one
  char extendedType_ = 0;
  std::uint64_t left_ = 0;
  std::size_t padding_ = 0;
  Overrides overrides_;
};

}  // namespace gs
