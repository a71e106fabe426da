// The channel against the real guest, run as an ordinary child process: what differs from a sandbox is only that it is
// not process 1 and sees this machine's files.
#include <gtest/gtest.h>

#include <poll.h>
#include <sys/syscall.h>

#include "agent/guest_channel/guest_test_process.h"

namespace gs {
namespace {

using Phase = WorkloadState::Phase;

// What an exec gave until its end.
struct Outcome {
  std::string out;
  std::string err;
  std::vector<TerminalSize> sizes;
  ProcessExit exit;
};

Deadline soon() { return Deadline::after(Millis(20'000)); }
ProcessSpec shell(std::string script) { return {{"/bin/sh", "-c", std::move(script)}, {}, "", ""}; }

Task<Result<Outcome>> collect(std::unique_ptr<GuestExec> exec) {
  Outcome outcome;
  while (true) {
    GS_CO_TRY(auto event, co_await exec->next());
    if (auto* out = std::get_if<ExecStdout>(&event)) {
      outcome.out += out->data;
    } else if (auto* err = std::get_if<ExecStderr>(&event)) {
      outcome.err += err->data;
    } else if (const auto* size = std::get_if<TerminalSize>(&event)) {
      outcome.sizes.push_back(*size);
    } else {
      outcome.exit = std::get<ProcessExit>(event);
      co_return outcome;
    }
  }
}

Task<Result<Outcome>> runExec(GuestChannel* channel, ProcessSpec spec, std::string input) {
  GS_CO_TRY(auto exec, co_await channel->startExec(std::move(spec), soon()));
  // A process may end before it has been given all; its output and exit are there all the same.
  (void)co_await exec->write(std::move(input));
  (void)co_await exec->writeEof();
  co_return co_await collect(std::move(exec));
}

class GuestChannelTest : public ::testing::Test {
 protected:
  void SetUp() override { channel_ = listen(); }
  void TearDown() override {
    if (channel_) run(channel_->close());
  }
  std::unique_ptr<GuestChannel> listen() {
    auto channel = listenForGuest(loop_.get_executor(), {.socketPath = folder_.socketPath(), .sandboxId = "sbx_test"});
    EXPECT_TRUE(channel) << channel.error().describe();
    return std::move(*channel);
  }
  template <class T>
  T run(Task<T> task) {
    return runWithin(loop_, std::move(task));
  }
  void startGuest() {
    guest_.emplace(folder_.socketPath());
    channel_->setExpectedPid(guest_->pid());
  }
  // Most tests begin here: an idle sandbox with its gate open.
  void openIdle() {
    startGuest();
    const auto opened = run(channel_->openGate({std::nullopt, {"SHARED=one"}, "sbx_test"}, soon()));
    ASSERT_TRUE(opened) << opened.error().describe();
  }
  Outcome exec(ProcessSpec spec, std::string input = {}) {
    auto outcome = run(runExec(channel_.get(), std::move(spec), std::move(input)));
    EXPECT_TRUE(outcome) << outcome.error().describe();
    return outcome ? std::move(*outcome) : Outcome{};
  }
  // A workload that says when its first part is done, and an exec that waits for that.
  ProcessSpec readyShell(const std::string& first, const std::string& rest) {
    return shell(fmt::format("{}; echo > {}/ready; {}", first, folder_.path(), rest));
  }
  void waitReady() {
    exec(shell(fmt::format("while [ ! -e {}/ready ]; do sleep 0.01; done", folder_.path())));
  }

  asio::io_context loop_;
  GuestFolder folder_;
  std::optional<GuestProcess> guest_;
  std::unique_ptr<GuestChannel> channel_;
};

TEST_F(GuestChannelTest, SeparatesOutputFromErrorsAndGivesTheExitCode) {
  openIdle();
  const auto outcome = exec(shell("echo out; echo err >&2; exit 7"));
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(outcome.exit, (ProcessExit{7, 0, ""}));
}

TEST_F(GuestChannelTest, CarriesEveryByteBothWays) {
  openIdle();
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  EXPECT_EQ(exec({{"cat"}, {}, "", ""}, bytes).out, bytes);
}

TEST_F(GuestChannelTest, EndsAProgramThatReadsToTheEnd) {
  openIdle();
  EXPECT_EQ(exec({{"wc", "-c"}, {}, "", ""}).out, "0\n");
  EXPECT_EQ(exec({{"wc", "-c"}, {}, "", ""}, std::string(200'000, 'x')).out, "200000\n");
}

TEST_F(GuestChannelTest, IgnoresInputThatNobodyReads) {
  openIdle();
  EXPECT_EQ(exec(shell("exec 0<&-; sleep 0.1; echo done"), std::string(500'000, 'x')).out, "done\n");
}

Task<Result<ProcessExit>> startAndSignal(GuestChannel* channel, ProcessSpec spec, int signal) {
  GS_CO_TRY(auto exec, co_await channel->startExec(std::move(spec), soon()));
  GS_CO_CHECK(co_await exec->signal(signal));
  GS_CO_TRY(const auto outcome, co_await collect(std::move(exec)));
  co_return outcome.exit;
}

TEST_F(GuestChannelTest, TellsTheSignalThatEndedAProcess) {
  openIdle();
  EXPECT_EQ(run(startAndSignal(channel_.get(), {{"sleep", "100"}, {}, "", ""}, SIGTERM)).value(),
            (ProcessExit{0, SIGTERM, ""}));
  EXPECT_EQ(exec(shell("kill -KILL $$")).exit, (ProcessExit{0, SIGKILL, ""}));
  EXPECT_EQ(run(startAndSignal(channel_.get(), {{"sleep", "0"}, {}, "", ""}, 65)).error().code,
            ErrorCode::kInvalidArgument);
}

TEST_F(GuestChannelTest, SignalsReachTheWholeProcessGroup) {
  openIdle();
  // The shell waits for its child; both must go for the output to end.
  EXPECT_EQ(run(startAndSignal(channel_.get(), shell("sleep 100; true"), SIGKILL)).value().signal, SIGKILL);
}

struct StartFailureRow {
  std::string_view reason;
  ProcessSpec spec;
  int code;
  std::string_view sentence;
};

TEST_F(GuestChannelTest, SaysWhyAProcessCouldNotBeStarted) {
  openIdle();
  const StartFailureRow rows[] = {
      {"no such program", {{"no-such-program"}, {}, "", ""}, 127,
       "cannot run \"no-such-program\": not found in PATH \"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\""},
      {"no such file", {{"/no/such/file"}, {}, "", ""}, 127,
       "cannot run \"/no/such/file\": no such file, or the interpreter that it names is missing"},
      {"not executable", {{"/etc/passwd"}, {}, "", ""}, 126, "cannot run \"/etc/passwd\": Permission denied"},
      {"a directory", {{"/usr"}, {}, "", ""}, 126, "cannot run \"/usr\": Permission denied"},
      {"no such user", {{"true"}, {}, "", "nobody-of-that-name"}, 126,
       "no user \"nobody-of-that-name\" in the sandbox's /etc/passwd"},
      {"no such directory", {{"true"}, {}, "/no/such/directory", ""}, 126,
       "cannot enter working directory \"/no/such/directory\": No such file or directory"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.reason);
    EXPECT_EQ(exec(row.spec).exit, (ProcessExit{row.code, 0, std::string(row.sentence)}));
  }
}

TEST_F(GuestChannelTest, RunsAsTheUserThatIsAskedFor) {
  if (::geteuid() != 0) {
    std::puts("not root: becoming another user cannot be tried");
    return;
  }
  openIdle();
  const auto outcome = exec({{"sh", "-c", "id -u; id -g; echo $HOME $USER"}, {}, "", "daemon"});
  EXPECT_EQ(outcome.out, "1\n1\n/usr/sbin daemon\n");
  EXPECT_EQ(exec({{"sh", "-c", "id -u; id -g; id -G; echo $HOME"}, {}, "", "4711:4712"}).out, "4711\n4712\n4712\n/\n");
}

TEST_F(GuestChannelTest, GivesProcessesTheirEnvironmentAndDirectory) {
  openIdle();
  EXPECT_EQ(exec({{"sh", "-c", "echo $SHARED $OWN; pwd"}, {"OWN=two"}, "/usr", ""}).out, "one two\n/usr\n");
  EXPECT_EQ(exec({{"sh", "-c", "echo $SHARED"}, {"SHARED=mine"}, "", ""}).out, "mine\n");
}

TEST_F(GuestChannelTest, GivesProcessesNothingOfItsOwn) {
  openIdle();
  // Descriptors 0..2 and the one of the listing; default signals; a session and group of its own.
  EXPECT_EQ(exec({{"ls", "/proc/self/fd"}, {}, "", ""}).out, "0\n1\n2\n3\n");
  const auto status = exec({{"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}, {}, "", ""}).out;
  EXPECT_EQ(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  EXPECT_EQ(exec(shell("[ $(ps -o sid= -p $$) = $$ ] && [ $(ps -o pgid= -p $$) = $$ ] && echo own")).out, "own\n");
  EXPECT_EQ(exec({{"cat", "/proc/self/oom_score_adj"}, {}, "", ""}).out, "0\n");
}

TEST_F(GuestChannelTest, CarriesSixtyFourMebibytes) {
  openIdle();
  const auto start = std::chrono::steady_clock::now();
  const auto outcome = exec({{"head", "-c", "67108864", "/dev/zero"}, {}, "", ""});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(outcome.out.size(), 64U << 20);
  RecordProperty("mebibytesPerSecond", static_cast<int>(64 / took.count()));
  std::printf("64 MiB out in %.0f ms\n", took.count() * 1000);
}

TEST_F(GuestChannelTest, DeliversAllOutputBeforeTheExit) {
  openIdle();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(exec(shell("head -c 300000 /dev/zero; head -c 1000 /dev/zero >&2")).out.size(), 300'000U);
  }
}

TEST_F(GuestChannelTest, DoesNotWaitForABackgroundProcessThatHoldsTheOutput) {
  openIdle();
  const auto start = std::chrono::steady_clock::now();
  const auto outcome = exec(shell("sleep 30 & echo started"));
  EXPECT_EQ(outcome.out, "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  // One that writes for ever does not either.
  const auto chatty = exec(shell("(while true; do echo x; sleep 0.05; done) & exit 3"));
  EXPECT_EQ(chatty.exit.code, 3);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

Task<Result<int>> runMany(GuestChannel* channel, TaskGroup* group, int count) {
  struct Tally {
    int good = 0;
    static Task<void> one(GuestChannel* c, int i, std::shared_ptr<Tally> tally) {
      const auto outcome = co_await runExec(c, shell(fmt::format("cat; exit {}", i % 200)), fmt::format("input {}", i));
      if (outcome && outcome->out == fmt::format("input {}", i) && outcome->exit.code == i % 200) ++tally->good;
    }
  };
  const auto tally = std::make_shared<Tally>();
  for (int i = 0; i < count; ++i) group->spawn("exec", Tally::one(channel, i, tally));
  co_await group->join();
  co_return tally->good;
}

TEST_F(GuestChannelTest, RunsAHundredExecsAtOnce) {
  openIdle();
  TaskGroup group(loop_.get_executor());
  EXPECT_EQ(run(runMany(channel_.get(), &group, 100)).value(), 100);
}

TEST_F(GuestChannelTest, RunsNothingBeforeTheGateIsOpen) {
  startGuest();
  const auto refused = run(channel_->startExec({{"true"}, {}, "", ""}, soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_NE(refused.error().message.find("the gate is closed"), std::string::npos);
  EXPECT_FALSE(channel_->state().gateOpen);
}

TEST_F(GuestChannelTest, StartsTheWorkloadOnceAndTellsItsEnd) {
  startGuest();
  const auto opened = run(channel_->openGate({shell("sleep 0.2; exit 5"), {}, ""}, soon()));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->phase, Phase::kRunning);
  const auto again = run(channel_->openGate({shell("exit 9"), {}, ""}, soon()));
  EXPECT_EQ(again.value(), *opened);
  EXPECT_EQ(run(channel_->waitWorkloadExit(soon())).value(), (ProcessExit{5, 0, ""}));
  EXPECT_EQ(channel_->state().workload.phase, Phase::kExited);
}

TEST_F(GuestChannelTest, TellsWhyTheWorkloadCouldNotBeStarted) {
  startGuest();
  const auto opened = run(channel_->openGate({ProcessSpec{{"no-such-program"}, {}, "", ""}, {}, ""}, soon()));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->phase, Phase::kExited);
  EXPECT_EQ(opened->exit.code, kExitNotFound);
  EXPECT_NE(opened->exit.startError.find("not found in PATH"), std::string::npos);
  EXPECT_EQ(exec(shell("echo still here")).out, "still here\n");
}

TEST_F(GuestChannelTest, AnIdleSandboxHasNoWorkloadToWaitFor) {
  openIdle();
  EXPECT_EQ(run(channel_->waitWorkloadExit(soon())).error().code, ErrorCode::kFailedPrecondition);
}

TEST_F(GuestChannelTest, StopsTheWorkloadByForceWhenItDoesNotHear) {
  startGuest();
  ASSERT_TRUE(run(channel_->openGate({readyShell("trap '' TERM", "while true; do sleep 1; done"), {}, ""}, soon())));
  waitReady();
  ASSERT_TRUE(run(channel_->stopWorkload(Millis(60'000))));
  ASSERT_TRUE(run(channel_->stopWorkload(Millis(50))));  // the shorter grace counts
  EXPECT_EQ(run(channel_->waitWorkloadExit(soon())).value(), (ProcessExit{0, SIGKILL, ""}));
  EXPECT_FALSE(channel_->state().workload.endedWithSandbox);
}

TEST_F(GuestChannelTest, TheGuestStopsTheWorkloadAndLeavesOnSigterm) {
  startGuest();
  ASSERT_TRUE(run(channel_->openGate({readyShell("trap 'exit 4' TERM", "while true; do sleep 0.02; done"), {}, ""}, soon())));
  waitReady();
  ::kill(guest_->pid(), SIGTERM);
  EXPECT_EQ(run(channel_->waitWorkloadExit(soon())).value(), (ProcessExit{4, 0, ""}));
  EXPECT_TRUE(channel_->state().workload.endedWithSandbox);
  EXPECT_EQ(guest_->wait(), 4);
}

TEST_F(GuestChannelTest, AReconnectAfterARestartFindsTheSameWorkload) {
  startGuest();
  const auto before = run(channel_->openGate({shell("sleep 100"), {}, ""}, soon())).value();
  run(channel_->close());
  channel_ = listen();
  channel_->setExpectedPid(guest_->pid());
  ASSERT_TRUE(run(channel_->waitConnected(soon())));
  EXPECT_TRUE(channel_->state().gateOpen);
  EXPECT_EQ(channel_->state().workload, before);
  EXPECT_EQ(exec(shell("echo alive")).out, "alive\n");
}

TEST_F(GuestChannelTest, AnEndDuringARestartIsToldAfterIt) {
  startGuest();
  ASSERT_TRUE(run(channel_->openGate({shell("sleep 0.1; exit 6"), {}, ""}, soon())));
  run(channel_->close());
  channel_ = listen();
  channel_->setExpectedPid(guest_->pid());
  EXPECT_EQ(run(channel_->waitWorkloadExit(soon())).value(), (ProcessExit{6, 0, ""}));
}

// Waits for the kernel's word that a process is gone; not through the loop, which has nothing to do with it.
bool goneWithin(int pid, Millis limit) {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
  const bool gone = ::poll(&waited, 1, static_cast<int>(limit.count())) == 1;
  ::close(fd);
  return gone;
}

Task<Result<int>> startThenDrop(GuestChannel* channel, ProcessSpec spec) {
  GS_CO_TRY(auto exec, co_await channel->startExec(std::move(spec), soon()));
  // Until it says that it has come up.
  GS_CO_TRY([[maybe_unused]] const auto ready, co_await exec->next());
  co_return exec->pid();
}

TEST_F(GuestChannelTest, AProcessWhoseConnectionIsDroppedHangsUp) {
  openIdle();
  const auto polite = run(startThenDrop(channel_.get(), shell("echo up; sleep 100")));
  ASSERT_TRUE(polite) << polite.error().describe();
  EXPECT_TRUE(goneWithin(*polite, Millis(1500)));
  const auto deaf = run(startThenDrop(channel_.get(), shell("trap '' HUP; echo up; while true; do sleep 1; done")));
  ASSERT_TRUE(deaf);
  EXPECT_FALSE(goneWithin(*deaf, Millis(1000))) << "it has two seconds";
  EXPECT_TRUE(goneWithin(*deaf, Millis(20'000)));
}

ProcessSpec inTerminal(ProcessSpec spec, TerminalSize size = {24, 80}) {
  spec.terminal = size;
  return spec;
}

TEST_F(GuestChannelTest, GivesAProcessATerminalOfItsOwn) {
  openIdle();
  const auto seen = exec(inTerminal(shell("test -t 0 && test -t 1 && test -t 2 && stty size && ps -o tty= -p $$ && echo $TERM; exit 3"), {31, 97}));
  EXPECT_TRUE(seen.out.starts_with("31 97\r\npts/")) << seen.out;
  EXPECT_TRUE(seen.out.ends_with("xterm-256color\r\n")) << seen.out;
  EXPECT_EQ(seen.err, "");
  EXPECT_EQ(seen.exit.code, 3);
  EXPECT_EQ(exec(shell("tty")).out, "not a tty\n") << "only who asks has one";
}

TEST_F(GuestChannelTest, RunsTheLoginShellWhenNoProgramIsNamed) {
  openIdle();
  const auto seen = exec(inTerminal({{}, {"PS1=", "HISTFILE="}, "", "root"}), "echo login:$0; exit 5\n");
  EXPECT_NE(seen.out.find("login:-"), std::string::npos) << "a login shell's name begins with a hyphen: " << seen.out;
  EXPECT_EQ(seen.exit.code, 5);
  EXPECT_FALSE(run(runExec(channel_.get(), {{}, {}, "", ""}, ""))) << "without a terminal there must be a program";
}

Task<Result<Outcome>> typeWhenReady(GuestChannel* channel, ProcessSpec spec, std::string keys) {
  GS_CO_TRY(auto exec, co_await channel->startExec(std::move(spec), soon()));
  for (std::string shown; shown.find("ready") == std::string::npos;) {
    GS_CO_TRY(auto event, co_await exec->next());
    if (!std::holds_alternative<ExecStdout>(event)) co_return fail(ErrorCode::kInternal, "it ended early");
    shown += std::get<ExecStdout>(event).data;
  }
  GS_CO_CHECK(co_await exec->write(std::move(keys)));
  co_return co_await collect(std::move(exec));
}

TEST_F(GuestChannelTest, CarriesEveryByteThroughARawTerminal) {
  openIdle();
  std::string all;
  std::string numbers;
  for (int value = 0; value < 256; ++value) {
    all += static_cast<char>(value);
    numbers += fmt::format(" {}", value);
  }
  const auto typed = run(typeWhenReady(
      channel_.get(), inTerminal(shell("stty raw -echo; printf ready; head -c 256 | od -An -v -tu1 | tr -s ' \\n' ' '")), all));
  ASSERT_TRUE(typed) << typed.error().describe();
  EXPECT_EQ(typed->out, numbers + " ");
  const auto shown = exec(inTerminal(shell("stty raw; printf '\\001\\000\\377\\r\\n\\003'")));
  EXPECT_EQ(shown.out, std::string("\1\0\377\r\n\3", 6));
}

Task<Result<Outcome>> resizeAndEnd(GuestChannel* channel) {
  GS_CO_TRY(auto exec, co_await channel->startExec(
                           inTerminal(shell("trap 'stty size' WINCH; echo up; while :; do read -r line; test \"$line\" = end && exit 0; done")), soon()));
  GS_CO_TRY([[maybe_unused]] const auto up, co_await exec->next());
  for (std::uint32_t i = 1; i <= 1000; ++i) GS_CO_CHECK(co_await exec->resize({i, 2 * i}));
  if (co_await exec->resize({0, 1})) co_return fail(ErrorCode::kInternal, "a terminal of no rows");
  GS_CO_CHECK(co_await exec->write("end\n"));
  co_return co_await collect(std::move(exec));
}

TEST_F(GuestChannelTest, AnswersAStormOfResizesWithTheLastSize) {
  openIdle();
  const auto seen = run(resizeAndEnd(channel_.get()));
  ASSERT_TRUE(seen) << seen.error().describe();
  ASSERT_FALSE(seen->sizes.empty());
  EXPECT_LE(seen->sizes.size(), 1000U);
  EXPECT_EQ(seen->sizes.back(), (TerminalSize{1000, 2000}));
  EXPECT_NE(seen->out.find("1000 2000"), std::string::npos) << "the program heard of it";
}

TEST_F(GuestChannelTest, TypesEndOfFileIntoATerminal) {
  openIdle();
  const auto seen = exec(inTerminal({{"cat"}, {}, "", ""}), "line\n");
  EXPECT_EQ(seen.exit.code, 0) << "cat came to the end of its input";
  EXPECT_NE(seen.out.find("line\r\n"), std::string::npos);
}

Task<Result<Outcome>> interruptForeground(GuestChannel* channel) {
  GS_CO_TRY(auto exec, co_await channel->startExec(
                           inTerminal(shell("set -m; trap '' INT; (trap - INT; echo up; exec sleep 100); echo ended $?")), soon()));
  GS_CO_TRY([[maybe_unused]] const auto up, co_await exec->next());
  GS_CO_CHECK(co_await exec->signal(2));
  co_return co_await collect(std::move(exec));
}

TEST_F(GuestChannelTest, SignalsOfATerminalAreForItsForeground) {
  openIdle();
  const auto seen = run(interruptForeground(channel_.get()));
  ASSERT_TRUE(seen) << seen.error().describe();
  EXPECT_NE(seen->out.find("ended 130"), std::string::npos) << seen->out;
  EXPECT_EQ(seen->exit.code, 0) << "the shell itself was not in the foreground";
}

TEST_F(GuestChannelTest, ADroppedTerminalHangsUpItsForeground) {
  openIdle();
  const auto pid = run(startThenDrop(channel_.get(), inTerminal(shell("set -m; (trap '' HUP; echo up; exec sleep 4321)"))));
  ASSERT_TRUE(pid) << pid.error().describe();
  EXPECT_TRUE(goneWithin(*pid, Millis(20'000)));
  const auto look = shell("for i in $(seq 100); do pgrep -f '[s]leep 4321' > /dev/null || exit 0; sleep 0.1; done; exit 1");
  EXPECT_EQ(exec(look).exit.code, 0) << "deaf to HUP, but not to KILL";
}

Task<Result<bool>> stallThenDrop(GuestChannel* channel) {
  // Both ways stuck: it reads nothing and writes without end.
  GS_CO_TRY(auto exec, co_await channel->startExec({{"yes"}, {}, "", ""}, soon()));
  const int pid = exec->pid();
  (void)co_await withDeadline(Deadline::after(Millis(300)), "stdin", exec->write(std::string(8 << 20, 'x')));
  GS_CO_TRY(const auto other, co_await runExec(channel, shell("echo through"), ""));
  if (other.out != "through\n") co_return false;
  exec.reset();
  co_return goneWithin(pid, Millis(20'000));
}

TEST_F(GuestChannelTest, AStuckExecHoldsUpNothingElseAndCanBeDropped) {
  openIdle();
  const auto memoryBefore = guest_->residentKib();
  EXPECT_TRUE(run(stallThenDrop(channel_.get())).value());
  EXPECT_LT(guest_->residentKib(), memoryBefore + 1024);
}

TEST_F(GuestChannelTest, ReapsOrphans) {
  openIdle();
  EXPECT_EQ(exec(shell("for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; echo ok")).out, "ok\n");
  EXPECT_EQ(exec(shell("sleep 0.3; ps -o stat= --ppid $PPID | grep -c Z || true")).out, "0\n");
}

TEST_F(GuestChannelTest, HoldsTheGuestUntilItsPidIsKnownAndDropsOthers) {
  guest_.emplace(folder_.socketPath());
  EXPECT_EQ(run(channel_->waitConnected(Deadline::after(Millis(200)))).error().code, ErrorCode::kDeadlineExceeded);
  channel_->setExpectedPid(guest_->pid() + 1);
  EXPECT_EQ(run(channel_->waitConnected(Deadline::after(Millis(200)))).error().code, ErrorCode::kDeadlineExceeded);
  channel_->setExpectedPid(guest_->pid());
  EXPECT_TRUE(run(channel_->waitConnected(soon())));
}

TEST_F(GuestChannelTest, EndsWaitingCallsWhenTheGuestDies) {
  openIdle();
  auto exec = run(channel_->startExec({{"sleep", "100"}, {}, "", ""}, soon()));
  ASSERT_TRUE(exec);
  guest_->kill();
  EXPECT_EQ(run((*exec)->next()).error().code, ErrorCode::kUnavailable);
  while (channel_->state().connected) run(channel_->waitChange(channel_->state().revision, soon()));
  EXPECT_EQ(run(channel_->ping(soon())).error().code, ErrorCode::kUnavailable);
  ::kill(-(*exec)->pid(), SIGKILL);
}

Task<std::vector<double>> measure(GuestChannel* channel, int count) {
  std::vector<double> micros;
  for (int i = 0; i < count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    auto exec = co_await channel->startExec({{"/bin/true"}, {}, "", ""}, soon());
    if (!exec || !co_await collect(std::move(*exec))) co_return micros;
    micros.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::ranges::sort(micros);
  co_return micros;
}

TEST_F(GuestChannelTest, ExecTakesMillisecondsAtMost) {
  openIdle();
  const auto micros = run(measure(channel_.get(), 300));
  ASSERT_EQ(micros.size(), 300U);
  std::printf("exec of /bin/true: p50 %.0f us, p95 %.0f us; ping %lld us; guest RSS %ld KiB\n", micros[150], micros[285],
              static_cast<long long>(run(channel_->ping(soon())).value().count()), guest_->residentKib());
  EXPECT_LT(micros[150], 50'000) << "an order of magnitude above what it takes on a busy machine";
}

}  // namespace
}  // namespace gs
