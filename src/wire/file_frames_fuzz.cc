// What a hostile guest may answer to a file operation: what is accepted is within the limits of files.proto.
#include <cstdlib>

#include "wire/file_frames.h"

namespace {

void check(const gs::FileInfo& info) {
  if (info.name.empty() || info.name.size() > 1'024 || info.linkTarget.size() > gs::kMaxFilePath || info.mode > 07777) std::abort();
  if (info.version.size() > 80 || (!info.sha256.empty() && info.sha256.size() != 32)) std::abort();
  if (gs::fileTimeText(info.modified).size() != 30) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto answer = gs::decodeFileAnswer(bytes)) {
    if (const auto* info = std::get_if<gs::FileInfo>(&*answer)) check(*info);
    if (const auto* entry = std::get_if<gs::FileEntry>(&*answer)) check(entry->info);
    if (const auto* error = std::get_if<gs::Error>(&*answer); error != nullptr && error->message.empty()) std::abort();
  }
  if (const auto time = gs::parseFileTime(bytes); time && !gs::parseFileTime(gs::fileTimeText(*time))) std::abort();
  return 0;
}
