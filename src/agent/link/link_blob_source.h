// Brings blueprint bytes for the cache: credentials over the control link, blobs over HTTPS from the agent listener.
//
// Loop thread only; the link outlives it. A fresh client is made whenever the identity changes.
#pragma once

#include "agent/link/control_link.h"

namespace gs {

class LinkBlobSource final : public BlobSource {
 public:
  LinkBlobSource(Executor executor, ControlLink& link) : executor_(std::move(executor)), link_(link) {}

  [[nodiscard]] Task<Result<BlobGrant>> requestCredential(Digest manifest, Deadline deadline) override;
  [[nodiscard]] Task<Result<BlobStream>> openBlob(Digest blob, SecretString credential, Deadline deadline) override;

 private:
  Executor executor_;
  ControlLink& link_;
  std::unique_ptr<HttpClient> client_;
  std::string clientCertificate_;  // the identity that client_ was made with
};

}  // namespace gs
