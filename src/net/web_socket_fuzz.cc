// WebSocket frames from a hostile client: no crash, no assertion, messages within the limit, and an end.
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <cstdlib>

#include "async/run_task.h"
#include "net/beast/web_socket_stream.h"

namespace gs {
namespace {

constexpr std::size_t kLimit = 4096;

// Gives the input in pieces of a fixed size and takes every write.
class ScriptedConnection final : public Connection {
 public:
  ScriptedConnection(Executor executor, std::string_view script, std::size_t step)
      : executor_(std::move(executor)), script_(script), step_(step) {}

  void startRead(asio::mutable_buffer into, IoHandler handler) override {
    const auto size = std::min({into.size(), script_.size(), step_});
    std::memcpy(into.data(), script_.data(), size);
    script_.remove_prefix(size);
    const IoError error = closed_    ? IoError(asio::error::operation_aborted)
                          : size > 0 ? IoError()
                                     : IoError(asio::error::eof);
    asio::post(executor_, [handler = std::move(handler), error, size]() mutable { handler(error, error ? 0 : size); });
  }
  void startWrite(std::span<const asio::const_buffer> from, IoHandler handler) override {
    std::size_t size = 0;
    for (const auto& piece : from) size += piece.size();
    const IoError error = closed_ ? IoError(asio::error::operation_aborted) : IoError();
    asio::post(executor_, [handler = std::move(handler), error, size]() mutable { handler(error, error ? 0 : size); });
  }
  Executor executor() override { return executor_; }
  [[nodiscard]] const PeerInfo& peer() const override { return peer_; }
  void shutdownWrite() override {}
  void close() override { closed_ = true; }
  [[nodiscard]] int nativeHandle() const override { return -1; }

 private:
  Executor executor_;
  std::string_view script_;
  std::size_t step_;
  bool closed_ = false;
  PeerInfo peer_;
};

Task<void> talk(std::string_view script, std::size_t step) {
  HttpRequest request;
  request.method = "GET";
  request.target = "/";
  for (const auto& [name, value] : {std::pair{"Host", "x"},
                                    {"Connection", "Upgrade"},
                                    {"Upgrade", "websocket"},
                                    {"Sec-WebSocket-Version", "13"},
                                    {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}}) {
    request.headers.add(name, value);
  }
  WsSettings settings;
  settings.maxMessageBytes = kLimit;
  auto stream = std::make_unique<ScriptedConnection>(co_await asio::this_coro::executor, script, step);
  auto socket = co_await acceptWebSocket(std::move(stream), std::move(request), {}, settings);
  if (!socket) std::abort();
  while (true) {
    const auto message = co_await (*socket)->read();
    if (!message) co_return;
    if (message->size() > kLimit) std::abort();
    (void)co_await (*socket)->write(*message);
  }
}

}  // namespace
}  // namespace gs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  boost::asio::io_context loop;
  gs::runTask(loop,
              gs::talk(std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1), data[0] + std::size_t{1}));
  return 0;
}
