// Text encodings of bytes: hex, base64url without padding (RFC 4648 §5), standard base64, and lower-case Crockford
// base32 for ids. Decoders are strict: any other character, or a wrong length, is kInvalidArgument.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

[[nodiscard]] std::string toHex(std::string_view bytes);
[[nodiscard]] Result<std::string> fromHex(std::string_view text);
[[nodiscard]] std::string toBase64(std::string_view bytes);
[[nodiscard]] Result<std::string> fromBase64(std::string_view text);
[[nodiscard]] std::string toBase64Url(std::string_view bytes);
[[nodiscard]] Result<std::string> fromBase64Url(std::string_view text);

// `count` characters of the id alphabet 0-9a-hjkmnp-tv-z, 5 random bits each, from the kernel's generator.
[[nodiscard]] std::string randomIdChars(std::size_t count);
// Cryptographically random bytes. Aborts the process when the kernel cannot give any: there is no safe fallback.
[[nodiscard]] std::string randomBytes(std::size_t count);

// Printable form of foreign text for logs and messages: control and non-UTF-8 bytes become \xNN, cut at `limit`.
[[nodiscard]] std::string escapeForLog(std::string_view text, std::size_t limit = 200);

}  // namespace gs
