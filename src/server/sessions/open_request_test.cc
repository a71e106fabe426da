#include "server/sessions/open_request.h"

#include <gtest/gtest.h>

namespace gs {
namespace {

TEST(OpenRequest, ReadsEveryMember) {
  const auto request = parseOpenRequest(R"({"kind":"exec","sandboxId":"box-1","argv":["sh","-c","echo ü",""],"env":{"A":"1","B_2":""},)"
                                        R"("workingDir":"/tmp","user":"1000:users","waitMs":60000})");
  ASSERT_TRUE(request) << request.error().describe();
  EXPECT_EQ(request->sandbox, "box-1");
  EXPECT_EQ(request->exec, (ExecSession{{"sh", "-c", "echo ü", ""}, {"A=1", "B_2="}, "/tmp", "1000:users"}));
  EXPECT_EQ(request->wait, Millis(60'000));
}

TEST(OpenRequest, RefusesWhatBreaksTheContractAndSaysWhere) {
  struct Row {
    std::string json;
    std::string where;
  };
  const auto with = [](std::string more) { return R"({"kind":"exec","sandboxId":"box","argv":["a"],)" + more + "}"; };
  const std::string big(32'769, 'x');
  const std::vector<Row> rows{
      {"", ""},
      {"[]", ": must be an object"},
      {"{}", "/kind: is missing"},
      {R"({"kind":"exec","argv":["a"]})", "/sandboxId: is missing"},
      {R"({"kind":"exec","sandboxId":"box"})", "/argv: is missing"},
      {R"({"kind":"shell","sandboxId":"box","argv":["a"]})", "/kind"},
      {R"({"kind":"exec","sandboxId":"Box","argv":["a"]})", "/sandboxId"},
      {R"({"kind":"exec","sandboxId":"sbx_xyz","argv":["a"]})", "/sandboxId"},
      {R"({"kind":"exec","sandboxId":"box","argv":[]})", "/argv"},
      {R"({"kind":"exec","sandboxId":"box","argv":"a"})", "/argv"},
      {R"({"kind":"exec","sandboxId":"box","argv":["a",1]})", "/argv/1"},
      {R"({"kind":"exec","sandboxId":"box","argv":["a\u0000b"]})", "/argv/0"},
      {R"({"kind":"exec","sandboxId":"box","argv":[")" + big + R"("]})", "/argv/0"},
      {R"({"kind":"exec","sandboxId":"box","argv":[")" + big.substr(9) + R"(",")" + big.substr(9) + R"("]})", "together"},
      {with(R"("env":[])"), "/env"},
      {with(R"("env":{"1A":"x"})"), "/env/1A"},
      {with(R"("env":{"A/B":"x"})"), "/env/A~1B"},
      {with(R"("env":{"A":null})"), "/env/A"},
      {with(R"("env":null)"), "/env"},
      {with(R"("workingDir":"tmp")"), "/workingDir"},
      {with(R"("workingDir":null)"), "/workingDir"},
      {with(R"("user":"a b")"), "/user"},
      {with(R"("user":"root:")"), "/user"},
      {with(R"("waitMs":60001)"), "/waitMs"},
      {with(R"("waitMs":-1)"), "/waitMs"},
      {with(R"("waitMs":1.5)"), "/waitMs"},
      {with(R"("tty":true)"), "/tty: is not known"},
      {with(R"("terminal":{"rows":24})"), "/terminal"},
      {with(R"("terminal":{"rows":0,"columns":80})"), "/terminal"},
      {with(R"("terminal":null)"), "/terminal"},
      {with(R"("kind":"exec")"), "repeats a key"},
      {with(R"("reattach":true)"), "/reattach: must be an object"},
      {with(R"("reattach":{"graceSeconds":3601})"), "/reattach/graceSeconds"},
      {with(R"("reattach":{"graceSeconds":-1})"), "/reattach/graceSeconds"},
      {with(R"("reattach":{"client":""})"), "/reattach/client"},
      {with(R"("reattach":{"client":"a b"})"), "/reattach/client"},
      {with(R"("reattach":{"detached":1})"), "/reattach/detached"},
      {with(R"("reattach":{"owner":"usr_1"})"), "/reattach/owner: is not known"},
      {with(R"("sessionId":"ses_0123456789abcdefghjk")"), "/sessionId: is not known"},
      {R"({"kind":"attach","sandboxId":"box"})", "/sessionId: is missing"},
      {R"({"kind":"attach","sandboxId":"box","sessionId":"box"})", "/sessionId"},
      {R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","argv":["a"]})", "/argv: is not known"},
      {R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","mode":"steal"})", "/mode"},
      {R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","outputOffset":-1})", "/outputOffset"},
      {R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","outputOffset":9007199254740992})", "/outputOffset"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.json.substr(0, 100));
    const auto request = parseOpenRequest(row.json);
    ASSERT_FALSE(request);
    EXPECT_EQ(request.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(request.error().message.find(row.where), std::string::npos) << request.error().message;
  }
}

TEST(OpenRequest, ReadsWhatSurvivesADrop) {
  const auto usual = parseOpenRequest(R"({"kind":"exec","sandboxId":"box","argv":["a"],"reattach":{}})");
  ASSERT_TRUE(usual);
  EXPECT_EQ(usual->exec.policy, (SessionPolicy{"", "", SessionPolicy::Lifetime::kGrace, kUsualGrace}));
  const auto detached =
      parseOpenRequest(R"({"kind":"exec","sandboxId":"box","argv":["a"],"reattach":{"client":"me","graceSeconds":5,"detached":true}})");
  ASSERT_TRUE(detached);
  EXPECT_EQ(detached->exec.policy, (SessionPolicy{"", "me", SessionPolicy::Lifetime::kDetached, Seconds(5)}));
  const auto attach = parseOpenRequest(
      R"({"kind":"attach","sandboxId":"box","sessionId":"ses_0123456789abcdefghjk","mode":"take_over","client":"me","outputOffset":7,"waitMs":1})");
  ASSERT_TRUE(attach && attach->attach);
  EXPECT_EQ(attach->attach->session.text(), "ses_0123456789abcdefghjk");
  EXPECT_EQ(attach->attach->mode, AttachSession::Mode::kTakeOver);
  EXPECT_EQ(attach->attach->client, "me");
  EXPECT_EQ(attach->attach->outputOffset, 7U);
  EXPECT_EQ(attach->wait, Millis(1));
}

TEST(OpenRequest, NeedsNoProgramForATerminal) {
  const auto request = parseOpenRequest(R"({"kind":"exec","sandboxId":"box","terminal":{"rows":24,"columns":80}})");
  ASSERT_TRUE(request);
  EXPECT_TRUE(request->exec.argv.empty());
  EXPECT_EQ(request->exec.terminal, (TerminalSize{24, 80}));
}

}  // namespace
}  // namespace gs
