#include "cli/failure.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/exec_session.h"

namespace gs::cli {
namespace {

// The contract of `gstacks --help`.
TEST(ExitCode, IsFixedForEveryErrorCode) {
  struct Row {
    ErrorCode code;
    int exit;
    std::string_view why;
  };
  const std::vector<Row> rows{
      {ErrorCode::kCancelled, 1, "nobody's fault in particular"},
      {ErrorCode::kInvalidArgument, 2, "the words, or what they name, are wrong; a repeat is useless"},
      {ErrorCode::kDeadlineExceeded, 6, "try again later"},
      {ErrorCode::kNotFound, 4, "no such thing"},
      {ErrorCode::kAlreadyExists, 5, "the name is taken"},
      {ErrorCode::kPermissionDenied, 3, "the role is too low"},
      {ErrorCode::kUnauthenticated, 3, "no key, or a bad one"},
      {ErrorCode::kResourceExhausted, 1, "full or too large"},
      {ErrorCode::kFailedPrecondition, 5, "the state forbids it"},
      {ErrorCode::kAborted, 5, "someone else was faster"},
      {ErrorCode::kUnavailable, 6, "the server does not answer"},
      {ErrorCode::kDataLoss, 1, "damaged bytes"},
      {ErrorCode::kUnimplemented, 1, "not in this version"},
      {ErrorCode::kInternal, 1, "a bug"},
  };
  for (const auto& row : rows) EXPECT_EQ(exitCodeFor(row.code), row.exit) << errorCodeName(row.code) << ": " << row.why;
}

constexpr std::string_view kProblem = R"({
  "type":"https://gstacks.dev/problems/failed_precondition","title":"Failed precondition","status":409,
  "detail":"None of 2 hosts fits.","instance":"/api/sandboxes","code":"failed_precondition",
  "requestId":"req_0123456789abcdefghjk","reason":"no_host","fix":"Enroll another host.",
  "errors":[{"pointer":"/hosts/hst_0123456789abcdefghjk","detail":"disconnected"},
            {"pointer":"/resources/pids","detail":"must be at least 16"},{"pointer":"","detail":"whole body"}]})";

TEST(Problem, BecomesAnErrorWithAllThatItSays) {
  const Error error = errorFromAnswer(409, "application/problem+json", kProblem);
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(error.message, "None of 2 hosts fits");
  EXPECT_EQ(error.reason, "no_host");
  EXPECT_EQ(error.fix, "Enroll another host.");
  EXPECT_EQ(requestIdOf(error), "req_0123456789abcdefghjk");
  EXPECT_EQ(error.details, (std::vector<std::string>{"hst_0123456789abcdefghjk: disconnected",
                                                     "resources/pids: must be at least 16", "whole body"}));
  EXPECT_EQ(errorText(error),
            "error: None of 2 hosts fits\n"
            "  - hst_0123456789abcdefghjk: disconnected\n"
            "  - resources/pids: must be at least 16\n"
            "  - whole body\n"
            "fix: Enroll another host.\n"
            "request: req_0123456789abcdefghjk\n");
}

TEST(Problem, OfACodeThatIsNewIsToldByItsStatus) {
  EXPECT_EQ(
      errorFromAnswer(409, "application/problem+json", R"({"code":"quota_reached","status":409,"detail":"x"})").code,
      ErrorCode::kFailedPrecondition);
}

TEST(Problem, IsTheStatusAloneWhenSomethingElseAnswers) {
  const std::vector<std::pair<int, ErrorCode>> rows{
      {401, ErrorCode::kUnauthenticated}, {403, ErrorCode::kPermissionDenied},  {404, ErrorCode::kNotFound},
      {412, ErrorCode::kAborted},         {413, ErrorCode::kResourceExhausted}, {422, ErrorCode::kDataLoss},
      {500, ErrorCode::kInternal},        {502, ErrorCode::kUnavailable},       {504, ErrorCode::kDeadlineExceeded},
  };
  for (const auto& [status, code] : rows) {
    const Error error = errorFromAnswer(status, "text/html", "<h1>Bad Gateway</h1>");
    EXPECT_EQ(error.code, code) << status;
    EXPECT_EQ(error.message.find('<'), std::string::npos);
  }
}

TEST(Problem, DamagedOnesDoNoHarm) {
  for (const std::string_view body :
       {"", "{", "[]", "null", R"({"code":7})", R"({"code":"not_found","errors":[1,"x",{}]})"}) {
    EXPECT_FALSE(errorFromAnswer(404, "application/problem+json", body).message.empty()) << body;
  }
}

TEST(ErrorOutput, IsOneJsonObjectForPrograms) {
  const Error error = errorFromAnswer(409, "application/problem+json", kProblem);
  const Json json = Json::parse(errorJson(error, 5));
  EXPECT_EQ(json["error"]["code"], "failed_precondition");
  EXPECT_EQ(json["error"]["exitCode"], 5);
  EXPECT_EQ(json["error"]["requestId"], "req_0123456789abcdefghjk");
  EXPECT_EQ(json["error"]["details"].size(), 3u);
}

TEST(ErrorOutput, ShowsNoSecretAndNoControlCharacter) {
  const Error error =
      makeError(ErrorCode::kInternal, "bad gsk_0123456789abcdefghjk_AAAA-_x and gsp_a_b_c\x1b[2J, not gsx_a or gsk_");
  EXPECT_EQ(errorText(error), "error: bad gsk_… and gsp_…\\x1b[2J, not gsx_a or gsk_\n");
  EXPECT_EQ(errorJson(error, 1).find("AAAA"), std::string::npos);
}

TEST(SignalNumber, IsTheKernels) {
  EXPECT_EQ(signalNumber("HUP"), 1);
  EXPECT_EQ(signalNumber("KILL"), 9);
  EXPECT_EQ(signalNumber("TERM"), 15);
  EXPECT_EQ(signalNumber("RTMIN"), 34);
  EXPECT_EQ(signalNumber("RTMIN+3"), 37);
  EXPECT_EQ(signalNumber("RTMIN+99"), 0);
  EXPECT_EQ(signalNumber("NONSENSE"), 0);
}

}  // namespace
}  // namespace gs::cli
