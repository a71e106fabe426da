// What the bodies of HTTP answers and requests have to do with a file operation.
//
// Loop thread only. Memory: one frame, and of an upload one piece of its body.
#pragma once

#include "net/http_message.h"
#include "server/files/file_operation.h"

namespace gs {

inline constexpr Millis kFilePatience{60'000};        // between two signs of progress
inline constexpr Millis kSilentFilePatience{600'000};  // for work that shows none: removing a tree, hashing

// The info that begins an answer. kUnavailable when the guest sends something else.
[[nodiscard]] Task<Result<FileInfo>> readInfo(FileOperation& operation, Millis patience);
// Then its end.
[[nodiscard]] Task<Result<FileDone>> readDone(FileOperation& operation, Millis patience);

// The data that follow, as a body. Its last piece is held back until the guest has said that all is well: an answer that
// looks whole is whole.
[[nodiscard]] std::unique_ptr<BodySource> fileBody(std::unique_ptr<FileOperation> operation, std::optional<std::uint64_t> sizeBytes);
// A tar: an error after the beginning is told inside it, see readFileTree in the contract. `first` has been read already.
[[nodiscard]] std::unique_ptr<BodySource> treeBody(std::unique_ptr<FileOperation> operation, std::string first);

struct UploadResult {
  std::optional<FileInfo> info;
  FileDone done;
};
// Sends the body and waits for the end. An error of the sandbox ends it early; one of the body is the body's.
[[nodiscard]] Task<Result<UploadResult>> upload(FileOperation& operation, BodyReader& body);

}  // namespace gs
