// The agent's end of one exec's data connection. Internal to this folder; users see GuestExec.
#pragma once

#include <memory>
#include <optional>

#include "agent/guest_channel/guest_channel.h"
#include "agent/guest_channel/guest_connection.h"

namespace gs {

// Reads what the guest says first: the process's pid, or why it could not be started. kDataLoss: neither.
// Takes over the connection: a failure closes it, which ends the process.
enum class ExecStreams : std::uint8_t { kPipes, kTerminal };
[[nodiscard]] Task<Result<std::unique_ptr<GuestExec>>> beginExec(std::shared_ptr<GuestConnection> connection, ExecStreams streams);

}  // namespace gs
