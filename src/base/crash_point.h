// Named places where a test can kill this process, one before and one after every effect of a lifecycle verb.
//
// GSTACKS_CRASH_POINT=name or name:n raises SIGKILL the n-th time (default first) that the point is passed. An absolute path
// names a file instead, which is read at every point passed: a point whose name is its first line removes it and ends the
// process, so that a test can order the end of a process that runs already, and the next one lives. Unset, a point costs one
// load of a static. The variable is read once, at the first point passed.
#pragma once

#include <string_view>

namespace gs {
void crashPoint(std::string_view name);
}  // namespace gs
