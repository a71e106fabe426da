// Failures on the agent listener's HTTP paths: the status that fits the code, and a protobuf Status as the body.
#pragma once

#include "net/http_message.h"

namespace gs {

inline constexpr std::string_view kProtobufType = "application/x-protobuf";

[[nodiscard]] HttpResponse statusResponse(const Error& error);
[[nodiscard]] HttpResponse protobufResponse(std::string body);

}  // namespace gs
