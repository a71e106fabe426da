#include "agent/runtimes/tar_walker.h"

#include <algorithm>
#include <charconv>

#include "agent/runtimes/image_archive.h"

namespace gs {
namespace {

constexpr std::uint64_t kMaxEntryBytes = 1ULL << 50;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(makeError(ErrorCode::kDataLoss, fmt::format("a tar cannot be read: {}", what)).withReason("tar_malformed"));
}

std::string_view field(std::string_view block, std::size_t at, std::size_t size) {
  auto text = block.substr(at, size);
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

// Octal digits with spaces around them, or base 256 when the first bit is set.
Result<std::uint64_t> number(std::string_view raw) {
  const auto first = static_cast<unsigned char>(raw.front());
  std::uint64_t out = 0;
  if ((first & 0x80U) != 0) {
    if (first != 0x80U) return malformed("a number is out of range");
    for (const char c : raw.substr(1)) {
      if (out > (kMaxEntryBytes << 1)) return malformed("a number is out of range");
      out = out << 8 | static_cast<unsigned char>(c);
    }
    return out;
  }
  auto text = field(raw, 0, raw.size());
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  if (text.empty()) return out;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out, 8);
  if (problem != std::errc() || end != text.data() + text.size()) return malformed("a number is none");
  return out;
}

bool isZero(std::string_view block) {
  return std::ranges::all_of(block, [](char c) { return c == '\0'; });
}

Status checkSum(std::string_view block) {
  GS_TRY(const auto said, number(block.substr(148, 8)));
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    sum += i >= 148 && i < 156 ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(block[i]);
  }
  if (sum != said) return malformed("a header's checksum is wrong");
  return {};
}

std::string pathOf(std::string_view block) {
  const auto name = field(block, 0, 100);
  // GNU's magic has spaces, and other things where ustar has the prefix.
  const bool ustar = block.substr(257, 6) == std::string_view("ustar\0", 6);
  const auto prefix = ustar ? field(block, 345, 155) : std::string_view();
  return prefix.empty() ? std::string(name) : fmt::format("{}/{}", prefix, name);
}

bool isExtension(char type) { return type == 'x' || type == 'g' || type == 'L' || type == 'K'; }

// Types whose size field says nothing about bytes that follow: links, devices, folders, pipes.
bool isWithoutContent(char type) { return type >= '1' && type <= '6'; }

}  // namespace

Status TarWalker::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case State::kHeader: {
        const auto part = bytes.substr(0, kTarBlockBytes - block_.size());
        block_ += part;
        bytes.remove_prefix(part.size());
        if (block_.size() == kTarBlockBytes) GS_CHECK(takeHeader());
        break;
      }
      case State::kExtension: {
        const auto whole = extensionBytes_ + tarPadding(extensionBytes_);
        const auto part = bytes.substr(0, whole - extension_.size());
        extension_ += part;
        bytes.remove_prefix(part.size());
        if (extension_.size() == whole) GS_CHECK(takeExtension());
        break;
      }
      case State::kContent: {
        const auto part = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
        GS_CHECK(visitor_.content(part));
        left_ -= part.size();
        bytes.remove_prefix(part.size());
        if (left_ == 0) GS_CHECK(endContent());
        break;
      }
      case State::kPadding: {
        const auto part = bytes.substr(0, padding_ - block_.size());
        block_ += part;
        bytes.remove_prefix(part.size());
        if (block_.size() == padding_) {
          GS_CHECK(visitor_.end(block_));
          block_.clear();
          state_ = State::kHeader;
        }
        break;
      }
      case State::kEnded: return {};
    }
  }
  return {};
}

Status TarWalker::finish() const {
  if (state_ != State::kEnded) return malformed("it ends too early");
  return {};
}

Status TarWalker::takeHeader() {
  if (isZero(block_)) {
    if (!pending_.empty()) return malformed("an extension header without its entry");
    state_ = State::kEnded;
    return {};
  }
  GS_CHECK(checkSum(block_));
  const char type = block_[156];
  if (!isExtension(type)) return beginEntry();
  GS_TRY(extensionBytes_, number(std::string_view(block_).substr(124, 12)));
  if (extensionBytes_ > kMaxExtensionBytes || pending_.size() + extensionBytes_ > kMaxExtensionBytes) {
    return malformed("its extension headers are too large");
  }
  extensionType_ = type;
  pending_ += block_;
  block_.clear();
  extension_.clear();
  state_ = State::kExtension;
  return extensionBytes_ == 0 ? takeExtension() : Status();
}

Status TarWalker::takeExtension() {
  pending_ += extension_;
  const auto text = std::string_view(extension_).substr(0, extensionBytes_);
  if (extensionType_ == 'L') {
    longPath_ = field(text, 0, text.size());
  } else if (extensionType_ == 'x') {
    // Records "<length> <key>=<value>\n", the length counting itself.
    for (auto rest = text; !rest.empty();) {
      std::size_t length = 0;
      const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
      const auto digits = static_cast<std::size_t>(end - rest.data());
      if (problem != std::errc() || length > rest.size() || length < digits + 3 || rest[digits] != ' ' || rest[length - 1] != '\n') {
        return malformed("an extension header has no records");
      }
      const auto record = rest.substr(digits + 1, length - digits - 2);
      const auto equals = record.find('=');
      if (equals == std::string_view::npos) return malformed("an extension header has no records");
      const auto key = record.substr(0, equals);
      const auto value = record.substr(equals + 1);
      if (key == "path") longPath_ = value;
      if (key == "size") {
        const auto [stop, wrong] = std::from_chars(value.data(), value.data() + value.size(), longSize_);
        if (wrong != std::errc() || stop != value.data() + value.size()) return malformed("a size is none");
        hasLongSize_ = true;
      }
      rest.remove_prefix(length);
    }
  }
  state_ = State::kHeader;
  return {};
}

Status TarWalker::beginEntry() {
  TarEntry entry;
  entry.type = block_[156] == '\0' ? '0' : block_[156];
  entry.path = longPath_.empty() ? pathOf(block_) : longPath_;
  GS_TRY(entry.sizeBytes, number(std::string_view(block_).substr(124, 12)));
  if (hasLongSize_) entry.sizeBytes = longSize_;
  if (isWithoutContent(entry.type)) entry.sizeBytes = 0;
  if (entry.sizeBytes > kMaxEntryBytes) return malformed("an entry is too large");
  const std::string header = std::exchange(pending_, {}) + block_;
  block_.clear();
  longPath_.clear();
  hasLongSize_ = false;
  left_ = entry.sizeBytes;
  padding_ = tarPadding(entry.sizeBytes);
  GS_CHECK(visitor_.begin(entry, header));
  state_ = State::kContent;
  return left_ == 0 ? endContent() : Status();
}

Status TarWalker::endContent() {
  if (padding_ > 0) {
    state_ = State::kPadding;
    return {};
  }
  state_ = State::kHeader;
  return visitor_.end({});
}

}  // namespace gs
