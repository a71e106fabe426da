// Named places where a test can kill this process, one before and one after every effect of a lifecycle verb.
//
// GSTACKS_CRASH_POINT=name or name:n raises SIGKILL the n-th time (default first) that the point is passed. Unset, a
// point costs one load of a static. Read once, at the first point passed.
#pragma once

#include <string_view>

namespace gs {
void crashPoint(std::string_view name);
}  // namespace gs
