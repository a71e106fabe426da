// What a hostile guest can put on the agent's socket: framing, then both decoders. The first byte chooses how the rest is
// cut into reads.
#include <cstdlib>

#include "agent/guest_channel/guest_messages.h"
#include "wire/guest_frames.h"

namespace {

void checkText(const std::string& text, std::size_t limit) {
  if (text.size() > limit) std::abort();
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) std::abort();
  }
}

void checkExit(const gs::ProcessExit& exit) {
  if (exit.code < 0 || exit.code > 255 || exit.signal < 0 || exit.signal > 64) std::abort();
  checkText(exit.startError, 1024 + 16);
}

void decode(std::string_view payload) {
  if (payload.size() > gs::kMaxGuestFrameBytes) std::abort();
  if (const auto frame = gs::decodeGuestFrame(payload)) {
    if (const auto* hello = std::get_if<gs::GuestHello>(&*frame)) {
      checkText(hello->version, 64 + 16);
      checkExit(hello->workload.exit);
    } else if (const auto* attach = std::get_if<gs::ExecAttach>(&*frame)) {
      if (attach->key.size() != gs::kExecKeyBytes) std::abort();
    } else if (const auto* list = std::get_if<gs::SessionList>(&*frame)) {
      if (list->sessions.size() > gs::kMostListedSessions) std::abort();
      for (const auto& session : list->sessions) {
        checkText(session.id, 64 + 16);
        checkText(session.owner, 64 + 16);
        checkText(session.program, 128 + 16);
        checkExit(session.exit);
        if (session.age.count() < 0) std::abort();
      }
    } else if (const auto* failed = std::get_if<gs::ExecFailed>(&*frame)) {
      checkText(failed->error.message, 1024 + 64);
    }
  }
  if (const auto frame = gs::decodeExecFrame(payload)) {
    if (const auto* exit = std::get_if<gs::ProcessExit>(&*frame)) checkExit(*exit);
    if (const auto* start = std::get_if<gs::SessionStart>(&*frame); start && start->terminal && !gs::isTerminalSize(*start->terminal)) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = static_cast<std::size_t>(data[0]) + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  gs::GuestFrameParser parser;
  while (!rest.empty() && !parser.broken()) {
    parser.feed(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
    while (const auto frame = parser.next()) decode(*frame);
    if (!parser.broken() && parser.pendingBytes() > gs::kMaxGuestFrameBytes + gs::kGuestFrameHeaderBytes) std::abort();
  }
  return 0;
}
