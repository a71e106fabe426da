// Receives one layer in several goes, and publishes it when all of it is there and has its digest.
//
// It knows bytes and blobs, not who may send them or what for (gateway/archive_intake.h does). What arrived is kept over
// broken connections and restarts under the sender's name for it. Memory: one piece of a body at a time.
// Loop thread only; files are on the pool. Limits: one go at a time for one name; kMaxLayerBytes.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "async/blocking_pool.h"
#include "net/http_message.h"
#include "server/blueprints/blob_store.h"

namespace gs {

class LayerReceiver {
 public:
  static constexpr std::uint64_t kMaxLayerBytes = 1ULL << 40;
  static constexpr std::uint64_t kReserveBytes = 16ULL << 20;  // of the disk, for the database

  struct Layer {
    std::string name;  // of plain characters; one layer of one sandbox
    Digest digest;
    std::uint64_t sizeBytes = 0;
  };

  LayerReceiver(std::shared_ptr<BlobStore> store, BlockingPool& pool) : store_(std::move(store)), pool_(pool) {}

  // How many of its bytes are here. kResourceExhausted (disk_full): there is no room for the rest; told before it is sent,
  // because who is in the middle of sending may not hear it.
  [[nodiscard]] Task<Result<std::uint64_t>> offset(Layer layer);
  // Appends the body, which begins at `offset`; returns how many bytes are here then. kAborted (reason offset_differs):
  // another number is here. kUnavailable (reason upload_in_progress): another go is under way. kInvalidArgument: more
  // bytes than announced, nothing of them kept. kResourceExhausted (disk_full). A body that breaks off: kUnavailable, what
  // came is kept. All bytes, but not of that digest: kDataLoss, and nothing is kept. All bytes and the digest right, but
  // no layer that can be unpacked safely: kInvalidArgument, and nothing is kept.
  [[nodiscard]] Task<Result<std::uint64_t>> receive(Layer layer, std::uint64_t offset, BodyReader& body);
  // Makes the complete layer a blob, and `document` with it; returns the document's digest. Repeat: success.
  [[nodiscard]] Task<Result<Digest>> publish(Layer layer, std::string document);
  // Unknown: success.
  [[nodiscard]] Task<Status> discard(std::string name);
  [[nodiscard]] Task<Result<std::vector<std::string>>> names();

 private:
  [[nodiscard]] Task<Result<std::uint64_t>> append(Layer layer, std::uint64_t offset, BodyReader& body);

  std::shared_ptr<BlobStore> store_;
  BlockingPool& pool_;
  std::set<std::string> busy_;
};

}  // namespace gs
