// What a client can put on a session's WebSocket, and an agent on its channel: the frame, then what its payload should be.
#include <cstdint>
#include <cstdlib>

#include "wire/session_frames.h"

namespace {

void read(const gs::SessionFrame& frame) {
  using gs::SessionFrameType;
  if (frame.payload.size() > gs::kMaxSessionPayload) std::abort();
  switch (frame.type) {
    case SessionFrameType::kResize:
    case SessionFrameType::kResized:
      if (const auto size = gs::parseTerminalSize(frame.payload)) {
        if (!gs::isTerminalSize(*size) || gs::parseTerminalSize(gs::terminalSizeJson(*size)) != *size) std::abort();
      }
      break;
    case SessionFrameType::kAck:
    case SessionFrameType::kInputAck:
      if (const auto offset = gs::parseSessionOffset(frame.payload)) {
        if (*offset >> 53 != 0 || gs::parseSessionOffset(gs::sessionOffsetJson(*offset)) != *offset) std::abort();
      }
      break;
    case SessionFrameType::kLeave:
      if (const auto how = gs::parseSessionDeparture(frame.payload)) {
        if (gs::parseSessionDeparture(gs::sessionDepartureJson(*how)) != *how) std::abort();
      }
      break;
    default: break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  const auto fromClient = gs::parseSessionFrame(message, gs::SessionSide::kFromClient);
  const auto toClient = gs::parseSessionFrame(message, gs::SessionSide::kToClient);
  if (fromClient && toClient) std::abort();
  if (fromClient) read(*fromClient);
  if (toClient) read(*toClient);
  return 0;
}
