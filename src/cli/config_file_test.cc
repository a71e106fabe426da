#include "cli/config_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace gs::cli {
namespace {

namespace fs = std::filesystem;

class ConfigFile : public ::testing::Test {
 protected:
  ConfigFile() {
    std::string pattern = (fs::temp_directory_path() / "gs-cli-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~ConfigFile() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string at(const std::string& name) const { return (directory_ / name).string(); }
  static Login login(std::string url, std::string key) { return {std::move(url), SecretString(std::move(key)), ""}; }
  static mode_t modeOf(const std::string& path) {
    struct stat info{};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 0777;
  }
  void put(const std::string& name, std::string_view text) const { std::ofstream(at(name)) << text; }

  fs::path directory_;
};

Environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST_F(ConfigFile, ComesBackAsItWasStored) {
  const std::string path = at("deep/er/config.json");
  ASSERT_TRUE(saveLogin(path, {"https://gs.example.com", SecretString("gsk_x"), "/ca.pem"}));
  const auto loaded = loadLogin(path);
  ASSERT_TRUE(loaded && *loaded);
  EXPECT_EQ((*loaded)->baseUrl, "https://gs.example.com");
  EXPECT_EQ((*loaded)->apiKey.reveal(), "gsk_x");
  EXPECT_EQ((*loaded)->caFile, "/ca.pem");
}

TEST_F(ConfigFile, IsReadableByItsOwnerOnlyWhateverTheUmask) {
  const mode_t before = ::umask(0);
  ASSERT_TRUE(saveLogin(at("new/config.json"), login("http://a", "gsk_x")));
  ::umask(before);
  EXPECT_EQ(modeOf(at("new/config.json")), 0600u);
  EXPECT_EQ(modeOf(at("new")), 0700u);
}

TEST_F(ConfigFile, ReplacingTightensAndLeavesNothingBehind) {
  put("config.json", "{}");
  ::chmod(at("config.json").c_str(), 0666);
  EXPECT_TRUE(isReadableByOthers(at("config.json")));
  ASSERT_TRUE(saveLogin(at("config.json"), login("http://a", "gsk_x")));
  EXPECT_FALSE(isReadableByOthers(at("config.json")));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
}

TEST_F(ConfigFile, FollowsASymbolicLinkInsteadOfReplacingIt) {
  put("real.json", "{}");
  fs::create_symlink(at("real.json"), at("config.json"));
  ASSERT_TRUE(saveLogin(at("config.json"), login("http://a", "gsk_x")));
  EXPECT_TRUE(fs::is_symlink(at("config.json")));
  EXPECT_TRUE(*loadLogin(at("real.json")));
}

TEST_F(ConfigFile, FailedSaveKeepsTheOldLogin) {
  ASSERT_TRUE(saveLogin(at("config.json"), login("http://old", "gsk_old")));
  // The temporary file cannot be made in a path that goes through a file.
  EXPECT_FALSE(saveLogin(at("config.json") + "/config.json", login("http://new", "gsk_new")));
  EXPECT_EQ((*loadLogin(at("config.json")))->baseUrl, "http://old");
}

TEST_F(ConfigFile, MissingIsNothingButDamagedIsAnErrorWithAFix) {
  const auto missing = loadLogin(at("none.json"));
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  for (const std::string_view text :
       {"", "not json", "[]", R"({"baseUrl":"http://a"})", R"({"baseUrl":1,"apiKey":"gsk_x"})"}) {
    put("bad.json", text);
    const auto bad = loadLogin(at("bad.json"));
    ASSERT_FALSE(bad) << text;
    EXPECT_EQ(bad.error().code, ErrorCode::kInvalidArgument) << text;
    EXPECT_NE(bad.error().fix.find("auth login"), std::string::npos) << text;
  }
}

TEST_F(ConfigFile, TooLargeIsRefusedWithoutBeingRead) {
  put("big.json", std::string(100'000, ' '));
  EXPECT_FALSE(loadLogin(at("big.json")));
}

TEST_F(ConfigFile, RemovingTwiceIsHarmless) {
  ASSERT_TRUE(saveLogin(at("config.json"), login("http://a", "gsk_x")));
  EXPECT_TRUE(*removeLogin(at("config.json")));
  EXPECT_FALSE(*removeLogin(at("config.json")));
}

TEST(ConfigPath, GoesByOptionThenVariablesThenHome) {
  struct Row {
    std::string option;
    std::map<std::string, std::string> variables;
    std::string path;
  };
  const std::vector<Row> rows{
      {"opt.json", {{"GSTACKS_CONFIG_FILE", "/env.json"}, {"HOME", "/h"}}, "opt.json"},
      {"", {{"GSTACKS_CONFIG_FILE", "/env.json"}, {"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}}, "/env.json"},
      {"", {{"XDG_CONFIG_HOME", "/x"}, {"HOME", "/h"}}, "/x/gstacks/config.json"},
      {"", {{"HOME", "/h"}}, "/h/.config/gstacks/config.json"},
  };
  for (const auto& row : rows) EXPECT_EQ(configPath(row.option, variables(row.variables)).value(), row.path);
  EXPECT_EQ(configPath("", variables({})).error().code, ErrorCode::kFailedPrecondition);
}

TEST(EffectiveLogin, NeverSendsAStoredKeyToAnotherServer) {
  const Login stored{"http://a", SecretString("gsk_a"), ""};
  const auto refused = effectiveLogin(stored, variables({{"GSTACKS_BASE_URL", "http://b"}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnauthenticated);

  const auto both = effectiveLogin(stored, variables({{"GSTACKS_BASE_URL", "http://b"}, {"GSTACKS_API_KEY", "gsk_b"}}));
  ASSERT_TRUE(both);
  EXPECT_EQ(both->baseUrl, "http://b");
  EXPECT_EQ(both->apiKey.reveal(), "gsk_b");

  const auto same = effectiveLogin(stored, variables({{"GSTACKS_BASE_URL", "http://a"}}));
  ASSERT_TRUE(same);
  EXPECT_EQ(same->apiKey.reveal(), "gsk_a");
}

TEST(EffectiveLogin, WorksFromVariablesAloneAndElseSaysWhatToDo) {
  const auto alone = effectiveLogin(std::nullopt, variables({{"GSTACKS_API_KEY", "gsk_b"}}));
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->baseUrl, kDefaultBaseUrl);
  const auto none = effectiveLogin(std::nullopt, variables({}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kUnauthenticated);
  EXPECT_FALSE(none.error().fix.empty());
}

}  // namespace
}  // namespace gs::cli
