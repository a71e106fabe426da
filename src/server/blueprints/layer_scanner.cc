#include "server/blueprints/layer_scanner.h"

#include <charconv>

#include "base/encoding.h"

namespace gs {
namespace {

constexpr std::size_t kMaxExtended = 1 << 20;
constexpr std::size_t kMaxName = 4096;
constexpr std::uint64_t kMaxEntrySize = 1ULL << 50;
constexpr std::uint64_t kMaxEntries = 4'000'000;

std::unexpected<Error> refuse(std::string_view reason, std::string message) {
  return fail(makeError(ErrorCode::kInvalidArgument, std::move(message)).withReason(std::string(reason)));
}
std::unexpected<Error> notATar(std::string_view what) {
  return refuse("archive_not_an_image", fmt::format("a layer is no tar: {}", what));
}

// Text of a fixed field: up to the first NUL.
std::string_view textField(std::string_view header, std::size_t offset, std::size_t size) {
  const auto field = header.substr(offset, size);
  return field.substr(0, field.find('\0'));
}

// Octal with spaces or NULs around it, or GNU base-256.
Result<std::uint64_t> numberField(std::string_view field) {
  if ((static_cast<unsigned char>(field.front()) & 0x80) != 0) {
    if ((static_cast<unsigned char>(field.front()) & 0x40) != 0) return notATar("a negative number");
    std::uint64_t value = static_cast<unsigned char>(field.front()) & 0x3f;
    for (const char c : field.substr(1)) {
      if (value > (UINT64_MAX >> 8)) return notATar("a number is too large");
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  constexpr std::string_view kBlank(" \0", 2);
  const auto begin = field.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return std::uint64_t{0};
  field.remove_prefix(begin);
  field = field.substr(0, field.find_last_not_of(kBlank) + 1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  if (error != std::errc() || end != field.data() + field.size()) return notATar("a number is not octal");
  return value;
}

bool checksumFits(std::string_view header) {
  const auto stated = numberField(header.substr(148, 8));
  if (!stated) return false;
  std::int64_t plain = 0;
  std::int64_t withSigns = 0;  // what some old writers computed
  for (std::size_t i = 0; i < header.size(); ++i) {
    const char c = i >= 148 && i < 156 ? ' ' : header[i];
    plain += static_cast<unsigned char>(c);
    withSigns += static_cast<signed char>(c);
  }
  const auto value = static_cast<std::int64_t>(*stated);
  return value == plain || value == withSigns;
}

bool isZero(std::string_view block) { return block.find_first_not_of('\0') == std::string_view::npos; }

Status checkName(std::string_view name, std::string_view what) {
  if (name.find('\0') != std::string_view::npos) return refuse("archive_unsafe_path", fmt::format("{} in a layer holds a NUL byte", what));
  if (name.size() > kMaxName) return refuse("archive_unsafe_path", fmt::format("{} in a layer is longer than {} bytes", what, kMaxName));
  for (std::size_t at = 0; at <= name.size();) {
    const auto slash = std::min(name.find('/', at), name.size());
    if (name.substr(at, slash - at) == "..") {
      return refuse("archive_unsafe_path", fmt::format("{} in a layer climbs out: {}", what, escapeForLog(name)));
    }
    at = slash + 1;
  }
  return {};
}

}  // namespace

bool LayerScanner::looksLike(std::string_view head) {
  return head.size() >= kBlock && (isZero(head.substr(0, kBlock)) || checksumFits(head.substr(0, kBlock)));
}

Status LayerScanner::feed(std::string_view bytes) {
  while (!bytes.empty() && !ended_) {
    if (wanted_ > 0) {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(wanted_, bytes.size()));
      collected_ += bytes.substr(0, take);
      bytes.remove_prefix(take);
      wanted_ -= take;
      if (wanted_ == 0) GS_CHECK(extended());
    } else if (skip_ > 0) {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, bytes.size()));
      bytes.remove_prefix(take);
      skip_ -= take;
    } else {
      const auto take = std::min(kBlock - filled_, bytes.size());
      std::copy_n(bytes.data(), take, buffer_.data() + filled_);
      bytes.remove_prefix(take);
      filled_ += take;
      if (filled_ < kBlock) continue;
      filled_ = 0;
      GS_CHECK(block({buffer_.data(), kBlock}));
    }
  }
  return {};
}

Status LayerScanner::finish() const {
  // Without the two zero blocks at the end it is still whole, as for every other reader; inside something it is not.
  if (ended_ || (filled_ == 0 && skip_ == 0 && wanted_ == 0 && !pending_ && !sparseMap_)) return {};
  return refuse("archive_truncated", "a layer ends too early");
}

Status LayerScanner::block(std::string_view header) {
  if (sparseMap_) {
    // An old GNU sparse header goes on for as long as its blocks say so; the content follows.
    if (header[504] == 0) {
      sparseMap_ = false;
      return beginBody(Body::kSkip, sparseSize_);
    }
    return {};
  }
  if (isZero(header)) {
    if (pending_) return notATar("an extended header without an entry");
    ended_ = ++zeroBlocks_ == 2;
    return {};
  }
  if (zeroBlocks_ > 0) return notATar("it goes on after an end mark");
  if (!checksumFits(header)) return notATar("a header's checksum is wrong");
  GS_TRY(auto size, numberField(header.substr(124, 12)));
  const char kind = header[156];
  switch (kind) {
    case 'L': pending_ = true; return beginBody(Body::kLongName, size);
    case 'K': pending_ = true; return beginBody(Body::kLongLink, size);
    case 'x': pending_ = true; return beginBody(Body::kPax, size);
    case 'g': return beginBody(Body::kPaxGlobal, size);
    default: break;
  }
  if (hasSize_) size = size_;
  const auto status = entry(header, kind, size);
  forgetOverrides();
  return status;
}

Status LayerScanner::entry(std::string_view header, char kind, std::uint64_t size) {
  if (++entries_ > kMaxEntries) return refuse("archive_unsafe_entry", fmt::format("a layer has more than {} entries", kMaxEntries));
  std::string name = name_;
  if (!hasName_) {
    name = textField(header, 0, 100);
    const bool posix = header.substr(257, 6) == std::string_view("ustar\0", 6);
    const auto prefix = textField(header, 345, 155);
    if (posix && !prefix.empty()) name = fmt::format("{}/{}", prefix, name);
  }
  GS_CHECK(checkName(name, "a name"));
  const auto link = hasLink_ ? std::string_view(link_) : textField(header, 157, 100);
  switch (kind) {
    case '0':
    case '\0':
    case '7': return beginBody(Body::kSkip, size);
    case '1': return checkName(link, "the target of a hard link");  // like every kind below it has no content
    case '2':
    case '5':
    case '6': return {};
    case '3':
    case '4':
      return refuse("archive_unsafe_entry", fmt::format("a layer holds a device node: {}", escapeForLog(name)));
    case 'S':
      if (header[482] == 0) return beginBody(Body::kSkip, size);
      if (size > kMaxEntrySize) return notATar("an entry is too large");
      sparseMap_ = true;
      sparseSize_ = size;
      return {};
    default:
      return refuse("archive_unsafe_entry",
                    fmt::format("a layer holds an entry of unknown kind 0x{:02x}: {}", static_cast<unsigned char>(kind), escapeForLog(name)));
  }
}

Status LayerScanner::beginBody(Body body, std::uint64_t size) {
  if (size > kMaxEntrySize) return notATar("an entry is too large");
  const std::uint64_t padded = (size + kBlock - 1) / kBlock * kBlock;
  body_ = body;
  if (body == Body::kSkip) {
    skip_ = padded;
    return {};
  }
  if (size > kMaxExtended) return refuse("archive_unsafe_entry", "an extended header in a layer is larger than 1 MiB");
  collected_.clear();
  wanted_ = size;
  skip_ = padded - size;
  return size == 0 ? extended() : Status();
}

Status LayerScanner::extended() {
  const std::string_view text(collected_);
  switch (body_) {
    case Body::kLongName:
      name_ = text.substr(0, text.find('\0'));
      hasName_ = true;
      return {};
    case Body::kLongLink:
      link_ = text.substr(0, text.find('\0'));
      hasLink_ = true;
      return {};
    case Body::kPax: return pax(text);
    case Body::kPaxGlobal:  // Go's reader, and so dockerd, gives global records no effect on entries
    case Body::kSkip: return {};
  }
  return {};
}

Status LayerScanner::pax(std::string_view records) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<std::size_t>(end - records.data());
    if (error != std::errc() || digits + 2 > length || length > records.size() || *end != ' ' || records[length - 1] != '\n') {
      return notATar("a pax record is damaged");
    }
    const auto record = records.substr(digits + 1, length - digits - 2);
    records.remove_prefix(length);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) return notATar("a pax record has no value");
    const auto key = record.substr(0, equals);
    const auto value = record.substr(equals + 1);
    if (key == "path" || key == "GNU.sparse.name") {
      GS_CHECK(checkName(value, "a name"));
      name_ = value;
      hasName_ = !value.empty();
    } else if (key == "linkpath") {
      if (value.find('\0') != std::string_view::npos) return refuse("archive_unsafe_path", "a link in a layer holds a NUL byte");
      link_ = value;
      hasLink_ = !value.empty();
    } else if (key == "size") {
      const auto [last, problem] = std::from_chars(value.data(), value.data() + value.size(), size_);
      if (problem != std::errc() || last != value.data() + value.size()) return notATar("a pax size is damaged");
      hasSize_ = true;
    }
  }
  return {};
}

void LayerScanner::forgetOverrides() {
  name_.clear();
  link_.clear();
  hasName_ = hasLink_ = hasSize_ = pending_ = false;
}

}  // namespace gs
