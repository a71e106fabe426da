// Gives back the memory that only starting needed: code pages of option parsing, migrations and handshakes, and the heap
// that they used.
//
// The agent shares its host with sandboxes and has a budget of 15 MiB. Read-only pages of programs and libraries are
// unmapped; the kernel maps those that are used again from its page cache, at the price of a few minor faults. Nothing
// that was written is touched. Safe to repeat; any thread.
#pragma once

namespace gs {
void releaseStartupMemory();
}  // namespace gs
