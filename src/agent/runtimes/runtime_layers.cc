#include "agent/runtimes/runtime.h"

namespace gs {
namespace {

std::unexpected<Error> givesNone(std::string_view runtime) {
  return fail(makeError(ErrorCode::kUnimplemented, fmt::format("the runtime {} cannot give a sandbox's files", runtime))
                  .withReason("layers_unsupported"));
}

}  // namespace

Task<Result<LayerMeasure>> Runtime::measureLayer(SandboxId, Deadline) { co_return givesNone(name()); }

Task<Status> Runtime::takeLayer(SandboxId, std::uint64_t, LayerSink&, Deadline) { co_return givesNone(name()); }

// There is nothing that takeLayer() could have made.
Task<Status> Runtime::dropLayers(SandboxId, Deadline) { co_return Status(); }

}  // namespace gs
