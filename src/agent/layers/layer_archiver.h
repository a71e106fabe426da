// Takes a sandbox's changed layer from its runtime and brings it to the control plane.
//
// Order: room is checked, the runtime gives the layer, the agent's own material is left out, the rest is spooled
// (layer_spool.h) and the runtime's temporary things are removed; then the spooled bytes are uploaded from where the last
// try ended. Nothing here removes the sandbox: that is decided elsewhere, when the control plane has everything.
// It does NOT journal or decide; the supervisor journals the intent before take() and calls discard() when the layer is
// not wanted any more. Capturing a blueprint from a sandbox stands on the same three calls.
//
// Lifetime: owned by the daemon; the parts outlive it. Threads: loop thread only; files are on the pool. Restart: a layer
// that was spooled is found again, one that was being taken is taken anew. Limits: one layer is taken at a time a host.
#pragma once

#include "agent/layers/layer_spool.h"
#include "agent/layers/layer_uploader.h"
#include "agent/runtimes/runtime.h"
#include "async/async_mutex.h"
#include "async/blocking_pool.h"

namespace gs {

class LayerArchiver {
 public:
  struct Parts {
    Executor executor;
    Runtime& runtime;
    LayerUploader& uploader;
    BlockingPool& pool;
    BlobFiles& files;
  };
  LayerArchiver(Parts parts, std::filesystem::path folder, std::uint64_t reserveBytes);

  [[nodiscard]] Status recover() { return spool_.recover(); }  // once after a (re)start; blocks

  // Afterwards the layer is spooled for this generation. Repeat: what was spooled stays, after its bytes were read once.
  // A sandbox without container gives an empty layer. Cancel: nothing is kept but the runtime's temporary things.
  //   kResourceExhausted (reason "disk_full")  the host has no room for it; the message says how much is missing
  //   otherwise as Runtime::takeLayer
  [[nodiscard]] Task<Status> take(SandboxId id, std::uint64_t generation, Deadline deadline);
  // Until the control plane has all of it, checked and durable. kNotFound: it was not taken. Otherwise as LayerUploader.
  [[nodiscard]] Task<Status> send(SandboxId id, std::uint64_t generation, Deadline deadline);
  // Removes the spooled layers and the runtime's temporary things of this sandbox. Unknown: success.
  [[nodiscard]] Task<Status> discard(SandboxId id, Deadline deadline);

 private:
  class SpoolSink;
  [[nodiscard]] Task<Result<TakenLayer>> spool(SandboxId id, std::uint64_t generation, SpoolSink& sink, Deadline deadline);
  [[nodiscard]] Task<Status> checkRoom(SandboxId id, Deadline deadline);
  [[nodiscard]] Task<Result<std::optional<TakenLayer>>> find(SandboxId id, std::uint64_t generation);

  Parts parts_;
  LayerSpool spool_;
  std::uint64_t reserveBytes_;
  AsyncMutex taking_;
};

}  // namespace gs
