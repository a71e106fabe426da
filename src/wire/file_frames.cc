#include "wire/file_frames.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/encoding.h"
#include "globalstacks/guest/v1/files.pb.h"

namespace gs {
namespace {

namespace pb = globalstacks::guest::v1;

constexpr std::size_t kMaxName = 1'024;
constexpr std::size_t kMaxVersion = 80;
constexpr std::size_t kMaxMessage = 1'024;
constexpr std::size_t kSha256Bytes = 32;

struct KindRow {
  pb::FileError::Kind kind;
  ErrorCode code;
  std::string_view reason;
};
// One error each way; the agent's own errors find their kind by code, the first that fits.
constexpr KindRow kKinds[] = {
    {pb::FileError::KIND_SANDBOX_NOT_RUNNING, ErrorCode::kFailedPrecondition, "sandbox_not_running"},
    {pb::FileError::KIND_UNSUPPORTED, ErrorCode::kFailedPrecondition, "files_unsupported"},
    {pb::FileError::KIND_BUSY, ErrorCode::kResourceExhausted, "too_many"},
    {pb::FileError::KIND_UNAVAILABLE, ErrorCode::kUnavailable, ""},
    {pb::FileError::KIND_INVALID, ErrorCode::kInvalidArgument, ""},
    {pb::FileError::KIND_OUTSIDE, ErrorCode::kInvalidArgument, "outside_destination"},
    {pb::FileError::KIND_TOO_DEEP, ErrorCode::kInvalidArgument, "too_deep"},
    {pb::FileError::KIND_NOT_FOUND, ErrorCode::kNotFound, "file_not_found"},
    {pb::FileError::KIND_EXISTS, ErrorCode::kAlreadyExists, "file_exists"},
    {pb::FileError::KIND_NOT_PERMITTED, ErrorCode::kFailedPrecondition, "file_not_permitted"},
    {pb::FileError::KIND_NO_SPACE, ErrorCode::kResourceExhausted, "no_space_in_sandbox"},
    {pb::FileError::KIND_NOT_A_FILE, ErrorCode::kFailedPrecondition, "not_a_file"},
    {pb::FileError::KIND_NOT_A_DIRECTORY, ErrorCode::kFailedPrecondition, "not_a_directory"},
    {pb::FileError::KIND_NOT_EMPTY, ErrorCode::kFailedPrecondition, "directory_not_empty"},
    {pb::FileError::KIND_CHANGED, ErrorCode::kAborted, "file_changed"},
    {pb::FileError::KIND_WRONG_OFFSET, ErrorCode::kFailedPrecondition, "wrong_offset"},
    {pb::FileError::KIND_IN_USE, ErrorCode::kFailedPrecondition, "file_in_use"},
    {pb::FileError::KIND_FAILED, ErrorCode::kFailedPrecondition, "file_system_error"},
};

Error errorOf(const pb::FileError& error) {
  auto message = escapeForLog(error.message(), kMaxMessage);
  if (message.empty()) message = "the file operation failed";
  const auto row = std::ranges::find(kKinds, error.kind(), &KindRow::kind);
  if (row == std::end(kKinds)) return makeError(ErrorCode::kFailedPrecondition, std::move(message)).withReason("file_system_error");
  auto out = makeError(row->code, std::move(message));
  out.reason = row->reason;
  return out;
}

FileType typeOf(pb::FileType type) {
  switch (type) {
    case pb::FILE_TYPE_REGULAR: return FileType::kRegular;
    case pb::FILE_TYPE_DIRECTORY: return FileType::kDirectory;
    case pb::FILE_TYPE_LINK: return FileType::kLink;
    case pb::FILE_TYPE_FIFO: return FileType::kFifo;
    case pb::FILE_TYPE_SOCKET: return FileType::kSocket;
    case pb::FILE_TYPE_CHARACTER_DEVICE: return FileType::kCharacterDevice;
    case pb::FILE_TYPE_BLOCK_DEVICE: return FileType::kBlockDevice;
    default: return FileType::kUnknown;
  }
}

std::unexpected<Error> liar(std::string_view what) {
  return fail(ErrorCode::kDataLoss, fmt::format("the guest sent {} that cannot be", what));
}

Result<FileInfo> infoOf(const pb::FileInfo& in) {
  const auto isVersion = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-'; };
  const auto isName = [](std::string_view name) {
    return !name.empty() && name.size() <= kMaxName && name.find('\0') == std::string_view::npos &&
           (name == "/" || name.find('/') == std::string_view::npos);
  };
  if (!isName(in.name())) return liar("a file name");
  if (in.link_target().size() > kMaxFilePath || in.link_target().find('\0') != std::string::npos) return liar("a link's target");
  if (in.version().size() > kMaxVersion || !std::ranges::all_of(in.version(), isVersion)) return liar("a file version");
  if (!in.sha256().empty() && in.sha256().size() != kSha256Bytes) return liar("a digest");
  if (in.mode() > 07777 || in.modified_nanos() > 999'999'999) return liar("a mode or time");
  if (in.size_bytes() > std::uint64_t{1} << 63) return liar("a size");
  return FileInfo{.name = in.name(),
                  .type = typeOf(in.type()),
                  .sizeBytes = in.size_bytes(),
                  .mode = in.mode(),
                  .uid = in.uid(),
                  .gid = in.gid(),
                  .modified = {in.modified_seconds(), in.modified_nanos()},
                  .linkTarget = in.link_target(),
                  .version = in.version(),
                  .sha256 = in.sha256(),
                  .sizeUnknown = in.size_unknown()};
}

struct Filler {
  pb::FileRequest& out;
  void operator()(const StatFile& op) const {
    out.mutable_stat()->set_follow(op.follow);
    out.mutable_stat()->set_digest_bytes(op.digestBytes);
  }
  void operator()(const ListDirectory& op) const {
    out.mutable_list()->set_after(op.after);
    out.mutable_list()->set_limit(op.limit);
  }
  void operator()(const ReadFile& op) const {
    out.mutable_read()->set_offset(op.offset);
    out.mutable_read()->set_length(op.length);
    out.mutable_read()->set_version(op.version);
  }
  void operator()(const WriteFile& op) const {
    auto& write = *out.mutable_write();
    write.set_key(op.key);
    write.set_offset(op.offset);
    if (op.sizeBytes) write.set_size_bytes(*op.sizeBytes);
    if (op.mode) write.set_mode(*op.mode);
    if (op.uid) write.set_uid(*op.uid);
    if (op.gid) write.set_gid(*op.gid);
    if (op.modified) {
      write.set_modified_seconds(op.modified->seconds);
      write.set_modified_nanos(op.modified->nanos);
    }
  }
  void operator()(const RemoveFile& op) const { out.mutable_remove()->set_recursive(op.recursive); }
  void operator()(const MakeDirectory& op) const {
    out.mutable_make_directory()->set_mode(op.mode);
    out.mutable_make_directory()->set_parents(op.parents);
  }
  void operator()(const ReadTree& op) const { out.mutable_read_tree()->set_contents(op.contents); }
  void operator()(const WriteTree&) const { out.mutable_write_tree(); }
};

}  // namespace

std::string_view fileTypeText(FileType type) {
  switch (type) {
    case FileType::kRegular: return "file";
    case FileType::kDirectory: return "directory";
    case FileType::kLink: return "link";
    case FileType::kFifo: return "fifo";
    case FileType::kSocket: return "socket";
    case FileType::kCharacterDevice: return "character_device";
    case FileType::kBlockDevice: return "block_device";
    case FileType::kUnknown: break;
  }
  return "unknown";
}

std::string fileTimeText(FileTime time) {
  using namespace std::chrono;
  constexpr std::int64_t kFirst = -62'167'219'200;  // 0000-01-01
  constexpr std::int64_t kLast = 253'402'300'799;   // 9999-12-31
  const sys_seconds at{seconds(std::clamp(time.seconds, kFirst, kLast))};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss clock(at - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(), clock.seconds().count(), time.nanos);
}

Result<FileTime> parseFileTime(std::string_view text) {
  using namespace std::chrono;
  const auto wrong = [] { return fail(ErrorCode::kInvalidArgument, "is not a time such as 2026-01-02T03:04:05.123456789Z"); };
  constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:dd";
  if (text.size() <= kForm.size() || !text.ends_with('Z')) return wrong();
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kForm[i] == 'd' ? !digit : text[i] != kForm[i]) return wrong();
  }
  const auto number = [&](std::size_t at, std::size_t width) {
    int value = 0;
    std::from_chars(text.data() + at, text.data() + at + width, value);
    return value;
  };
  const year_month_day date(year(number(0, 4)), month(static_cast<unsigned>(number(5, 2))), day(static_cast<unsigned>(number(8, 2))));
  if (!date.ok() || number(11, 2) > 23 || number(14, 2) > 59 || number(17, 2) > 59) return wrong();
  FileTime out;
  out.seconds = duration_cast<seconds>(sys_days(date).time_since_epoch()).count() + number(11, 2) * 3600 + number(14, 2) * 60 + number(17, 2);
  auto fraction = text.substr(kForm.size(), text.size() - kForm.size() - 1);
  if (fraction.empty()) return out;
  if (fraction.front() != '.' || fraction.size() < 2 || fraction.size() > 10) return wrong();
  std::uint32_t scale = 100'000'000;
  for (const char c : fraction.substr(1)) {
    if (c < '0' || c > '9') return wrong();
    out.nanos += static_cast<std::uint32_t>(c - '0') * scale;
    scale /= 10;
  }
  return out;
}

std::string encode(const FileRequest& request) {
  pb::FileFrame frame;
  frame.mutable_request()->set_path(request.path);
  std::visit(Filler{*frame.mutable_request()}, request.operation);
  return frame.SerializeAsString();
}

std::string encodeFileData(std::string_view bytes) {
  pb::FileFrame frame;
  frame.set_data(bytes.data(), bytes.size());
  return frame.SerializeAsString();
}

std::string encodeFileEnd() {
  pb::FileFrame frame;
  frame.set_end(true);
  return frame.SerializeAsString();
}

std::string encodeFileError(const Error& error) {
  auto row = std::ranges::find_if(kKinds, [&](const KindRow& each) { return each.code == error.code && each.reason == error.reason; });
  if (row == std::end(kKinds)) row = std::ranges::find(kKinds, error.code, &KindRow::code);
  pb::FileFrame frame;
  frame.mutable_error()->set_kind(row == std::end(kKinds) ? pb::FileError::KIND_UNAVAILABLE : row->kind);
  frame.mutable_error()->set_message(escapeForLog(error.message, kMaxMessage));
  return frame.SerializeAsString();
}

Result<FileAnswer> decodeFileAnswer(std::string_view bytes) {
  pb::FileFrame frame;
  if (bytes.size() > kMaxFileFrame || !frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kDataLoss, "the guest sent bytes that are no FileFrame");
  }
  switch (frame.frame_case()) {
    case pb::FileFrame::kData:
      if (frame.data().empty()) return liar("data");
      return FileData{std::move(*frame.mutable_data())};
    case pb::FileFrame::kInfo: return infoOf(frame.info());
    case pb::FileFrame::kEntry: {
      GS_TRY(auto info, infoOf(frame.entry()));
      return FileEntry{std::move(info)};
    }
    case pb::FileFrame::kDone: return FileDone{frame.done().entries(), frame.done().bytes(), frame.done().more()};
    case pb::FileFrame::kError: return errorOf(frame.error());
    case pb::FileFrame::kRequest:
    case pb::FileFrame::kEnd: return liar("a frame");
    case pb::FileFrame::FRAME_NOT_SET: break;
  }
  return std::monostate{};
}

}  // namespace gs
