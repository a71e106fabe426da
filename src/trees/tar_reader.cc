#include "trees/tar_reader.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <tuple>
#include <utility>

namespace gs {
namespace {

constexpr std::size_t kMaxExtended = 64 * 1024;
constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max() / 2;

std::string_view field(std::string_view block, std::size_t at, std::size_t width) {
  const auto raw = block.substr(at, width);
  return raw.substr(0, std::min(raw.find('\0'), raw.size()));
}

// Octal with spaces and NULs around it, or GNU's binary form with the highest bit set.
std::optional<std::uint64_t> number(std::string_view raw) {
  if (!raw.empty() && (static_cast<unsigned char>(raw.front()) & 0x80) != 0) {
    std::uint64_t value = static_cast<unsigned char>(raw.front()) & 0x7f;
    for (const char c : raw.substr(1)) {
      if (value > (std::numeric_limits<std::uint64_t>::max() >> 8)) return std::nullopt;
      value = (value << 8) | static_cast<unsigned char>(c);
    }
    return value;
  }
  std::uint64_t value = 0;
  std::size_t i = 0;
  while (i < raw.size() && raw[i] == ' ') ++i;
  for (; i < raw.size() && raw[i] >= '0' && raw[i] <= '7'; ++i) {
    if (value > (std::numeric_limits<std::uint64_t>::max() >> 3)) return std::nullopt;
    value = value * 8 + static_cast<std::uint64_t>(raw[i] - '0');
  }
  for (; i < raw.size(); ++i) {
    if (raw[i] != ' ' && raw[i] != '\0') return std::nullopt;
  }
  return value;
}

template <class Integer>
std::optional<Integer> decimal(std::string_view text) {
  Integer value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "-1.25" as -2 seconds and 750,000,000: the fraction counts upwards, as in a timespec.
std::optional<std::pair<std::int64_t, std::uint32_t>> moment(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const auto dot = std::min(text.find('.'), text.size());
  const auto whole = decimal<std::int64_t>(text.substr(0, dot));
  if (!whole || *whole < 0 || *whole > std::numeric_limits<std::int64_t>::max() / 2) return std::nullopt;
  std::uint32_t nanos = 0;
  std::uint32_t scale = 100'000'000;
  for (const char c : text.substr(std::min(dot + 1, text.size()))) {
    if (c < '0' || c > '9') return std::nullopt;
    nanos += static_cast<std::uint32_t>(c - '0') * scale;
    scale /= 10;
  }
  if (!negative) return std::pair{*whole, nanos};
  if (nanos == 0) return std::pair{-*whole, 0U};
  return std::pair{-*whole - 1, 1'000'000'000U - nanos};
}

bool checksumFits(std::string_view block) {
  const auto stated = number(block.substr(148, 8));
  std::uint64_t plain = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    plain += i >= 148 && i < 156 ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(block[i]);
  }
  return stated && *stated == plain;
}

std::unexpected<TreeError> malformed(std::string message) { return treeFail(TreeFault::kMalformed, "the tar is damaged: " + std::move(message)); }

}  // namespace

TreeResult<void> TarReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kEnded: return {};
      case State::kHeader: {
        const auto take = std::min(kTarBlock - pending_.size(), bytes.size());
        pending_.append(bytes.substr(0, take));
        bytes.remove_prefix(take);
        if (pending_.size() < kTarBlock) return {};
        const std::string block = std::exchange(pending_, {});
        if (auto done = header(block); !done) return done;
        break;
      }
      case State::kExtended: {
        const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
        pending_.append(bytes.substr(0, take));
        bytes.remove_prefix(take);
        left_ -= take;
        if (left_ > 0) return {};
        if (auto done = extendedDone(); !done) return done;
        break;
      }
      case State::kData: {
        const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
        if (auto done = sink_.data(bytes.substr(0, take)); !done) return done;
        bytes.remove_prefix(take);
        left_ -= take;
        if (left_ > 0) return {};
        if (auto done = sink_.entryEnd(); !done) return done;
        state_ = padding_ > 0 ? State::kPadding : State::kHeader;
        break;
      }
      case State::kPadding: {
        const auto take = std::min(padding_, bytes.size());
        bytes.remove_prefix(take);
        padding_ -= take;
        if (padding_ == 0) state_ = State::kHeader;
        break;
      }
    }
  }
  return {};
}

TreeResult<void> TarReader::finish() const {
  if (state_ == State::kEnded) return {};
  return malformed("it is cut");
}

TreeResult<void> TarReader::header(std::string_view block) {
  if (std::ranges::all_of(block, [](char c) { return c == '\0'; })) {
    state_ = State::kEnded;
    return {};
  }
  if (!checksumFits(block)) return malformed("a header's checksum does not fit");
  const auto size = number(block.substr(124, 12));
  const auto mode = number(block.substr(100, 8));
  const auto uid = number(block.substr(108, 8));
  const auto gid = number(block.substr(116, 8));
  const auto modified = number(block.substr(136, 12));
  if (!size || !mode || !uid || !gid || !modified || *size > kMaxSize) return malformed("a header has a number that is none");
  const char type = block[156];
  if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
    if (*size > kMaxExtended) return malformed("a header of more than 64 KiB");
    extendedType_ = type;
    left_ = *size;
    padding_ = tarPadding(*size);
    state_ = State::kExtended;
    return *size == 0 ? extendedDone() : TreeResult<void>();
  }
  TarEntry entry;
  entry.name = field(block, 0, 100);
  // POSIX only; GNU has other things there.
  if (block.substr(257, 6) == std::string_view("ustar\0", 6)) {
    if (const auto prefix = field(block, 345, 155); !prefix.empty()) entry.name = std::string(prefix) + "/" + entry.name;
  }
  entry.linkTarget = field(block, 157, 100);
  entry.sizeBytes = *size;
  entry.mode = static_cast<std::uint32_t>(*mode & 07777);
  entry.uid = static_cast<std::uint32_t>(std::min<std::uint64_t>(*uid, std::numeric_limits<std::uint32_t>::max() - 1));
  entry.gid = static_cast<std::uint32_t>(std::min<std::uint64_t>(*gid, std::numeric_limits<std::uint32_t>::max() - 1));
  entry.modifiedSeconds = static_cast<std::int64_t>(std::min<std::uint64_t>(*modified, kMaxSize));
  switch (type) {
    case '\0':
    case '0':
    case '7': entry.kind = TarKind::kFile; break;
    case '1': entry.kind = TarKind::kHardLink; break;
    case '2': entry.kind = TarKind::kLink; break;
    case '3':
    case '4': entry.kind = TarKind::kDevice; break;
    case '5': entry.kind = TarKind::kDirectory; break;
    case '6': entry.kind = TarKind::kFifo; break;
    default:
      return treeFail(TreeFault::kUnsupported, "the tar has an entry of type " + quotedName(std::string_view(&type, 1)) + ", which is not supported");
  }
  return begin(std::move(entry));
}

TreeResult<void> TarReader::begin(TarEntry entry) {
  const auto over = std::exchange(overrides_, {});
  if (over.name) entry.name = *over.name;
  if (over.linkTarget) entry.linkTarget = *over.linkTarget;
  if (over.size) entry.sizeBytes = *over.size;
  if (over.uid) entry.uid = *over.uid;
  if (over.gid) entry.gid = *over.gid;
  if (over.modified) std::tie(entry.modifiedSeconds, entry.modifiedNanos) = *over.modified;
  // Old tars mark a directory by the slash alone.
  if (entry.kind == TarKind::kFile && entry.name.ends_with('/')) entry.kind = TarKind::kDirectory;
  while (entry.name.size() > 1 && entry.name.ends_with('/')) entry.name.pop_back();
  if (entry.name.empty() || entry.name.size() > kMaxTarName) return malformed("an entry's name is empty or too long");
  if (entry.linkTarget.size() > kMaxTarName) return malformed("a link's target is too long");
  const std::uint64_t dataBytes = entry.kind == TarKind::kFile ? entry.sizeBytes : 0;
  if (entry.kind == TarKind::kHardLink && entry.sizeBytes > 0) return malformed("a link that has data");
  if (entry.kind != TarKind::kFile) entry.sizeBytes = 0;
  if (auto done = sink_.entry(entry); !done) return done;
  padding_ = tarPadding(dataBytes);
  left_ = dataBytes;
  state_ = dataBytes > 0 ? State::kData : State::kHeader;
  return dataBytes > 0 ? TreeResult<void>() : sink_.entryEnd();
}

TreeResult<void> TarReader::extendedDone() {
  const std::string text = std::exchange(pending_, {});
  state_ = padding_ > 0 ? State::kPadding : State::kHeader;
  if (extendedType_ == 'L') {
    overrides_.name = text.substr(0, text.find('\0'));
    return {};
  }
  if (extendedType_ == 'K') {
    overrides_.linkTarget = text.substr(0, text.find('\0'));
    return {};
  }
  return records(text);
}

TreeResult<void> TarReader::records(std::string_view text) {
  while (!text.empty()) {
    const auto space = text.find(' ');
    const auto length = space == std::string_view::npos ? std::nullopt : decimal<std::size_t>(text.substr(0, space));
    if (!length || *length <= space + 1 || *length > text.size() || text[*length - 1] != '\n') return malformed("a pax record");
    const auto body = text.substr(space + 1, *length - space - 2);
    const auto equals = body.find('=');
    if (equals == std::string_view::npos) return malformed("a pax record without a value");
    if (auto done = record(body.substr(0, equals), body.substr(equals + 1)); !done) return done;
    text.remove_prefix(*length);
  }
  return {};
}

TreeResult<void> TarReader::record(std::string_view key, std::string_view value) {
  if (extendedType_ == 'g') {
    if (key == kTarErrorKey) return treeFail(TreeFault::kTold, std::string(value.substr(0, 1024)));
    return {};  // nothing else of a global header concerns us
  }
  if (key == "path" || key == "linkpath") {
    if (value.find('\0') != std::string_view::npos) return malformed("a name with a zero byte");
    (key == "path" ? overrides_.name : overrides_.linkTarget) = std::string(value);
  } else if (key == "size") {
    overrides_.size = decimal<std::uint64_t>(value);
    if (!overrides_.size || *overrides_.size > kMaxSize) return malformed("a size that is none");
  } else if (key == "uid" || key == "gid") {
    const auto id = decimal<std::uint32_t>(value);
    if (!id || *id == std::numeric_limits<std::uint32_t>::max()) return malformed("an owner that is none");
    (key == "uid" ? overrides_.uid : overrides_.gid) = *id;
  } else if (key == "mtime") {
    overrides_.modified = moment(value);
    if (!overrides_.modified) return malformed("a time that is none");
  } else if (key.starts_with("GNU.sparse.")) {
    return treeFail(TreeFault::kUnsupported, "the tar has a sparse file, which is not supported");
  }
  return {};
}

}  // namespace gs
