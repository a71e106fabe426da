#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/digest.h"
#include "base/encoding.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/secret.h"

namespace gs {
namespace {

TEST(Encoding, Base64MatchesRfc4648Vectors) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : rows) {
    EXPECT_EQ(toBase64(plain), encoded);
    EXPECT_EQ(fromBase64(encoded).value(), plain);
  }
}

TEST(Encoding, Base64UrlRefusesTwoTextsForTheSameBytes) {
  EXPECT_EQ(fromBase64Url("Zg").value(), "f");
  EXPECT_FALSE(fromBase64Url("Zh"));
  EXPECT_FALSE(fromBase64Url("Zg=="));
  EXPECT_FALSE(fromBase64Url("Z"));
}

TEST(Encoding, HexRefusesUpperCaseAndOddLength) {
  EXPECT_EQ(fromHex("00ff").value(), std::string("\0\xff", 2));
  EXPECT_FALSE(fromHex("0F"));
  EXPECT_FALSE(fromHex("0"));
}

TEST(Encoding, EscapesForeignBytesForLogs) { EXPECT_EQ(escapeForLog("a\x1b[2J"), "a\\x1b[2J"); }

TEST(Ids, RoundTripAndRefuseOtherKinds) {
  const HostId id = HostId::make();
  EXPECT_EQ(HostId::parse(id.text()).value(), id);
  EXPECT_FALSE(SandboxId::parse(id.text()));
  EXPECT_FALSE(HostId::parse("hst_"));
  EXPECT_FALSE(HostId::parse("hst_IIIIIIIIIIIIIIIIIIII"));
  EXPECT_NE(HostId::make(), HostId::make());
}

TEST(Digest, MatchesFips180Vector) {
  EXPECT_EQ(Digest::of("abc").text(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Hasher hasher;
  hasher.update("a");
  hasher.update("bc");
  EXPECT_EQ(hasher.finish(), Digest::of("abc"));
}

TEST(Digest, HmacMatchesRfc4231Case2) {
  EXPECT_EQ(toHex(hmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Digest, RefusesOtherAlgorithmsAndCases) {
  EXPECT_FALSE(Digest::parse("md5:00"));
  EXPECT_FALSE(Digest::parse("sha256:" + std::string(64, 'A')));
  EXPECT_FALSE(Digest::parse("sha256:" + std::string(63, 'a')));
  EXPECT_TRUE(Digest::parse("sha256:" + std::string(64, 'a')));
}

TEST(Clock, TimesRoundTripThroughRfc3339) {
  const WallTime time = fromUnixMillis(1767323045678);
  EXPECT_EQ(formatTime(time), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(parseTime("2026-01-02T03:04:05.678Z").value(), time);
  EXPECT_FALSE(parseTime("2026-02-30T03:04:05.678Z"));
  EXPECT_FALSE(parseTime("2026-01-02T03:04:05.678Zx"));
}

TEST(Json, RefusesRepeatedKeysAndDeepTexts) {
  EXPECT_FALSE(parseJson(R"({"a":1,"a":2})"));
  EXPECT_TRUE(parseJson(R"({"a":{"a":1},"b":{"a":2}})"));
  EXPECT_FALSE(parseJson(std::string(100, '[') + std::string(100, ']')));
  EXPECT_FALSE(parseJson("{"));
  EXPECT_FALSE(parseJson(""));
}

TEST(Json, CanonicalFormSortsKeys) {
  EXPECT_EQ(canonicalJson(parseJson(R"({"b": 1, "a": [1, 2]})").value()), R"({"a":[1,2],"b":1})");
}

TEST(Json, FieldErrorsNameTheField) {
  const auto object = parseJson(R"({"name": 3})").value();
  EXPECT_EQ(getString(object, "name").error().message, "field 'name' must be a string");
  EXPECT_EQ(getInteger(object, "size").error().message, "field 'size' is missing");
}

TEST(Error, ErrnoMapsFullDiskToResourceExhausted) {
  EXPECT_EQ(errnoError(ENOSPC, "writing").code, ErrorCode::kResourceExhausted);
  EXPECT_EQ(errnoError(ENOENT, "opening").code, ErrorCode::kNotFound);
}

TEST(Secret, ComparesWholeTexts) {
  EXPECT_TRUE(constantTimeEqual("abc", "abc"));
  EXPECT_FALSE(constantTimeEqual("abc", "abd"));
  EXPECT_FALSE(constantTimeEqual("abc", "ab"));
}

}  // namespace
}  // namespace gs
