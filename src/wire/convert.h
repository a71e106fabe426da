// Conversions between generated messages and plain values; internal to wire/.
//
// write(value, &pb) cannot fail; read(pb) checks what the contract bounds. One file a topic.
#pragma once

#include "globalstacks/agent/v1/blueprint.pb.h"
#include "globalstacks/agent/v1/common.pb.h"
#include "globalstacks/agent/v1/control_plane.pb.h"
#include "globalstacks/agent/v1/enrollment.pb.h"
#include "globalstacks/agent/v1/host_state.pb.h"
#include "globalstacks/agent/v1/sandbox.pb.h"
#include "globalstacks/agent/v1/session.pb.h"

#include "wire/messages.h"

namespace gs::wire {

namespace pb = ::globalstacks::agent::v1;

void write(const Error& value, pb::Status* out);
[[nodiscard]] Error read(const pb::Status& in);
void write(WallTime value, pb::Timestamp* out);
[[nodiscard]] WallTime read(const pb::Timestamp& in);

void write(const HostFacts& value, pb::HostFacts* out);
[[nodiscard]] Result<HostFacts> read(const pb::HostFacts& in);
void write(const HostTelemetry& value, pb::HostTelemetry* out);
[[nodiscard]] HostTelemetry read(const pb::HostTelemetry& in);

void write(const Assignment& value, pb::Assignment* out);
[[nodiscard]] Result<Assignment> read(const pb::Assignment& in);
void write(const Observation& value, pb::Observation* out);
[[nodiscard]] Result<Observation> read(const pb::Observation& in);

// "field 'x' is longer than 63 bytes" and the like.
[[nodiscard]] Status checkLength(std::string_view field, std::size_t size, std::size_t most);
[[nodiscard]] Error fieldError(std::string_view field, std::string_view what);
// Parses bytes into a message; kInvalidArgument naming the message when they are not one.
template <class Message>
[[nodiscard]] Result<Message> parseMessage(std::string_view bytes, std::string_view name) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kInvalidArgument, "the bytes are not a " + std::string(name) + " message");
  }
  return message;
}
template <class Message, class Value>
[[nodiscard]] std::string serialize(const Value& value) {
  Message message;
  write(value, &message);
  return message.SerializeAsString();
}

}  // namespace gs::wire
