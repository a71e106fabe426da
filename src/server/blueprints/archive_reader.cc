#include "server/blueprints/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/encoding.h"
#include "server/blueprints/entry_intake.h"

namespace gs {
namespace {

constexpr std::string_view kBlobPrefix = "blobs/sha256/";

std::unexpected<Error> refuse(std::string_view reason, std::string message) {
  return fail(makeError(ErrorCode::kInvalidArgument, std::move(message)).withReason(std::string(reason)));
}

// The body as libarchive reads it; keeps the real reason when a read fails.
struct Source {
  BytePipe& pipe;
  const ArchiveLimits& limits;
  Hasher hasher;
  std::uint64_t bytes = 0;
  std::string piece;
  std::optional<Error> error;

  Result<std::string_view> next() {
    auto read = pipe.read();
    if (!read) return fail(std::move(read).error());
    piece = std::move(*read);
    hasher.update(piece);
    bytes += piece.size();
    if (bytes > limits.bodyBytes) {
      return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the archive is larger than {} bytes", limits.bodyBytes))
                      .withReason("limit_exceeded"));
    }
    return std::string_view(piece);
  }
};

la_ssize_t readCallback(archive* handle, void* data, const void** out) {
  auto& source = *static_cast<Source*>(data);
  auto next = source.next();
  if (!next) {
    source.error = std::move(next).error();
    ::archive_set_error(handle, EIO, "the body could not be read");
    return -1;
  }
  *out = next->data();
  return static_cast<la_ssize_t>(next->size());
}

struct FreeArchive {
  void operator()(archive* handle) const { ::archive_read_free(handle); }
};

bool isHex(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "./a//b/" → "a/b". An unsafe name is refused, not repaired.
Result<std::string> normalized(std::string_view name, const ArchiveLimits& limits) {
  if (name.size() > limits.pathBytes) return refuse("archive_unsafe_path", "an entry's name is too long");
  if (name.starts_with('/')) return refuse("archive_unsafe_path", fmt::format("an entry's name is absolute: {}", escapeForLog(name)));
  std::string out;
  for (std::size_t at = 0; at < name.size();) {
    const auto slash = std::min(name.find('/', at), name.size());
    const auto part = name.substr(at, slash - at);
    at = slash + 1;
    if (part == "..") return refuse("archive_unsafe_path", fmt::format("an entry's name climbs out: {}", escapeForLog(name)));
    if (part.empty() || part == ".") continue;
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

// docker save (before 25) writes a layer that occurs twice as "<id>/layer.tar" → "../<other id>/layer.tar". Only exactly
// that is understood, as a second name of an entry; it never becomes a link.
std::optional<std::string> repeatedLayer(std::string_view name, std::string_view target) {
  constexpr std::string_view kUp = "../";
  constexpr std::string_view kFile = "/layer.tar";
  const auto isLayer = [&](std::string_view path) {
    return path.size() == 64 + kFile.size() && path.ends_with(kFile) && isHex(path.substr(0, 64));
  };
  if (!isLayer(name) || !target.starts_with(kUp) || !isLayer(target.substr(kUp.size()))) return std::nullopt;
  return std::string(target.substr(kUp.size()));
}

class Reader {
 public:
  Reader(BytePipe& pipe, BlobStore& store, const ArchiveLimits& limits)
      : source_{pipe, limits, {}, 0, {}, {}}, store_(store), limits_(limits), budget_(limits) {}

  Result<StagedArchive> run() {
    GS_CHECK(open());
    for (;;) {
      archive_entry* header = nullptr;
      const int result = ::archive_read_next_header(handle_.get(), &header);
      if (result == ARCHIVE_EOF) break;
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return fail(libraryError());
      GS_CHECK(entry(header));
    }
    GS_CHECK(joinRepeatedLayers());
    // What follows the end mark belongs to the archive's digest.
    for (bool more = true; more;) {
      GS_TRY(const auto rest, source_.next());
      more = !rest.empty();
    }
    out_.digest = source_.hasher.finish();
    out_.bodyBytes = source_.bytes;
    return std::move(out_);
  }

 private:
  Status open() {
    handle_.reset(::archive_read_new());
    if (!handle_) return fail(ErrorCode::kResourceExhausted, "no memory to read the archive with");
    ::archive_read_support_filter_none(handle_.get());
    ::archive_read_support_filter_gzip(handle_.get());
    ::archive_read_support_format_tar(handle_.get());
    if (::archive_read_open(handle_.get(), &source_, nullptr, readCallback, nullptr) == ARCHIVE_OK) return {};
    return fail(libraryError());
  }

  Error libraryError() {
    if (source_.error) return *source_.error;
    if (source_.bytes == 0) return makeError(ErrorCode::kInvalidArgument, "the archive is empty").withReason("archive_empty");
    const char* text = ::archive_error_string(handle_.get());
    const std::string detail = text == nullptr ? "no detail" : escapeForLog(text);
    if (::archive_errno(handle_.get()) == ENOMEM) return makeError(ErrorCode::kResourceExhausted, "no memory to read the archive with");
    if (detail.find("runcated") != std::string::npos) {
      return makeError(ErrorCode::kInvalidArgument, "the archive ends too early").withReason("archive_truncated");
    }
    return makeError(ErrorCode::kInvalidArgument, fmt::format("the upload is no tar archive, plain or gzipped ({})", detail))
        .withFix("upload an OCI image layout or what `docker save` writes")
        .withReason("archive_not_an_image");
  }

  Status entry(archive_entry* header) {
    if (++count_ > limits_.entries) {
      return fail(makeError(ErrorCode::kResourceExhausted, fmt::format("the archive has more than {} entries", limits_.entries))
                      .withReason("limit_exceeded"));
    }
    // The byte form is missing when a pax name cannot be written in the process's locale.
    const char* raw = ::archive_entry_pathname(header);
    if (raw == nullptr) raw = ::archive_entry_pathname_utf8(header);
    if (raw == nullptr) return refuse("archive_unsafe_path", "an entry's name cannot be read");
    GS_TRY(const std::string name, normalized(raw, limits_));
    if (::archive_entry_hardlink(header) != nullptr) {
      return refuse("archive_unsafe_entry", fmt::format("an entry is a hard link: {}", escapeForLog(name)));
    }
    const auto type = ::archive_entry_filetype(header);
    if (type == AE_IFDIR) return {};
    if (type == AE_IFLNK) return link(name, ::archive_entry_symlink(header));
    if (type != AE_IFREG) {
      return refuse("archive_unsafe_entry", fmt::format("an entry is neither a file nor a directory: {}", escapeForLog(name)));
    }
    if (name.empty()) return refuse("archive_unsafe_path", "an entry has no name");
    if (out_.entries.contains(name) || repeated_.contains(name)) return duplicate(name);
    return file(name, ::archive_entry_size(header));
  }

  Status link(const std::string& name, const char* target) {
    const auto layer = target == nullptr ? std::nullopt : repeatedLayer(name, target);
    if (!layer) return refuse("archive_unsafe_entry", fmt::format("an entry is a symbolic link: {}", escapeForLog(name)));
    if (out_.entries.contains(name) || !repeated_.emplace(name, *layer).second) return duplicate(name);
    return {};
  }

  std::unexpected<Error> duplicate(const std::string& name) {
    return refuse("archive_unsafe_entry", fmt::format("an entry comes twice: {}", escapeForLog(name)));
  }

  Status file(const std::string& name, std::int64_t size) {
    GS_TRY(auto blob, store_.stage());
    EntryIntake intake(std::move(blob), budget_);
    std::int64_t position = 0;
    for (;;) {
      const void* data = nullptr;
      std::size_t length = 0;
      la_int64_t offset = 0;
      const int result = ::archive_read_data_block(handle_.get(), &data, &length, &offset);
      if (result == ARCHIVE_EOF) break;
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return fail(libraryError());
      if (offset != position) break;  // a hole: told below
      position += static_cast<std::int64_t>(length);
      GS_CHECK(budget_.checkExpansion(source_.bytes, static_cast<std::uint64_t>(::archive_filter_bytes(handle_.get(), 0))));
      GS_CHECK(intake.feed({static_cast<const char*>(data), length}));
    }
    if (position != size) return refuse("archive_unsafe_entry", fmt::format("an entry is a sparse file: {}", escapeForLog(name)));
    GS_TRY(auto staged, intake.finish());
    const auto hex = std::string_view(name).substr(std::min(name.size(), kBlobPrefix.size()));
    if (name.starts_with(kBlobPrefix) && isHex(hex) && staged->sentDigest.hex() != hex) {
      return fail(makeError(ErrorCode::kDataLoss, fmt::format("the entry {} has the digest {}", name, staged->sentDigest.text()))
                      .withReason("digest_mismatch"));
    }
    out_.entries.emplace(name, std::move(staged));
    return {};
  }

  Status joinRepeatedLayers() {
    for (const auto& [name, target] : repeated_) {
      const auto it = out_.entries.find(target);
      if (it == out_.entries.end()) {
        return refuse("archive_unsafe_entry", fmt::format("an entry is a link to nothing in the archive: {}", name));
      }
      out_.entries.emplace(name, it->second);
    }
    return {};
  }

  Source source_;
  BlobStore& store_;
  const ArchiveLimits& limits_;
  ImportBudget budget_;
  std::unique_ptr<archive, FreeArchive> handle_;
  StagedArchive out_;
  std::map<std::string, std::string> repeated_;
  std::size_t count_ = 0;
};

}  // namespace

Result<StagedArchive> readArchive(BytePipe& body, BlobStore& store, const ArchiveLimits& limits) {
  return Reader(body, store, limits).run();
}

}  // namespace gs
