// Whether a host that holds a sandbox gets it, although the record says that it has no host, or another one.
//
// A database from an older backup may show a sandbox as waiting for a host that has had one since. Ids are random and a
// host is told only those of its own, so a host that holds a sandbox which, by the record, no host but the present one was
// ever told of, was given it by the database that is lost. That was before anything that this one did: it gets the sandbox
// back, unless it never came to start it and another has it by now. The host that does not get it is told to stop what it
// has and keeps it; nothing is deleted, and nothing runs twice for longer than it takes to tell. Pure.
#pragma once

#include <cstdint>

namespace gs {

enum class HostOrigin : std::uint8_t {
  kNone,          // it waits for one
  kAfterWaiting,  // it waited for the one that it has
  kByClaim,       // by this rule
  kOther,         // at creation, or when it was restored from an archive; or it is archived
};
enum class Lived : std::uint8_t { kNo, kYes };  // whether the sandbox ever started on the host that holds it

enum class ClaimVerdict : std::uint8_t {
  kNone,    // nothing is known: it is left alone and can be adopted
  kTakes,   // the host that holds it is its host
  kYields,  // it is another's: what runs there is stopped
};
[[nodiscard]] ClaimVerdict judgeClaim(HostOrigin origin, Lived lived);

}  // namespace gs
