// Writes a tar's entries below one directory, and nowhere else.
//
// Names are walked one part at a time from the destination's descriptor with O_NOFOLLOW, so neither links in the tar, nor
// links that were there before, nor names swapped meanwhile lead outside: they end it with kOutside. Files are made anew
// and take the place of what was there. Directories get their modes and times when the entries below them are done
// (entries of a tar come depth first; if not, their times may be newer). Blocking. Memory: one descriptor a level.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trees/safe_file.h"
#include "trees/tar_reader.h"

namespace gs {

struct ExtractRules {
  enum class Owners : std::uint8_t { kKeep, kOurs };        // kKeep: as far as the system lets us
  enum class Special : std::uint8_t { kRefuse, kPassOver };  // FIFOs, devices and hard links
  enum class Top : std::uint8_t { kKeep, kSet };             // what "." in the tar does to the destination itself
  Owners owners = Owners::kOurs;
  Special special = Special::kRefuse;
  Top top = Top::kKeep;
  std::uint32_t modeMask = 0777;
};

class TreeExtractor final : private TarSink {
 public:
  // `destination` is a directory's descriptor.
  TreeExtractor(OwnedFd destination, ExtractRules rules);

  // Pieces of any size. An error is for good; what was written until then stays. Of the file that was being written, a
  // part is there with mode 0600.
  [[nodiscard]] TreeResult<void> feed(std::string_view bytes) { return reader_.feed(bytes); }
  // After the last piece. kMalformed when the tar is cut.
  [[nodiscard]] TreeResult<void> finish();

  [[nodiscard]] std::uint64_t entries() const { return entries_; }
  [[nodiscard]] std::uint64_t fileBytes() const { return fileBytes_; }
  // Passed over, with Special::kPassOver.
  [[nodiscard]] std::uint64_t passedOver() const { return passedOver_; }

 private:
  struct Level {
    std::string name;
    OwnedFd fd;
    std::optional<TarEntry> attributes;
  };
  struct Place {
    int parent;
    std::string name;  // empty: the destination itself
  };

  [[nodiscard]] TreeResult<void> entry(const TarEntry& entry) override;
  [[nodiscard]] TreeResult<void> data(std::string_view bytes) override;
  [[nodiscard]] TreeResult<void> entryEnd() override;

  [[nodiscard]] TreeResult<Place> walkTo(const std::string& name);
  [[nodiscard]] TreeResult<void> enter(const std::string& part, const std::string& whole);
  [[nodiscard]] TreeResult<void> leave();
  [[nodiscard]] TreeResult<void> makeDirectory(const Place& place, const TarEntry& entry);
  [[nodiscard]] TreeResult<void> makeFile(const Place& place, const TarEntry& entry);
  [[nodiscard]] TreeResult<void> makeLink(const Place& place, const TarEntry& entry);
  [[nodiscard]] TreeResult<void> makeHardLink(const Place& place, const TarEntry& entry);
  [[nodiscard]] TreeResult<void> setAttributes(int fd, const TarEntry& entry);
  [[nodiscard]] int here() const { return levels_.empty() ? destination_.get() : levels_.back().fd.get(); }

  OwnedFd destination_;
  ExtractRules rules_;
  TarReader reader_;
  std::vector<Level> levels_;
  std::optional<TarEntry> topAttributes_;
  OwnedFd file_;
  TarEntry fileEntry_;
  HoleyWriter writer_;
  std::uint64_t entries_ = 0;
  std::uint64_t fileBytes_ = 0;
  std::uint64_t passedOver_ = 0;
};

}  // namespace gs
