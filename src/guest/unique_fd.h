// A file descriptor that is closed when its owner goes.
#pragma once

#include "trees/owned_fd.h"

namespace gs::guest {

using UniqueFd = OwnedFd;

}  // namespace gs::guest
