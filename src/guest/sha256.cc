#include "guest/sha256.h"

// Deprecated in favour of an interface that loads providers at run time, which a static program cannot do.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

namespace gs::guest {

struct Sha256::State {
  SHA256_CTX context{};
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256_Init(&state_->context); }
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) { SHA256_Update(&state_->context, bytes.data(), bytes.size()); }

std::string Sha256::finish() {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(out.data()), &state_->context);
  return out;
}

}  // namespace gs::guest
