#include "server/files/file_transfer.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "trees/tar_format.h"

namespace gs {
namespace {

std::unexpected<Error> outOfOrder() { return fail(ErrorCode::kUnavailable, "the sandbox's guest broke the protocol: an answer out of order"); }

class FileBody final : public BodySource {
 public:
  FileBody(std::unique_ptr<FileOperation> operation, std::optional<std::uint64_t> sizeBytes) : operation_(std::move(operation)), size_(sizeBytes) {}
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return size_; }

  Task<Result<std::string>> next() override {
    while (operation_) {
      GS_CO_TRY(auto answer, co_await operation_->next(kFilePatience));
      if (auto* data = std::get_if<FileData>(&answer)) {
        auto before = std::exchange(held_, std::move(data->bytes));
        if (!before.empty()) co_return before;
        continue;
      }
      if (!std::holds_alternative<FileDone>(answer)) co_return outOfOrder();
      operation_.reset();
    }
    co_return std::exchange(held_, {});
  }

 private:
  std::unique_ptr<FileOperation> operation_;
  std::optional<std::uint64_t> size_;
  std::string held_;
};

class TreeBody final : public BodySource {
 public:
  TreeBody(std::unique_ptr<FileOperation> operation, std::string first) : operation_(std::move(operation)), first_(std::move(first)) {}
  [[nodiscard]] std::optional<std::uint64_t> sizeBytes() const override { return std::nullopt; }

  Task<Result<std::string>> next() override {
    if (!first_.empty()) co_return std::exchange(first_, {});
    if (!operation_) co_return std::string();
    auto answer = co_await operation_->next(kFilePatience);
    if (answer) {
      if (auto* data = std::get_if<FileData>(&*answer)) co_return std::move(data->bytes);
      operation_.reset();
      if (std::holds_alternative<FileDone>(*answer)) co_return std::string();
      answer = outOfOrder();
    }
    operation_.reset();
    co_return tarFailure(answer.error().message);
  }

 private:
  std::unique_ptr<FileOperation> operation_;
  std::string first_;
};

// Returns when all is sent. What the body or its sender is to blame for comes as an error; when it is the sandbox that
// takes no more, it says so itself, and this waits to be cancelled.
Task<Status> sendAll(FileOperation& operation, BodyReader& body) {
  while (true) {
    GS_CO_TRY(const auto piece, co_await body.next());
    if (piece.empty()) break;
    for (std::size_t at = 0; at < piece.size(); at += kMaxFileData) {
      if (auto sent = co_await operation.sendData(std::string_view(piece).substr(at, kMaxFileData)); !sent) {
        if (sent.error().code == ErrorCode::kDeadlineExceeded) co_return sent;
        co_await sleepUntil(Deadline::never());
      }
    }
  }
  co_return co_await operation.sendEnd();
}

Task<Result<UploadResult>> collect(FileOperation& operation, UploadResult& result, Millis patience) {
  while (true) {
    GS_CO_TRY(auto answer, co_await operation.next(patience));
    if (auto* info = std::get_if<FileInfo>(&answer)) {
      if (result.info) co_return outOfOrder();
      result.info = std::move(*info);
      continue;
    }
    const auto* done = std::get_if<FileDone>(&answer);
    if (done == nullptr) co_return outOfOrder();
    result.done = *done;
    co_return result;
  }
}

}  // namespace

Task<Result<FileInfo>> readInfo(FileOperation& operation, Millis patience) {
  GS_CO_TRY(auto answer, co_await operation.next(patience));
  if (auto* info = std::get_if<FileInfo>(&answer)) co_return std::move(*info);
  co_return outOfOrder();
}

Task<Result<FileDone>> readDone(FileOperation& operation, Millis patience) {
  GS_CO_TRY(auto answer, co_await operation.next(patience));
  if (const auto* done = std::get_if<FileDone>(&answer)) co_return *done;
  co_return outOfOrder();
}

std::unique_ptr<BodySource> fileBody(std::unique_ptr<FileOperation> operation, std::optional<std::uint64_t> sizeBytes) {
  return std::make_unique<FileBody>(std::move(operation), sizeBytes);
}

std::unique_ptr<BodySource> treeBody(std::unique_ptr<FileOperation> operation, std::string first) {
  return std::make_unique<TreeBody>(std::move(operation), std::move(first));
}

Task<Result<UploadResult>> upload(FileOperation& operation, BodyReader& body) {
  using namespace asio::experimental::awaitable_operators;
  UploadResult result;
  // While the body is on its way the sandbox may well have nothing to say: how long that takes is up to the sender.
  auto winner = co_await (collect(operation, result, Millis::max()) || sendAll(operation, body));
  if (winner.index() == 0) co_return std::move(std::get<0>(winner));
  GS_CO_CHECK(std::move(std::get<1>(winner)));
  co_return co_await collect(operation, result, kFilePatience);
}

}  // namespace gs
