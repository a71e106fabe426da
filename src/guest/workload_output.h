// What the workload writes: read as it comes, kept as far as there is room, and handed to the agent by offset.
//
// The workload never waits for anybody: its pipes are read whether or not an agent is there, and when more than the bound
// is kept the oldest is forgotten. The protocol (guest.proto, OutputState) says how nothing is lost or doubled over a
// restart of the agent. Memory: kMaxKeptBytes, records' own cost included.
// Life: open() once, before the workload starts; the pipes' readers end when every writer has closed them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "guest/event_loop.h"
#include "guest/unique_fd.h"

namespace gs::guest {

class WorkloadOutput {
 public:
  enum class Stream : std::uint8_t { kStdout, kStderr };
  struct Record {
    std::uint64_t offset = 0;
    Stream stream = Stream::kStdout;
    std::int64_t readAtMs = 0;
    std::string data;
  };
  static constexpr std::size_t kMaxKeptBytes = 256 * 1024;
  static constexpr std::size_t kMaxRecordBytes = 16 * 1024;
  static constexpr std::size_t kMaxChunkBytes = 32 * 1024;

  // `answer` gets what was asked for, once for each ask().
  WorkloadOutput(EventLoop& loop, std::function<void(std::deque<Record>)> answer);

  // The ends that the workload writes to; they are to be closed once it has them. Nothing: no pipes could be made.
  struct WriteEnds {
    UniqueFd out;
    UniqueFd err;
  };
  [[nodiscard]] std::optional<WriteEnds> open();

  // ReadOutput.
  void ask(std::uint64_t offset);
  // Whoever asked is gone.
  void forgetAsk() { asked_.reset(); }
  // Takes what is in the pipes now, without waiting.
  void drain();

  [[nodiscard]] const std::string& run() const { return run_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  // Up to which offset the agent has said that it has everything.
  [[nodiscard]] std::uint64_t taken() const { return taken_; }

  // For tests, and for what was read.
  void append(Stream stream, std::string_view data, std::int64_t nowMs);

 private:
  struct Source {
    UniqueFd pipe;
    Stream stream;
  };
  enum class Taken : std::uint8_t { kSome, kNothingNow, kEnd };
  Taken readOnce(Source& source);
  void watch(Source& source);
  void serve();

  EventLoop& loop_;
  std::function<void(std::deque<Record>)> answer_;
  Source out_{{}, Stream::kStdout};
  Source err_{{}, Stream::kStderr};
  std::string run_;
  std::deque<Record> kept_;
  std::size_t keptBytes_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t taken_ = 0;
  std::optional<std::uint64_t> asked_;
};

}  // namespace gs::guest
