// What the Docker engine's answers and silences mean in our codes. The only place that reads its sentences.
//
// The Engine API has statuses and prose, no codes, so some meanings hang on a phrase; each phrase is a row of a table
// with a test. An unknown phrase is kInternal, never a guess.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

// `doing` ends the sentence "while …". Bodies come from the engine and may quote an image's bytes: they are escaped.
[[nodiscard]] Error engineError(int status, std::string_view body, std::string_view doing);

// A sentence that the engine sent inside of a 200 answer (POST /images/load).
[[nodiscard]] Error engineStreamError(std::string_view sentence, std::string_view doing);

// Why an engine cannot be reached, from looking at its socket. The three are conditions of the host's facts as well.
struct EngineSilence {
  std::string code;  // docker_socket_missing, docker_permission_denied, docker_not_answering
  std::string message;
  std::string fix;
};
// Never blocks: connecting to a unix socket either succeeds or fails at once.
[[nodiscard]] EngineSilence explainSilence(const std::string& socketPath);

// kUnavailable (or kDeadlineExceeded) with reason "docker_unreachable" and the sentence and fix of explainSilence().
[[nodiscard]] Error engineUnreachable(Error transport, const std::string& socketPath);

}  // namespace gs
