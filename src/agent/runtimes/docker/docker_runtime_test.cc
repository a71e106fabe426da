// Against the real engine at /var/run/docker.sock. Every container and image is this test's own, and is removed.
#include "agent/runtimes/docker/docker_runtime.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "agent/runtimes/docker/container_config.h"
#include "agent/runtimes/docker/require_docker.h"
#include "agent/runtimes/docker/test_image.h"
#include "async/run_task.h"
#include "async/with_deadline.h"
#include "base/encoding.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

Deadline soon() {
  return Deadline::after(Millis(60'000));
}

std::string readFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The value of "Name:\tvalue" in /proc/<pid>/status.
std::string statusField(int pid, std::string_view name) {
  const auto text = readFile(fmt::format("/proc/{}/status", pid));
  const auto at = text.find(fmt::format("\n{}:", name));
  if (at == std::string::npos) return "";
  const auto from = text.find_first_not_of(" \t", at + name.size() + 2);
  return text.substr(from, text.find('\n', from) - from);
}

class DockerRuntimeTest : public testing::Test {
 protected:
  void SetUp() override {
    GS_REQUIRE_DOCKER();
    if (!fs::exists("/bin/busybox")) GTEST_FAIL() << "needs /bin/busybox (package busybox-static)";
    use({"/bin/busybox", "sleep", "600"});
    folder_ = fmt::format("/tmp/gs-runtime-{}", randomIdChars(8));
    fs::create_directories(folder_ / "run");
    std::ofstream(folder_ / "guest") << "stand-in";
    const auto mark = randomIdChars(12);
    image_ = makeTestImage(mark);
    reference_ = "gstacks.local/test:" + mark;
    ASSERT_TRUE(run(docker_->load(std::make_unique<StringSource>(image_.archive(reference_)), soon())));
    plan_.sandboxId = SandboxId::make();
    plan_.hostId = HostId::make();
    plan_.generation = 3;
    plan_.spec.name = "runtime-test";
    plan_.spec.resources = {500, 64ULL << 20, 100};
    plan_.image = {"docker", reference_, Digest::of("m"), image_.configDigest, {}};
    plan_.mounts = {folder_ / "guest", folder_ / "run"};
  }
  void TearDown() override {
    if (!docker_ || reference_.empty()) return;
    EXPECT_TRUE(run(docker_->remove(plan_.sandboxId, soon())));
    EXPECT_TRUE(run(docker_->removeImage(reference_, soon())));
    EXPECT_TRUE(run(docker_->removeImage(reference_, soon()))) << "unknown is success";
    fs::remove_all(folder_);
  }
  void use(std::vector<std::string> entrypoint) {
    docker_ =
        std::make_unique<DockerRuntime>(loop_.get_executor(), DockerSettings{kTestDockerSocket, std::move(entrypoint)});
  }
  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }
  RuntimeContainer inspect() {
    auto found = run(docker_->inspect(plan_.sandboxId, soon()));
    if (!found || !*found) {
      ADD_FAILURE() << (found ? "absent" : found.error().describe());
      return {};
    }
    return **found;
  }
  void createAndStart() {
    ASSERT_TRUE(run(docker_->create(plan_, soon())));
    const auto started = run(docker_->start(plan_.sandboxId, soon()));
    ASSERT_TRUE(started) << started.error().describe();
  }

  asio::io_context loop_;
  std::unique_ptr<DockerRuntime> docker_;
  TestImage image_;
  std::string reference_;
  fs::path folder_;
  ContainerPlan plan_;
};

TEST_F(DockerRuntimeTest, GoesThroughLifeAndEveryStepMayBeRepeated) {
  for (int i = 0; i < 2; ++i) {
    const auto created = run(docker_->create(plan_, soon()));
    ASSERT_TRUE(created) << created.error().describe();
  }
  auto seen = inspect();
  EXPECT_EQ(seen.phase, ContainerPhase::kCreated);
  EXPECT_EQ(seen.generation, 3u);
  EXPECT_EQ(seen.hostId, plan_.hostId);
  EXPECT_EQ(seen.pid, 0);
  EXPECT_FALSE(seen.startedAt);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(docker_->start(plan_.sandboxId, soon())));
  ASSERT_TRUE(run(docker_->create(plan_, soon()))) << "a running one is success as well";
  seen = inspect();
  EXPECT_EQ(seen.phase, ContainerPhase::kRunning);
  EXPECT_GT(seen.pid, 0);
  EXPECT_TRUE(seen.startedAt);

  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(docker_->stop(plan_.sandboxId, Millis(0), soon())));
  seen = inspect();
  EXPECT_EQ(seen.phase, ContainerPhase::kExited);
  EXPECT_EQ(seen.exitCode, 137);
  EXPECT_EQ(seen.pid, 0);
  EXPECT_FALSE(seen.oomKilled);
  EXPECT_TRUE(seen.finishedAt);
  ASSERT_TRUE(run(docker_->start(plan_.sandboxId, soon()))) << "starts again";
  EXPECT_EQ(inspect().phase, ContainerPhase::kRunning);

  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(docker_->remove(plan_.sandboxId, soon()))) << "also while it runs";
  const auto gone = run(docker_->inspect(plan_.sandboxId, soon()));
  ASSERT_TRUE(gone);
  EXPECT_FALSE(gone->has_value());
}

TEST_F(DockerRuntimeTest, AnswersForUnknownIds) {
  const auto id = SandboxId::make();
  EXPECT_EQ(run(docker_->start(id, soon())).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(run(docker_->stop(id, Millis(10), soon())).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(run(docker_->remove(id, soon())));
  EXPECT_FALSE(run(docker_->inspect(id, soon()))->has_value());
  EXPECT_TRUE(run(docker_->list(HostId::make(), soon()))->empty());
  EXPECT_FALSE(run(docker_->findImage("gstacks.local/test:none", soon()))->has_value());
  plan_.image.config = Digest::of("no such image");
  EXPECT_EQ(run(docker_->create(plan_, soon())).error().reason, "blueprint_missing");
}

TEST_F(DockerRuntimeTest, RefusesAnotherGenerationOrHost) {
  ASSERT_TRUE(run(docker_->create(plan_, soon())));
  auto other = plan_;
  other.generation = 4;
  auto refused = run(docker_->create(other, soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kAborted);
  EXPECT_EQ(refused.error().reason, "generation_differs");
  other = plan_;
  other.hostId = HostId::make();
  refused = run(docker_->create(other, soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "host_differs");
  EXPECT_EQ(inspect().generation, 3u) << "nothing was touched";
}

TEST_F(DockerRuntimeTest, NeverTouchesAContainerThatItDidNotMake) {
  DockerEngine engine(loop_.get_executor(), kTestDockerSocket);
  auto config = containerConfig(plan_, {"/bin/busybox"});
  config["Labels"] = {{"made.by", "somebody"}};
  ASSERT_TRUE(run(engine.createContainer(containerName(plan_.sandboxId), config, soon())));
  EXPECT_EQ(run(docker_->inspect(plan_.sandboxId, soon())).error().reason, "container_foreign");
  EXPECT_EQ(run(docker_->create(plan_, soon())).error().reason, "container_foreign");
  EXPECT_EQ(run(docker_->start(plan_.sandboxId, soon())).error().reason, "container_foreign");
  EXPECT_EQ(run(docker_->stop(plan_.sandboxId, Millis(0), soon())).error().reason, "container_foreign");
  EXPECT_EQ(run(docker_->remove(plan_.sandboxId, soon())).error().reason, "container_foreign");
  EXPECT_TRUE(run(engine.removeContainer(containerName(plan_.sandboxId), soon())));
}

TEST_F(DockerRuntimeTest, ListsItsHostsContainersOnly) {
  auto other = plan_;
  other.sandboxId = SandboxId::make();
  other.hostId = HostId::make();
  ASSERT_TRUE(run(docker_->create(plan_, soon())));
  ASSERT_TRUE(run(docker_->create(other, soon())));
  const auto listed = run(docker_->list(plan_.hostId, soon()));
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().sandboxId, plan_.sandboxId);
  EXPECT_EQ(listed->front().phase, ContainerPhase::kCreated);
  EXPECT_EQ(listed->front().generation, 3u);
  EXPECT_TRUE(run(docker_->remove(other.sandboxId, soon())));
}

TEST_F(DockerRuntimeTest, LeavesOutContainersWhoseImageOnlyBearsItsLabels) {
  // The test image claims gstacks.managed=1 and this host.
  const auto claimed = HostId::trusted("hst_00000000000000000000");
  DockerEngine engine(loop_.get_executor(), kTestDockerSocket);
  const auto name = "gs-stray-" + randomIdChars(8);
  ASSERT_TRUE(run(engine.createContainer(
      name, {{"Image", image_.configDigest.text()}, {"HostConfig", {{"NetworkMode", "none"}}}}, soon())));
  const auto listed = run(docker_->list(claimed, soon()));
  ASSERT_TRUE(listed);
  EXPECT_TRUE(listed->empty());
  EXPECT_TRUE(run(engine.removeContainer(name, soon())));
}

TEST_F(DockerRuntimeTest, StopsPolitelyAndThenNot) {
  use({"/bin/busybox", "sh", "-c", "trap 'exit 7' TERM; while :; do busybox sleep 0.05; done"});
  createAndStart();
  // A first process ignores signals that it has no handler for, so SIGTERM must not come before the shell's trap is
  // set.
  const auto catchesTerm = [&] {
    const auto caught = std::strtoull(statusField(inspect().pid, "SigCgt").c_str(), nullptr, 16);
    return (caught >> (SIGTERM - 1)) % 2 == 1;
  };
  const auto patience = soon();
  while (!catchesTerm() && !patience.expired()) {
  }
  ASSERT_TRUE(run(docker_->stop(plan_.sandboxId, Millis(20'000), soon())));
  EXPECT_EQ(inspect().exitCode, 7);
  ASSERT_TRUE(run(docker_->remove(plan_.sandboxId, soon())));

  use({"/bin/busybox", "sleep", "600"});  // has no handler for SIGTERM
  createAndStart();
  ASSERT_TRUE(run(docker_->stop(plan_.sandboxId, Millis(150), soon())));
  EXPECT_EQ(inspect().exitCode, 137);
}

TEST_F(DockerRuntimeTest, TellsWhyTheFirstProcessCannotStart) {
  use({"/no/such/program"});
  ASSERT_TRUE(run(docker_->create(plan_, soon())));
  const auto refused = run(docker_->start(plan_.sandboxId, soon()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(refused.error().reason, "start_refused");
}

TEST_F(DockerRuntimeTest, RefusesMoreThanTheHostHas) {
  plan_.spec.resources.cpuMillis = 64'000;
  EXPECT_EQ(run(docker_->create(plan_, soon())).error().code, ErrorCode::kInvalidArgument);
  plan_.spec.resources.cpuMillis = 500;
  plan_.mounts.guestBinary = folder_ / "missing";
  EXPECT_EQ(run(docker_->create(plan_, soon())).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(DockerRuntimeTest, SealsTheContainer) {
  createAndStart();
  const int pid = inspect().pid;
  ASSERT_GT(pid, 0);
  // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10, SYS_CHROOT 18.
  constexpr std::string_view kExpected = "00000000000404fb";
  EXPECT_EQ(statusField(pid, "CapEff"), kExpected);
  EXPECT_EQ(statusField(pid, "CapPrm"), kExpected);
  EXPECT_EQ(statusField(pid, "CapBnd"), kExpected);
  EXPECT_EQ(statusField(pid, "NoNewPrivs"), "1");
  EXPECT_EQ(statusField(pid, "Seccomp"), "2") << "a filter is installed";
  EXPECT_EQ(readFile(fmt::format("/proc/{}/oom_score_adj", pid)), "500\n");

  // Only lo: two header lines and one interface.
  const auto devices = readFile(fmt::format("/proc/{}/net/dev", pid));
  EXPECT_EQ(std::ranges::count(devices, '\n'), 3) << devices;
  EXPECT_TRUE(devices.contains("lo:"));
  EXPECT_EQ(std::ranges::count(readFile(fmt::format("/proc/{}/net/route", pid)), '\n'), 1) << "no route";

  for (const char* ns : {"net", "pid", "mnt", "ipc", "uts", "cgroup"}) {
    EXPECT_NE(fs::read_symlink(fmt::format("/proc/{}/ns/{}", pid, ns)),
              fs::read_symlink(fmt::format("/proc/self/ns/{}", ns)))
        << ns << " namespace is the host's";
  }
  const auto mounts = readFile(fmt::format("/proc/{}/mounts", pid));
  for (const auto target : {kGuestTarget, kRunTarget}) {
    const auto at = mounts.find(fmt::format(" {} ", target));
    ASSERT_NE(at, std::string::npos) << mounts;
    const auto line = mounts.substr(at, mounts.find('\n', at) - at);
    EXPECT_TRUE(line.contains(" ro,")) << line;
  }
  EXPECT_FALSE(mounts.contains("docker.sock"));
}

TEST_F(DockerRuntimeTest, LooksSealedFromTheInside) {
  // Each check ends the script with its own code; the container's exit code is the answer.
  use({"/bin/busybox", "sh", "-c", R"sh(
    [ "$(busybox id -u):$(busybox id -g)" = 0:0 ] || exit 11
    busybox touch /.gstacks/run/x 2>/dev/null && exit 12
    busybox touch /.gstacks/guest 2>/dev/null && exit 13
    [ "$(busybox cat /.gstacks/guest)" = stand-in ] || exit 14
    [ "$(busybox ls /sys/class/net)" = lo ] || exit 15
    [ "$(busybox hostname)" = runtime-test ] || exit 16
    busybox mount -t tmpfs none /tmp 2>/dev/null && exit 17
    busybox mknod /dev/x b 7 0 2>/dev/null && exit 18
    busybox chown 1:1 /etc/mark || exit 19
    [ "$(busybox pwd)" = / ] || exit 20
    exit 0)sh"});
  createAndStart();
  DockerEngine engine(loop_.get_executor(), kTestDockerSocket);
  ASSERT_TRUE(run(engine.waitUntilEnded(containerName(plan_.sandboxId), soon())));
  EXPECT_EQ(inspect().exitCode, 0);
}

TEST_F(DockerRuntimeTest, KillsWhatUsesMoreMemoryThanItHas) {
  plan_.spec.resources.memoryBytes = 16ULL << 20;
  // The value doubles until the limit is met.
  use({"/bin/busybox", "sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"});
  createAndStart();
  DockerEngine engine(loop_.get_executor(), kTestDockerSocket);
  ASSERT_TRUE(run(engine.waitUntilEnded(containerName(plan_.sandboxId), soon())));
  EXPECT_TRUE(inspect().oomKilled);
  EXPECT_EQ(inspect().exitCode, 137);
}

Task<Result<SandboxId>> startAndHear(DockerRuntime* docker, ContainerPlan plan) {
  GS_CO_TRY(auto watch, co_await docker->watch(plan.hostId, soon()));
  GS_CO_CHECK(co_await docker->create(plan, soon()));
  GS_CO_CHECK(co_await docker->start(plan.sandboxId, soon()));
  co_return co_await withDeadline(soon(), "hearing of the start", watch->next());
}

TEST_F(DockerRuntimeTest, ReportsChanges) {
  const auto heard = run(startAndHear(docker_.get(), plan_));
  ASSERT_TRUE(heard) << heard.error().describe();
  EXPECT_EQ(*heard, plan_.sandboxId);
}

Task<Status> createTwiceAtOnce(DockerRuntime* docker, ContainerPlan plan) {
  using namespace boost::asio::experimental::awaitable_operators;
  auto [a, b] = co_await (docker->create(plan, soon()) && docker->create(plan, soon()));
  if (!a) co_return a;
  co_return b;
}

TEST_F(DockerRuntimeTest, TwoCreatesAtOnceMakeOneContainer) {
  const auto both = run(createTwiceAtOnce(docker_.get(), plan_));
  ASSERT_TRUE(both) << both.error().describe();
  EXPECT_EQ(run(docker_->list(plan_.hostId, soon()))->size(), 1u);
}

TEST_F(DockerRuntimeTest, LoadsOnlyWhatIsAnImage) {
  for (const auto& garbage : {std::string(4096, 'x'), std::string(), std::string(1024, '\0')}) {
    const auto refused = run(docker_->load(std::make_unique<StringSource>(garbage), soon()));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kDataLoss) << refused.error().describe();
  }
  EXPECT_EQ(**run(docker_->findImage(reference_, soon())), image_.configDigest);
  ASSERT_TRUE(run(docker_->create(plan_, soon())));
  EXPECT_EQ(run(docker_->removeImage(reference_, soon())).error().code, ErrorCode::kFailedPrecondition) << "in use";
}

TEST_F(DockerRuntimeTest, IsHealthy) {
  const auto report = run(docker_->health(soon()));
  EXPECT_EQ(report.health.state, RuntimeState::kHealthy) << report.health.reason;
  EXPECT_FALSE(report.health.version.empty());
}

// Without an engine.

TEST(DockerRuntimeUnreachable, IsUnavailableAndSaysWhy) {
  asio::io_context loop;
  DockerRuntime docker(loop.get_executor(), {"/tmp/gs-no-such-docker.sock", {"/x"}});
  const auto id = SandboxId::make();
  const auto expectUnavailable = [](const auto& result) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kUnavailable) << result.error().describe();
    EXPECT_EQ(result.error().reason, "docker_unreachable");
    EXPECT_FALSE(result.error().fix.empty());
  };
  expectUnavailable(runTask(loop, docker.inspect(id, soon())));
  expectUnavailable(runTask(loop, docker.remove(id, soon())));
  expectUnavailable(runTask(loop, docker.start(id, soon())));
  expectUnavailable(runTask(loop, docker.stop(id, Millis(1), soon())));
  expectUnavailable(runTask(loop, docker.list(HostId::make(), soon())));
  expectUnavailable(runTask(loop, docker.watch(HostId::make(), soon())));
  expectUnavailable(runTask(loop, docker.findImage("x", soon())));
  expectUnavailable(runTask(loop, docker.create({}, soon())));
  const auto report = runTask(loop, docker.health(soon()));
  EXPECT_NE(report.health.state, RuntimeState::kHealthy);
  ASSERT_EQ(report.conditions.size(), 1u);
  EXPECT_EQ(report.conditions[0].code, "docker_socket_missing");
  EXPECT_FALSE(report.conditions[0].fix.empty());
}

Task<Status> acceptAndBeSilent(std::unique_ptr<UnixListener> listener) {
  GS_CO_TRY(auto first, co_await listener->accept());
  co_await sleepUntil(Deadline::never());
  co_return Status{};
}

Task<Result<std::optional<RuntimeContainer>>> askSilentEngine(DockerRuntime* docker,
                                                              std::unique_ptr<UnixListener> listener) {
  using namespace boost::asio::experimental::awaitable_operators;
  auto first = co_await (docker->inspect(SandboxId::make(), Deadline::after(Millis(200))) ||
                         acceptAndBeSilent(std::move(listener)));
  co_return std::move(std::get<0>(first));
}

TEST(DockerRuntimeUnreachable, ASilentEngineIsNotAnAbsentContainer) {
  asio::io_context loop;
  const auto path = fmt::format("/tmp/gs-silent-{}.sock", randomIdChars(8));
  auto listener = listenUnix(loop.get_executor(), path);
  ASSERT_TRUE(listener);
  DockerRuntime docker(loop.get_executor(), {path, {"/x"}});
  const auto answer = runTask(loop, askSilentEngine(&docker, std::move(*listener)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(answer.error().reason, "docker_unreachable");
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace gs
