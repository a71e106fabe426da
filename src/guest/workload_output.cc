#include "guest/workload_output.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

namespace gs::guest {
namespace {

constexpr std::size_t kRunBytes = 16;
// What a record costs besides its data.
constexpr std::size_t kRecordCost = 64;
// In drain(): a workload's children that go on writing must not hold up what waits for it.
constexpr int kMostReads = 64;

std::int64_t nowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

WorkloadOutput::WorkloadOutput(EventLoop& loop, std::function<void(std::deque<Record>)> answer)
    : loop_(loop), answer_(std::move(answer)), run_(kRunBytes, '\0') {
  static_cast<void>(::getrandom(run_.data(), run_.size(), 0));
}

std::optional<WorkloadOutput::WriteEnds> WorkloadOutput::open() {
  WriteEnds writers;
  for (auto [source, writer] : {std::pair{&out_, &writers.out}, std::pair{&err_, &writers.err}}) {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
    source->pipe = UniqueFd(ends[0]);
    *writer = UniqueFd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  watch(out_);
  watch(err_);
  return writers;
}

void WorkloadOutput::watch(Source& source) {
  loop_.watch(source.pipe.get(), EPOLLIN, [this, &source](std::uint32_t) {
    readOnce(source);
    serve();
  });
}

WorkloadOutput::Taken WorkloadOutput::readOnce(Source& source) {
  std::array<char, kMaxRecordBytes> buffer;
  const auto count = ::read(source.pipe.get(), buffer.data(), buffer.size());
  if (count > 0) {
    append(source.stream, {buffer.data(), static_cast<std::size_t>(count)}, nowMs());
    return Taken::kSome;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Taken::kNothingNow;
  loop_.forget(source.pipe.get());
  source.pipe.reset();
  return Taken::kEnd;
}

void WorkloadOutput::drain() {
  for (auto* source : {&out_, &err_}) {
    for (int n = 0; n < kMostReads && source->pipe.isOpen() && readOnce(*source) == Taken::kSome; ++n) {
    }
  }
  serve();
}

void WorkloadOutput::append(Stream stream, std::string_view data, std::int64_t nowMs) {
  end_ += data.size();
  // A byte at a time would otherwise cost a record each.
  auto* last = kept_.empty() ? nullptr : &kept_.back();
  if (last != nullptr && last->stream == stream && last->readAtMs == nowMs && last->data.size() + data.size() <= kMaxRecordBytes) {
    last->data += data;
    keptBytes_ += data.size();
  } else {
    kept_.push_back({end_ - data.size(), stream, nowMs, std::string(data)});
    keptBytes_ += data.size() + kRecordCost;
  }
  while (keptBytes_ > kMaxKeptBytes) {
    keptBytes_ -= kept_.front().data.size() + kRecordCost;
    kept_.pop_front();
  }
}

void WorkloadOutput::ask(std::uint64_t offset) {
  asked_ = offset;
  // What lies before has arrived, and nobody asks for it again.
  taken_ = std::max(taken_, std::min(offset, end_));
  while (!kept_.empty() && kept_.front().offset + kept_.front().data.size() <= offset) {
    keptBytes_ -= kept_.front().data.size() + kRecordCost;
    kept_.pop_front();
  }
  serve();
}

void WorkloadOutput::serve() {
  if (!asked_ || *asked_ >= end_) return;
  std::deque<Record> chunk;
  std::size_t bytes = 0;
  for (const auto& record : kept_) {
    if (bytes + record.data.size() > kMaxChunkBytes) break;
    bytes += record.data.size() + kRecordCost;
    chunk.push_back(record);
    // The agent stopped in the middle of it.
    if (*asked_ > record.offset) {
      chunk.back().data.erase(0, *asked_ - record.offset);
      chunk.back().offset = *asked_;
    }
  }
  asked_.reset();
  answer_(std::move(chunk));
}

}  // namespace gs::guest
