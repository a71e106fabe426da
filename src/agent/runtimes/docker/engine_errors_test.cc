#include "agent/runtimes/docker/engine_errors.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <fstream>

#include "agent/runtimes/docker/docker_runtime.h"
#include "agent/runtimes/docker/engine_events.h"
#include "async/run_task.h"

namespace gs {
namespace {

struct ErrorCase {
  int status;
  const char* message;
  ErrorCode code;
  const char* reason;
  const char* why;
};

class EngineErrors : public testing::TestWithParam<ErrorCase> {};

TEST_P(EngineErrors, HaveOneMeaning) {
  const auto& c = GetParam();
  const auto error = engineError(c.status, fmt::format(R"({{"message":"{}"}})", c.message), "testing");
  EXPECT_EQ(error.code, c.code) << c.why << ": " << error.describe();
  EXPECT_EQ(error.reason, c.reason) << c.why;
}

INSTANTIATE_TEST_SUITE_P(
    Sentences, EngineErrors,
    testing::Values(
        ErrorCase{404, "No such container: x", ErrorCode::kNotFound, "container_missing", "positively absent"},
        ErrorCase{404, "No such image: sha256:00", ErrorCode::kFailedPrecondition, "blueprint_missing", "pruned"},
        ErrorCase{404, "no such image: a: No such image: a", ErrorCode::kFailedPrecondition, "blueprint_missing",
                  "the form of GET /images/x/json"},
        ErrorCase{404, "open /var/lib/docker/overlay2/x: no such file", ErrorCode::kInternal, "docker_error",
                  "the engine misses a file of its own: says nothing about the container"},
        ErrorCase{404, "page not found", ErrorCode::kInternal, "docker_error",
                  "an unknown path is no absent container"},
        ErrorCase{409, "Conflict. The container name is already in use by container 51", ErrorCode::kAlreadyExists,
                  "name_taken", "create again"},
        ErrorCase{409, "removal of container x is already in progress", ErrorCode::kAborted, "removal_in_progress",
                  "two removals"},
        ErrorCase{409, "Cannot kill container: x: Container y is not running", ErrorCode::kFailedPrecondition,
                  "not_running", "killed twice"},
        ErrorCase{409, "cannot start a paused container, try unpause instead", ErrorCode::kFailedPrecondition,
                  "container_paused", "frozen by somebody else"},
        ErrorCase{409, "conflict: unable to remove repository reference", ErrorCode::kFailedPrecondition,
                  "docker_conflict", "image in use"},
        ErrorCase{400, "Range of CPUs is from 0.01 to 2.00", ErrorCode::kInvalidArgument, "docker_refused", "limits"},
        ErrorCase{400, "failed to create shim task: OCI runtime create failed: exec: nope",
                  ErrorCode::kFailedPrecondition, "start_refused", "the first process cannot be executed"},
        ErrorCase{500, "write /x: no space left on device", ErrorCode::kResourceExhausted, "docker_disk_full", "disk"},
        ErrorCase{500, "tried to kill container, but did not receive an exit event", ErrorCode::kDeadlineExceeded,
                  "kill_not_confirmed", "it may still die"},
        ErrorCase{503, "whatever", ErrorCode::kUnavailable, "docker_unreachable", "starting up"},
        ErrorCase{500, "panic: something", ErrorCode::kInternal, "docker_error", "an unknown phrase is never a guess"},
        ErrorCase{404, "", ErrorCode::kInternal, "docker_error", "no sentence, no meaning"}));

TEST(EngineError, EscapesAndCutsWhatTheEngineSays) {
  const auto error = engineError(500, "\x1b[2J" + std::string(10'000, 'x'), "testing");
  EXPECT_FALSE(error.message.contains('\x1b'));
  EXPECT_LT(error.message.size(), 600u);
}

TEST(ExplainSilence, TellsMissingFromNotAnswering) {
  const auto path = fmt::format("/tmp/gs-silence-{}", ::getpid());
  EXPECT_EQ(explainSilence(path).code, "docker_socket_missing");
  EXPECT_EQ(explainSilence(std::string(200, 'x')).code, "docker_socket_missing");
  std::ofstream(path) << "a file, not a socket";
  EXPECT_EQ(explainSilence(path).code, "docker_not_answering");
  ::unlink(path.c_str());
}

TEST(ReportOf, SaysWhatTheEngineCannotDo) {
  EngineInfo good{"20.10.24", true, true, true, true, true, false, ""};
  EXPECT_EQ(reportOf(good).health.state, RuntimeState::kHealthy);
  EXPECT_TRUE(reportOf(good).conditions.empty());

  auto info = good;
  info.liveRestore = false;
  EXPECT_EQ(reportOf(info).health.state, RuntimeState::kHealthy) << "an advice, not a fault";
  ASSERT_EQ(reportOf(info).conditions.size(), 1u);
  EXPECT_EQ(reportOf(info).conditions[0].code, "docker_live_restore_off");

  info = good;
  info.seccomp = false;
  EXPECT_EQ(reportOf(info).health.state, RuntimeState::kUnhealthy);
  info = good;
  info.pidsLimits = false;
  EXPECT_EQ(reportOf(info).conditions.at(0).code, "docker_limits_missing");
  info = good;
  info.containerdStore = true;
  EXPECT_EQ(reportOf(info).conditions.at(0).code, "docker_image_store_unsupported");
}

EngineContainer ours() {
  EngineContainer c;
  c.id = "51";
  c.name = "gstacks-sbx_0123456789abcdefghjk";
  c.status = "running";
  c.labels = {{"gstacks.managed", "1"},
              {"gstacks.sandbox", "sbx_0123456789abcdefghjk"},
              {"gstacks.host", "hst_kjhgfedcba9876543210"},
              {"gstacks.generation", "7"}};
  return c;
}

TEST(DescribeContainer, TakesOnlyWhatThisAgentMade) {
  const auto good = describeContainer(ours());
  ASSERT_TRUE(good) << good.error().describe();
  EXPECT_EQ(good->generation, 7u);
  for (std::size_t i = 0; i < 4; ++i) {
    auto c = ours();
    c.labels[i].second += "x";
    EXPECT_FALSE(describeContainer(c)) << c.labels[i].first;
    c.labels.erase(c.labels.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_EQ(describeContainer(c).error().reason, "container_foreign");
  }
  auto c = ours();
  c.name = "somebody-elses";  // made from an image that bears our labels
  EXPECT_EQ(describeContainer(c).error().reason, "container_foreign");
}

TEST(DescribeContainer, MapsEveryPhase) {
  const std::array<std::pair<const char*, ContainerPhase>, 7> table{{{"created", ContainerPhase::kCreated},
                                                                     {"running", ContainerPhase::kRunning},
                                                                     {"restarting", ContainerPhase::kRunning},
                                                                     {"paused", ContainerPhase::kPaused},
                                                                     {"exited", ContainerPhase::kExited},
                                                                     {"removing", ContainerPhase::kRemoving},
                                                                     {"dead", ContainerPhase::kRemoving}}};
  for (const auto& [status, phase] : table) {
    auto c = ours();
    c.status = status;
    EXPECT_EQ(describeContainer(c)->phase, phase) << status;
  }
}

// Gives its pieces one after the other, then the end.
class PiecesReader final : public BodyReader {
 public:
  explicit PiecesReader(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Task<Result<std::string>> next() override {
    if (at_ == pieces_.size()) co_return std::string();
    co_return pieces_[at_++];
  }

 private:
  std::vector<std::string> pieces_;
  std::size_t at_ = 0;
};

TEST(EngineWatch, FindsSandboxesInLinesCutAnywhere) {
  const std::string event =
      R"({"Action":"die","Actor":{"ID":"1","Attributes":{"gstacks.sandbox":"sbx_0123456789abcdefghjk","name":"gstacks-sbx_0123456789abcdefghjk"}}})"
      "\n";
  const std::string foreign =
      R"({"Action":"die","Actor":{"Attributes":{"gstacks.sandbox":"sbx_0123456789abcdefghjk","name":"x"}}})"
      "\n";
  std::vector<std::string> pieces;
  for (const char c : foreign + event + "\r\n" + event) pieces.emplace_back(1, c);
  asio::io_context loop;
  EngineWatch watch(std::make_unique<PiecesReader>(pieces));
  for (int i = 0; i < 2; ++i) {
    const auto id = runTask(loop, watch.next());
    ASSERT_TRUE(id) << id.error().describe();
    EXPECT_EQ(id->text(), "sbx_0123456789abcdefghjk");
  }
  EXPECT_EQ(runTask(loop, watch.next()).error().code, ErrorCode::kUnavailable) << "the end of the stream";
}

TEST(EngineWatch, EndsOnGarbage) {
  asio::io_context loop;
  EngineWatch watch(std::make_unique<PiecesReader>(std::vector<std::string>{"{]\n"}));
  EXPECT_EQ(runTask(loop, watch.next()).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace gs
