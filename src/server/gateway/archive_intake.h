// The door through which hosts bring what sandboxes wrote: checks who may, keeps what comes, and ends the archiving.
//
//   GET /agent/v1/archives/{sandboxId}/{digest}?generation=G&size=N            how far is it?
//   PUT /agent/v1/archives/{sandboxId}/{digest}?generation=G&size=N&offset=O   the bytes from O on
// with the host's certificate. `digest` and `size` are of the whole, uncompressed layer; G is the generation in which the
// sandbox is to be archived. 200: `Upload-Offset` says how many bytes are here, `Upload-Complete: ?1` that they are all,
// have that digest, are durable, and that the sandbox is archived. Otherwise a Status: NOT_FOUND (the sandbox is not on
// this host), FAILED_PRECONDITION (reason not_archiving: not wanted, or no more; what came is dropped), ABORTED (reason
// offset_differs: ask how far it is), UNAVAILABLE (reason upload_in_progress), RESOURCE_EXHAUSTED (no room here),
// DATA_LOSS (not that digest; begin anew), INVALID_ARGUMENT (no layer that can be unpacked safely). Repeat is safe.
//
// The sandbox is archived in one transaction after its bytes are durable; only then its host hears that it may remove it.
// Loop thread only. Restart: what came is kept; cleanSoon() drops what nobody waits for.
#pragma once

#include "async/task_group.h"
#include "net/http_message.h"
#include "server/blueprints/layer_receiver.h"
#include "server/gateway/link_hub.h"
#include "server/sandboxes/sandbox_events.h"
#include "server/store/store.h"

namespace gs {

class ArchiveIntake {
 public:
  ArchiveIntake(Executor executor, Store& store, LinkHub& hub, SandboxEvents& events, std::shared_ptr<BlobStore> blobs, BlockingPool& pool)
      : store_(store), hub_(hub), events_(events), receiver_(std::move(blobs), pool), tasks_(std::move(executor)) {}

  static constexpr std::string_view kPath = "/agent/v1/archives/";
  // For a request below kPath, of a host that was authenticated.
  [[nodiscard]] Task<HttpResponse> handle(HostId host, HttpRequest& request, BodyReader& body);

  // Drops what came for sandboxes that are not being archived (any more). At start.
  void cleanSoon() { tasks_.spawn("archive uploads", clean()); }
  [[nodiscard]] Task<void> stop() { return tasks_.cancelAndJoin(); }

 private:
  struct Upload {
    SandboxId sandboxId;
    std::int64_t generation = 0;
    LayerReceiver::Layer layer;
    std::uint64_t offset = 0;
  };
  [[nodiscard]] static Result<Upload> read(const HttpRequest& request);
  [[nodiscard]] Task<Result<std::uint64_t>> take(HostId host, Upload upload, BodyReader& body);
  [[nodiscard]] Task<Status> finish(HostId host, Upload upload, Store::ArchiveTarget target);
  [[nodiscard]] Task<void> clean();

  Store& store_;
  LinkHub& hub_;
  SandboxEvents& events_;
  LayerReceiver receiver_;
  TaskGroup tasks_;
};

}  // namespace gs
