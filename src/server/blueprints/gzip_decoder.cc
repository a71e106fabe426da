#include "server/blueprints/gzip_decoder.h"

#include <zlib.h>

namespace gs {
namespace {

constexpr std::size_t kOutBytes = 256 * 1024;
constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

struct GzipDecoder::State {
  z_stream stream{};
  bool ready = false;
  bool insideMember = false;
  std::unique_ptr<char[]> out = std::make_unique_for_overwrite<char[]>(kOutBytes);
};

GzipDecoder::GzipDecoder() : state_(std::make_unique<State>()) {
  state_->ready = ::inflateInit2(&state_->stream, kGzipOnly) == Z_OK;
}

GzipDecoder::~GzipDecoder() {
  if (state_->ready) ::inflateEnd(&state_->stream);
}

Status GzipDecoder::feed(std::string_view bytes, const Sink& sink) {
  auto& stream = state_->stream;
  if (!state_->ready) return fail(ErrorCode::kResourceExhausted, "no memory to decompress with");
  // zlib's interface is older than const; it does not write to its input.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  bool mayHaveMore = true;
  while (stream.avail_in > 0 || mayHaveMore) {
    if (!state_->insideMember) {
      if (stream.avail_in == 0) return {};
      ::inflateReset(&stream);
      state_->insideMember = true;
    }
    stream.next_out = reinterpret_cast<Bytef*>(state_->out.get());
    stream.avail_out = kOutBytes;
    const int result = ::inflate(&stream, Z_NO_FLUSH);
    const std::size_t produced = kOutBytes - stream.avail_out;
    if (produced > 0) GS_CHECK(sink({state_->out.get(), produced}));
    if (result == Z_STREAM_END) {
      state_->insideMember = false;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("damaged gzip data ({})", stream.msg ? stream.msg : "no detail"));
    }
    // A full output buffer may hide more; a partly filled one means that the input is used up.
    mayHaveMore = stream.avail_out == 0;
    if (result == Z_BUF_ERROR && produced == 0) break;
  }
  return {};
}

Status GzipDecoder::finish() const {
  if (!state_->insideMember) return {};
  return fail(makeError(ErrorCode::kInvalidArgument, "the gzip data ends too early").withReason("archive_truncated"));
}

}  // namespace gs
