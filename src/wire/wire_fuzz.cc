// Every decoder of the agent contract, on the same bytes: what is accepted must encode and decode again.
#include <cstdint>
#include <cstdlib>

#include "wire/messages.h"
#include "wire/session_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gs;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto message = decodeAgentMessage(bytes); message && !decodeAgentMessage(encode(*message))) std::abort();
  if (const auto message = decodeServerMessage(bytes); message && !decodeServerMessage(encode(*message))) std::abort();
  if (const auto message = decodeEnrollRequest(bytes); message && !decodeEnrollRequest(encode(*message))) std::abort();
  if (const auto message = decodeSessionOpen(bytes); message && !decodeSessionOpen(encode(*message))) std::abort();
  if (const auto message = decodeLogsFrame(bytes); message && !decodeLogsFrame(encode(*message))) std::abort();
  if (const auto message = decodeSessionsReply(bytes); message && !decodeSessionsReply(encode(*message))) std::abort();
  [[maybe_unused]] const auto enrolled = decodeEnrollResponse(bytes);
  [[maybe_unused]] const auto renewed = decodeRenewResponse(bytes);
  [[maybe_unused]] const auto status = decodeStatus(bytes);
  [[maybe_unused]] const auto frame = parseSessionFrame(bytes, SessionSide::kToClient);
  return 0;
}
