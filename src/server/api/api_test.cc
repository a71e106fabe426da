#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/api/contract.h"
#include "server/api/problem.h"
#include "server/api/router.h"
#include "server/api/text.h"

namespace gs {
namespace {

const Contract& contract() {
  static const auto kContract = Contract::load().value();
  return *kContract;
}

const Operation& operation(std::string_view id) {
  const auto& all = contract().operations();
  return *std::find_if(all.begin(), all.end(), [&](const Operation& each) { return each.id == id; });
}

std::vector<Fault> faultsOf(std::string_view id, std::string_view body) {
  return operation(id).bodyValidator->check(parseJson(body).value(), "");
}

TEST(Contract, GivesEachOperationWhatTheServerNeedsOfIt) {
  EXPECT_EQ(operation("getHealth").role, std::nullopt);
  EXPECT_EQ(operation("createSandbox").role, Role::kMember);
  EXPECT_EQ(operation("createBlueprint").body, BodyKind::kStream);
  EXPECT_EQ(operation("createBlueprint").maxBodyBytes, 32ULL << 30);
  EXPECT_FALSE(operation("stopSandbox").bodyRequired);
  const auto& parameters = operation("updateHost").parameters;
  const auto ifMatch = std::find_if(parameters.begin(), parameters.end(), [](const auto& p) { return p.name == "If-Match"; });
  ASSERT_NE(ifMatch, parameters.end());
  EXPECT_EQ(ifMatch->missingStatus, 428);
}

TEST(Contract, RefusesOneThatItCannotWorkFrom) {
  const struct {
    const char* why;
    const char* text;
  } rows[] = {
      {"no JSON", "{"},
      {"no paths", "{}"},
      {"an unknown role", R"({"paths":{"/a":{"get":{"operationId":"a","x-gs-role":"king"}}}})"},
      {"a reference to nothing", R"({"paths":{"/a":{"get":{"operationId":"a","x-gs-role":"none","parameters":[{"$ref":"#/x"}]}}}})"},
      {"a schema that refers to itself",
       R"({"paths":{"/a":{"get":{"operationId":"a","x-gs-role":"none","parameters":[{"name":"q","in":"query","schema":{"$ref":"#/s"}}]}}},"s":{"items":{"$ref":"#/s"}}})"},
  };
  for (const auto& row : rows) EXPECT_FALSE(Contract::parse(row.text)) << row.why;
}

TEST(SchemaValidator, SaysWhereAndWhatInWords) {
  const struct {
    const char* operation;
    const char* body;
    Fault expected;
  } rows[] = {
      {"createCluster", R"({"kind":"byo"})", {"", "the member name is missing"}},
      {"createCluster", R"({"name":"a","kind":"cloud"})", {"/kind", "must be one of byo, managed"}},
      {"createCluster", R"({"name":"a","kind":"byo","x/y":1})", {"/x~1y", "is not a member that the contract knows"}},
      {"createCluster", R"({"name":7,"kind":"byo"})", {"/name", "must be a string"}},
      {"createSandbox", R"({"blueprint":"a","resources":{"pids":15}})", {"/resources/pids", "must be at least 16"}},
      {"createSandbox", R"({"blueprint":"a","resources":{"cpuMillis":64001}})", {"/resources/cpuMillis", "must be at most 64000"}},
      {"createSandbox", R"({"blueprint":"a","command":[]})", {"/command", "must have at least 1 items"}},
      {"createSandbox", R"({"blueprint":"a","command":["a",1]})", {"/command/1", "must be a string"}},
      {"createSandbox", R"({"blueprint":"a","requiredTraits":["kvm","kvm"]})", {"/requiredTraits/1", "is there already"}},
      {"createSandbox", R"({"blueprint":"a","env":{"A=B":"x"}})", {"/env/A=B", "must match ^[A-Za-z_][A-Za-z0-9_]{0,254}$"}},
      {"updateHost", "{}", {"", "must have at least 1 members"}},
      {"updateHost", R"({"tags":null})", {"/tags", "must be an object"}},
  };
  for (const auto& row : rows) {
    const auto faults = faultsOf(row.operation, row.body);
    ASSERT_EQ(faults.size(), 1U) << row.body;
    EXPECT_EQ(faults[0].pointer, row.expected.pointer) << row.body;
    EXPECT_EQ(faults[0].detail, row.expected.detail) << row.body;
  }
  EXPECT_TRUE(faultsOf("createCluster", R"({"name":"a","kind":"byo"})").empty());
}

TEST(SchemaValidator, BoundsItsWorkOnHostileBodies) {
  // 20,000 equal items: a list of every violated pair would be 200 million entries long.
  std::string traits = R"(["a")";
  for (int i = 1; i < 20'000; ++i) traits += R"(,"a")";
  EXPECT_EQ(faultsOf("createSandbox", R"({"blueprint":"a","requiredTraits":)" + traits + "]}").size(), 1U);
  std::string unknown = R"({"blueprint":"a")";
  for (int i = 0; i < 5'000; ++i) unknown += fmt::format(R"(,"x{}":1)", i);
  EXPECT_EQ(faultsOf("createSandbox", unknown + "}").size(), kMaxFaults);
  EXPECT_EQ(faultsOf("createCluster", R"({"kind":"byo","name":")" + std::string(60'000, 'a') + R"("})").size(), 1U);
}

TEST(Router, FindsOperationsAndNamesMethods) {
  const Router router(contract());
  const auto found = router.match("POST", "/api/sandboxes/sbx_1/start");
  ASSERT_NE(found.operation, nullptr);
  EXPECT_EQ(found.operation->id, "startSandbox");
  EXPECT_EQ(found.path.at("sandboxId"), "sbx_1");
  const struct {
    const char* method;
    const char* path;
    const char* allowed;
  } rows[] = {
      {"GET", "/api/sandboxes/sbx_1/start", "POST"}, {"HEAD", "/api/health", "GET"},  {"GET", "/api/sandboxes/", ""},
      {"GET", "/api/sandboxes/a/b/c", ""},           {"GET", "/", ""},                {"GET", "/api//health", ""},
  };
  for (const auto& row : rows) {
    const auto route = router.match(row.method, row.path);
    EXPECT_EQ(route.operation, nullptr) << row.path;
    EXPECT_EQ(route.allowed, row.allowed) << row.path;
  }
}

TEST(Problem, TakesTheStatusFromCodeAndReason) {
  const struct {
    ErrorCode code;
    const char* reason;
    int status;
  } rows[] = {
      {ErrorCode::kInvalidArgument, "", 400},         {ErrorCode::kInvalidArgument, "method_not_allowed", 405},
      {ErrorCode::kInvalidArgument, "unsupported_media_type", 415}, {ErrorCode::kFailedPrecondition, "host_not_empty", 409},
      {ErrorCode::kFailedPrecondition, "if_match_missing", 428},    {ErrorCode::kFailedPrecondition, "upgrade_required", 426},
      {ErrorCode::kAborted, "version_mismatch", 412}, {ErrorCode::kResourceExhausted, "disk_full", 507},
      {ErrorCode::kResourceExhausted, "", 507},       {ErrorCode::kResourceExhausted, "body_too_large", 413},
      {ErrorCode::kResourceExhausted, "too_many", 429}, {ErrorCode::kDataLoss, "digest_mismatch", 422},
      {ErrorCode::kDataLoss, "", 500},                {ErrorCode::kUnavailable, "", 503},
  };
  for (const auto& row : rows) {
    Error error = makeError(row.code, "m");
    error.reason = row.reason;
    EXPECT_EQ(problemStatus(error), row.status) << errorCodeName(row.code) << " " << row.reason;
  }
}

TEST(Problem, TellsNothingOfWhatHappenedInside) {
  const auto response = problemResponse(makeError(ErrorCode::kInternal, "UNIQUE constraint failed: secret"), "req_1", "/api/x");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body.find("UNIQUE"), std::string::npos);
  EXPECT_NE(response.body.find("req_1"), std::string::npos);
}

TEST(Problem, KeepsToTheLengthsOfTheContract) {
  Error error = makeError(ErrorCode::kInvalidArgument, std::string(10'000, 'm'));
  error.fix = std::string(5'000, 'f');
  for (int i = 0; i < 100; ++i) error.details.push_back("/" + std::string(2'000, 'p') + ": " + std::string(2'000, 'd'));
  const auto problem = parseJson(makeProblem(error, "req_1", "/api/x").json).value();
  EXPECT_EQ(problem["detail"].get<std::string>().size(), 4096U);
  EXPECT_EQ(problem["fix"].get<std::string>().size(), 1024U);
  EXPECT_EQ(problem["errors"].size(), 64U);
  EXPECT_EQ(problem["errors"][0]["pointer"].get<std::string>().size(), 512U);
}

TEST(Text, JudgesAndCutsUtf8) {
  const struct {
    const char* why;
    std::string text;
    bool good;
  } rows[] = {
      {"ASCII", "abc", true},         {"two bytes", "\xC3\xA4", true},          {"four bytes", "\xF0\x9F\x98\x80", true},
      {"overlong", "\xC0\x80", false}, {"surrogate", "\xED\xA0\x80", false},    {"cut off", "\xE2\x82", false},
      {"stray", "\x80", false},        {"past the end of Unicode", "\xF4\x90\x80\x80", false}, {"overlong three", "\xE0\x80\x80", false},
  };
  for (const auto& row : rows) EXPECT_EQ(isUtf8(row.text), row.good) << row.why;
  EXPECT_EQ(cutText("a\xC3\xA4", 2), "a");
  EXPECT_EQ(cutText("a\xC3\xA4", 3), "a\xC3\xA4");
  EXPECT_EQ(instanceOf("/api/x\"y?secret=1"), "/api/x%22y");
  EXPECT_TRUE(listHas("a, b ,c", "b"));
  EXPECT_FALSE(listHas("ab,c", "b"));
}

}  // namespace
}  // namespace gs
