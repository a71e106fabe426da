// A stored blob as the body of an HTTP answer: read on the blocking pool, 256 KiB at a time.
#pragma once

#include <memory>

#include "async/blocking_pool.h"
#include "net/http_message.h"
#include "server/blueprints/blob_store.h"

namespace gs {

// kNotFound when there is no such blob. The pool must outlive the body; the store is kept by it.
[[nodiscard]] Task<Result<std::unique_ptr<BodySource>>> openBlobBody(BlockingPool& pool,
                                                                     std::shared_ptr<BlobStore> store, Digest digest);

}  // namespace gs
