// Brings taken layers to the agent listener of the control plane, with this host's certificate.
//
// GET and PUT /agent/v1/archives/{sandboxId}/{digest}?generation=&size=[&offset=]; the answer says how many bytes the
// control plane has (Upload-Offset) and whether that is all (Upload-Complete: ?1). See server/gateway/archive_intake.h.
// Loop thread only; the link outlives it.
#pragma once

#include "agent/layers/layer_uploader.h"
#include "agent/link/control_link.h"

namespace gs {

class LinkLayerUploader final : public LayerUploader {
 public:
  LinkLayerUploader(Executor executor, ControlLink& link) : executor_(std::move(executor)), link_(link) {}

  [[nodiscard]] Task<Result<UploadState>> ask(LayerOffer offer, Deadline deadline) override;
  [[nodiscard]] Task<Result<UploadState>> send(LayerOffer offer, std::uint64_t offset, std::unique_ptr<BodySource> rest,
                                               Deadline deadline) override;

 private:
  [[nodiscard]] Task<Result<UploadState>> exchange(HttpClientRequest request, Deadline deadline);

  Executor executor_;
  ControlLink& link_;
};

}  // namespace gs
