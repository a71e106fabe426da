#include "agent/link/link_blob_source.h"

#include "base/encoding.h"
#include "wire/messages.h"

namespace gs {

Task<Result<BlobGrant>> LinkBlobSource::requestCredential(Digest manifest, Deadline deadline) {
  GS_CO_TRY(auto reply, co_await link_.requestCredential(std::move(manifest), deadline));
  co_return BlobGrant{std::move(reply.manifest), std::move(reply.credential), reply.expiresAt};
}

Task<Result<BlobStream>> LinkBlobSource::openBlob(Digest blob, SecretString credential, Deadline deadline) {
  const HostIdentity& identity = link_.identity();
  if (!client_ || clientCertificate_ != identity.certificatePem) {
    GS_CO_TRY(auto endpoint, endpointOf(identity));
    client_ = makeHttpClient(executor_, std::move(endpoint), 2);
    clientCertificate_ = identity.certificatePem;
  }
  HttpClientRequest request;
  request.target = "/agent/v1/blobs/" + blob.text();
  request.headers.set("Authorization", "Bearer " + std::string(credential.reveal()));
  GS_CO_TRY(auto response, co_await client_->open(std::move(request), deadline));
  if (response->status() == 200) {
    const auto size = response->contentLength();
    co_return BlobStream{std::move(response), size};
  }
  // The body is a Status; one that cannot be read is told by the HTTP status alone.
  const auto body = co_await readAll(*response, 16 * 1024);
  if (body) {
    if (auto status = decodeStatus(*body); status && !status->message.empty()) co_return fail(std::move(*status));
  }
  co_return fail(ErrorCode::kUnavailable, fmt::format("the server answered {} for a blob", response->status()));
}

}  // namespace gs
