// The channel against a guest that lies, babbles or says nothing: this process plays it.
#include <gtest/gtest.h>

#include "agent/guest_channel/guest_connection.h"
#include "agent/guest_channel/guest_test_process.h"
#include "globalstacks/guest/v1/guest.pb.h"

namespace gs {
namespace {

namespace pb = globalstacks::guest::v1;

using Stream = std::unique_ptr<ByteStream>;

Deadline soon() { return Deadline::after(Millis(10'000)); }

pb::GuestFrame hello() {
  pb::GuestFrame frame;
  frame.mutable_hello()->set_protocol(1);
  frame.mutable_hello()->set_gate_open(true);
  return frame;
}

std::string frameOf(const google::protobuf::MessageLite& message) { return makeGuestFrame(message.SerializeAsString()); }

// Until the agent closes the connection; how many bytes came before.
Task<Result<std::size_t>> readToEnd(ByteStream* stream) {
  std::array<char, 4096> buffer{};
  std::size_t total = 0;
  while (true) {
    const auto count = co_await stream->readSome(buffer);
    if (!count || *count == 0) co_return total;
    total += *count;
  }
}

class HostileGuestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto channel = listenForGuest(loop_.get_executor(), {.socketPath = folder_.socketPath(),
                                                         .sandboxId = "sbx_test",
                                                         .handshakeTimeout = Millis(300)});
    ASSERT_TRUE(channel);
    channel_ = std::move(*channel);
    channel_->setExpectedPid(::getpid());
  }
  void TearDown() override { run(channel_->close()); }
  template <class T>
  T run(Task<T> task) {
    return runWithin(loop_, std::move(task));
  }
  Stream dial() {
    auto stream = run(connectUnix(folder_.socketPath(), soon()));
    EXPECT_TRUE(stream);
    return std::move(*stream);
  }
  Stream dialWith(const std::string& bytes) {
    auto stream = dial();
    EXPECT_TRUE(run(stream->write(bytes)));
    return stream;
  }
  bool closedByAgent(ByteStream& stream) {
    return run(withDeadline(soon(), "the agent's close", readToEnd(&stream))).has_value();
  }

  asio::io_context loop_;
  GuestFolder folder_;
  std::unique_ptr<GuestChannel> channel_;
};

struct FirstFrameRow {
  std::string_view reason;
  std::string bytes;
};

TEST_F(HostileGuestTest, BadFirstFramesLoseTheConnection) {
  pb::GuestFrame otherProtocol = hello();
  otherProtocol.mutable_hello()->set_protocol(99);
  pb::GuestFrame pong;
  pong.mutable_pong()->set_nonce(1);
  pb::GuestFrame attach;
  attach.mutable_exec_attach()->set_exec_id(1);
  attach.mutable_exec_attach()->set_key(std::string(16, 'k'));
  pb::GuestFrame shortKey = attach;
  shortKey.mutable_exec_attach()->set_key("k");
  const FirstFrameRow rows[] = {
      {"no protobuf", makeGuestFrame("\xff\xff\xff\xff")},
      {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
      {"a frame over the limit", "\xff\xff\xff\xff"},
      {"an empty frame", makeGuestFrame("")},
      {"another protocol", frameOf(otherProtocol)},
      {"an answer to nothing", frameOf(pong)},
      {"an exec that nobody asked for", frameOf(attach)},
      {"a key of the wrong size", frameOf(shortKey)},
      {"nothing, for too long", ""},
      {"half a frame, for too long", frameOf(hello()).substr(0, 6)},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    const auto stream = dialWith(row.bytes);
    EXPECT_TRUE(closedByAgent(*stream));
    EXPECT_FALSE(channel_->state().connected);
  }
}

TEST_F(HostileGuestTest, BadFramesAfterTheHelloLoseTheConnection) {
  pb::GuestFrame exited;
  exited.mutable_workload_exited()->set_exit_code(1);
  pb::GuestFrame impossible;
  impossible.mutable_gate_opened()->mutable_workload_exited()->set_exit_code(1000);
  pb::GuestFrame attach;
  attach.mutable_exec_attach()->set_key(std::string(16, 'k'));
  const FirstFrameRow rows[] = {
      {"a second hello", frameOf(hello())},
      {"the end of a workload that never ran", frameOf(exited)},
      {"an exit that cannot be", frameOf(impossible)},
      {"an attach on the control connection", frameOf(attach)},
      {"garbage", makeGuestFrame("\x07\x07\x07")},
      {"a frame over the limit", "\x7f\xff\xff\xff"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    const auto stream = dialWith(frameOf(hello()));
    ASSERT_TRUE(run(channel_->waitConnected(soon())));
    ASSERT_TRUE(run(stream->write(row.bytes)));
    EXPECT_TRUE(closedByAgent(*stream));
    EXPECT_EQ(channel_->state().workload.phase, WorkloadState::Phase::kNone);
  }
}

TEST_F(HostileGuestTest, SilentConnectionsDoNotKeepTheGuestOut) {
  std::vector<Stream> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(dial());
  const auto stream = dialWith(frameOf(hello()));
  // 32 at a time, each with its 300 ms.
  EXPECT_TRUE(run(channel_->waitConnected(soon())));
}

TEST_F(HostileGuestTest, TheNewestControlConnectionCounts) {
  const auto first = dialWith(frameOf(hello()));
  ASSERT_TRUE(run(channel_->waitConnected(soon())));
  const auto seen = channel_->state().revision;
  auto second = hello();
  second.mutable_hello()->set_version("second");
  const auto stream = dialWith(frameOf(second));
  run(channel_->waitChange(seen, soon()));
  EXPECT_TRUE(channel_->state().connected);
  EXPECT_EQ(channel_->state().version, "second");
  EXPECT_TRUE(closedByAgent(*first));
}

TEST_F(HostileGuestTest, AFloodOfFramesIsPaced) {
  const auto stream = dialWith(frameOf(hello()));
  ASSERT_TRUE(run(channel_->waitConnected(soon())));
  pb::GuestFrame opened;
  opened.mutable_gate_opened()->mutable_workload_started()->set_pid(1);
  std::string flood;
  for (int i = 0; i < 3000; ++i) flood += frameOf(opened);
  const auto before = channel_->state().revision;
  ASSERT_TRUE(run(stream->write(flood)));
  const auto start = std::chrono::steady_clock::now();
  // Two pauses, with one whole second between their ends however late the first began.
  while (channel_->state().revision - before < 2500) run(channel_->waitChange(channel_->state().revision, soon()));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900)) << "a thousand a second";
}

TEST_F(HostileGuestTest, CallsEndWhenTheGuestNeverAnswers) {
  const auto stream = dialWith(frameOf(hello()));
  ASSERT_TRUE(run(channel_->waitConnected(soon())));
  const auto late = [] { return Deadline::after(Millis(50)); };
  EXPECT_EQ(run(channel_->ping(late())).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(run(channel_->openGate({}, late())).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(run(channel_->startExec({{"true"}, {}, "", ""}, late())).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(run(channel_->waitWorkloadExit(late())).error().code, ErrorCode::kFailedPrecondition) << "the hello's word";
}

TEST_F(HostileGuestTest, RefusesToAskForWhatCannotBe) {
  EXPECT_EQ(run(channel_->startExec({}, soon())).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(run(channel_->openGate({std::nullopt, {"novalue"}, ""}, soon())).error().code, ErrorCode::kInvalidArgument);
}

// Plays the guest's side of one exec: takes StartExec off the control connection and answers on a second one.
Task<Result<Stream>> attach(ByteStream* control, std::string path, std::string tail, char wrong) {
  GuestFrameParser parser;
  pb::AgentFrame request;
  while (true) {
    const auto space = parser.prepare();
    GS_CO_TRY(const auto count, co_await control->readSome(space));
    parser.commit(count);
    if (const auto frame = parser.next()) {
      request.ParseFromArray(frame->data(), static_cast<int>(frame->size()));
      break;
    }
  }
  auto key = request.start_exec().key();
  key[0] = static_cast<char>(key[0] ^ wrong);
  pb::GuestFrame first;
  first.mutable_exec_attach()->set_exec_id(request.start_exec().exec_id());
  first.mutable_exec_attach()->set_key(key);
  GS_CO_TRY(auto stream, co_await connectUnix(std::move(path), soon()));
  GS_CO_CHECK(co_await stream->write(frameOf(first) + tail));
  co_return std::move(stream);
}

struct Played {
  Result<std::unique_ptr<GuestExec>> exec = fail(ErrorCode::kInternal, "not run");
  Stream control;
  Stream data;
};

Task<void> keepAttached(Played* played, std::string path, std::string tail, char wrong) {
  auto stream = co_await attach(played->control.get(), std::move(path), std::move(tail), wrong);
  if (stream) played->data = std::move(*stream);
}

Task<void> playExec(GuestChannel* channel, TaskGroup* group, Played* played, std::string path, std::string tail,
                    char wrong) {
  group->spawn("guest", keepAttached(played, std::move(path), std::move(tail), wrong));
  played->exec = co_await channel->startExec({{"true"}, {}, "", ""},
                                               wrong != 0 ? Deadline::after(Millis(500)) : soon());
  co_await group->join();
}

class HostileExecTest : public HostileGuestTest {
 protected:
  void play(std::string tail, char wrong = 0) {
    played_.exec = fail(ErrorCode::kInternal, "not run");
    if (!played_.control) played_.control = dialWith(frameOf(hello()));
    run(playExec(channel_.get(), &group_, &played_, folder_.socketPath(), std::move(tail), wrong));
  }
  TaskGroup group_{loop_.get_executor()};
  Played played_;
};

TEST_F(HostileExecTest, AWrongKeyIsNoAttach) {
  play("", 1);
  EXPECT_EQ(played_.exec.error().code, ErrorCode::kDeadlineExceeded);
}

TEST_F(HostileExecTest, BadDataFramesEndTheExec) {
  pb::ExecFrame started;
  started.set_started_pid(5);
  pb::ExecFrame out;
  out.set_stdout_data("x");
  pb::ExecFrame ours;
  ours.set_stdin_data("x");
  pb::ExecFrame badExit;
  badExit.mutable_exit()->set_signal(1000);
  play(frameOf(out));
  EXPECT_EQ(played_.exec.error().code, ErrorCode::kDataLoss) << "output before the start";
  const FirstFrameRow rows[] = {
      {"started twice", frameOf(started)},
      {"a frame of the agent's", frameOf(ours)},
      {"an exit that cannot be", frameOf(badExit)},
      {"garbage", makeGuestFrame("\xff")},
      {"a frame over the limit", "\xff\xff\xff\xff"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    play(frameOf(started) + frameOf(out) + row.bytes);
    ASSERT_TRUE(played_.exec) << played_.exec.error().describe();
    EXPECT_EQ(std::get<ExecStdout>(run((*played_.exec)->next()).value()).data, "x");
    EXPECT_EQ(run((*played_.exec)->next()).error().code, ErrorCode::kDataLoss);
    EXPECT_EQ(run((*played_.exec)->next()).error().code, ErrorCode::kUnavailable);
  }
}

TEST_F(HostileExecTest, AFailedWriteLosesNeitherOutputNorExit) {
  pb::ExecFrame started;
  started.set_started_pid(5);
  pb::ExecFrame out;
  out.set_stdout_data("x");
  pb::ExecFrame exit;
  exit.mutable_exit()->set_exit_code(7);
  play(frameOf(started));
  ASSERT_TRUE(played_.exec);
  // As a process that ends before its input has come; the rest is in the socket, not read yet.
  ASSERT_TRUE(run(played_.data->write(frameOf(out) + frameOf(exit))));
  played_.data.reset();
  EXPECT_EQ(run((*played_.exec)->write("input")).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(run((*played_.exec)->writeEof()).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(std::get<ExecStdout>(run((*played_.exec)->next()).value()).data, "x");
  EXPECT_EQ(std::get<ProcessExit>(run((*played_.exec)->next()).value()).code, 7);
}

TEST_F(HostileExecTest, NothingComesAfterTheExit) {
  pb::ExecFrame started;
  started.set_started_pid(5);
  pb::ExecFrame exit;
  exit.mutable_exit()->set_exit_code(3);
  pb::ExecFrame out;
  out.set_stdout_data("late");
  play(frameOf(started) + frameOf(exit) + frameOf(out));
  ASSERT_TRUE(played_.exec);
  EXPECT_EQ(std::get<ProcessExit>(run((*played_.exec)->next()).value()).code, 3);
  EXPECT_EQ(run((*played_.exec)->next()).error().code, ErrorCode::kFailedPrecondition);
}

class HostileListTest : public HostileGuestTest {
 protected:
  // Asks for the sessions; `answer` makes the guest's answer to each question.
  Result<std::vector<SessionSummary>> list(std::function<pb::GuestFrame(std::uint64_t nonce)> answer) {
    pb::GuestFrame first = hello();
    first.mutable_hello()->add_features("sessions");
    control_ = dialWith(frameOf(first));
    EXPECT_TRUE(run(channel_->waitConnected(soon())));
    TaskGroup guest(loop_.get_executor());
    guest.spawn("guest", play(control_.get(), std::move(answer)));
    auto listed = run(channel_->listSessions(Deadline::after(Millis(2'000))));
    run(guest.cancelAndJoin());
    return listed;
  }
  Task<void> play(ByteStream* stream, std::function<pb::GuestFrame(std::uint64_t)> answer) {
    GuestFrameParser parser;
    while (true) {
      const auto count = co_await stream->readSome(parser.prepare());
      if (!count || *count == 0) co_return;
      parser.commit(*count);
      while (const auto payload = parser.next()) {
        pb::AgentFrame asked;
        EXPECT_TRUE(asked.ParseFromArray(payload->data(), static_cast<int>(payload->size())));
        ++questions_;
        if (!co_await stream->write(frameOf(answer(asked.list_sessions().nonce())))) co_return;
      }
    }
  }
  static pb::GuestFrame sessions(std::uint64_t nonce, int count) {
    pb::GuestFrame frame;
    frame.mutable_session_list()->set_nonce(nonce);
    for (int i = 0; i < count; ++i) frame.mutable_session_list()->add_sessions()->set_session_id("ses_same");
    return frame;
  }
  Stream control_;
  int questions_ = 0;
};

TEST_F(HostileListTest, AListWithoutAnEndIsLeftAtItsLimit) {
  const auto listed = list([](std::uint64_t nonce) { return sessions(nonce, 150); });
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->size(), 600U);
  EXPECT_EQ(questions_, 4);
}

TEST_F(HostileListTest, MoreAtOnceThanAllowedLosesTheConnection) {
  EXPECT_EQ(list([](std::uint64_t nonce) { return sessions(nonce, 151); }).error().code, ErrorCode::kUnavailable);
}

TEST_F(HostileListTest, AnotherAnswerThanWasAskedForIsNone) {
  EXPECT_EQ(list([](std::uint64_t nonce) {
              pb::GuestFrame frame;
              frame.mutable_pong()->set_nonce(nonce);
              return frame;
            }).error().code,
            ErrorCode::kDataLoss);
}

TEST_F(HostileListTest, AnAnswerToNobodyIsWaitedThrough) {
  EXPECT_EQ(list([](std::uint64_t nonce) { return sessions(nonce + 1, 1); }).error().code, ErrorCode::kDeadlineExceeded);
}

TEST_F(HostileGuestTest, AGuestThatKeepsNoSessionsIsNotAskedForThem) {
  const auto control = dialWith(frameOf(hello()));
  EXPECT_EQ(run(channel_->listSessions(soon())).error().reason, "reattach_unsupported");
  EXPECT_EQ(run(channel_->attachSession({"ses_one", {}, "", {}, {}}, soon())).error().reason, "reattach_unsupported");
  EXPECT_EQ(run(channel_->endSession("ses_one", {}, soon())).error().reason, "reattach_unsupported");
}

}  // namespace
}  // namespace gs
