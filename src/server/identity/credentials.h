// The two secrets that the control plane hands out, as text: made once, shown once, kept as a hash only.
//
//   API key             gsk_<20 id characters>_<43 characters of secret>
//   provisioning token  gsp_<20 id characters>_<43 characters of secret>_<43 characters of CA pin>
//
// The secret is 32 random bytes in base64url, which may contain '_' itself: fields are taken by position. What is stored
// is the SHA-256 of the 43 characters; a slow hash would add nothing to 256 bits of randomness. Pure but for randomness.
#pragma once

#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/secret.h"

namespace gs {

struct MintedSecret {
  SecretString text;
  std::string hash;  // raw 32 bytes
};
[[nodiscard]] MintedSecret mintApiKey(const ApiKeyId& id);
// `caPin`: raw SHA-256 of the CA certificate's SubjectPublicKeyInfo.
[[nodiscard]] MintedSecret mintProvisioningToken(const TokenId& id, std::string_view caPin);

// What a caller showed: which record it claims, and the hash to compare with that record's in constant time.
struct PresentedApiKey {
  ApiKeyId id;
  std::string hash;
};
struct PresentedToken {
  TokenId id;
  std::string hash;
};
// kUnauthenticated when it has not the form; the message never quotes it.
[[nodiscard]] Result<PresentedApiKey> parseApiKey(std::string_view text);
[[nodiscard]] Result<PresentedToken> parseProvisioningToken(std::string_view text);

}  // namespace gs
