#include "agent/link/link_layer_uploader.h"

#include <charconv>

namespace gs {
namespace {

constexpr std::size_t kMaxAnswer = 16 * 1024;

std::string targetOf(const LayerOffer& offer) {
  return fmt::format("/agent/v1/archives/{}/{}?generation={}&size={}", offer.sandboxId.text(), offer.digest.text(), offer.generation,
                     offer.sizeBytes);
}

}  // namespace

Task<Result<UploadState>> LinkLayerUploader::ask(LayerOffer offer, Deadline deadline) {
  HttpClientRequest request;
  // Not HEAD: an answer to it has no body, and a refusal is told in one.
  request.method = "GET";
  request.target = targetOf(offer);
  co_return co_await exchange(std::move(request), deadline);
}

Task<Result<UploadState>> LinkLayerUploader::send(LayerOffer offer, std::uint64_t offset, std::unique_ptr<BodySource> rest,
                                                  Deadline deadline) {
  HttpClientRequest request;
  request.method = "PUT";
  request.target = targetOf(offer) + fmt::format("&offset={}", offset);
  request.headers.set("Content-Type", "application/octet-stream");
  request.stream = std::move(rest);
  co_return co_await exchange(std::move(request), deadline);
}

Task<Result<UploadState>> LinkLayerUploader::exchange(HttpClientRequest request, Deadline deadline) {
  GS_CO_TRY(auto endpoint, endpointOf(link_.identity()));
  // A client of its own for each: uploads are rare, and the identity may have been renewed.
  const auto client = makeHttpClient(executor_, std::move(endpoint), 0);
  GS_CO_TRY(const auto answer, co_await client->send(std::move(request), deadline, kMaxAnswer));
  if (answer.status != 200) {
    if (auto status = decodeStatus(answer.body); status && !status->message.empty()) co_return fail(std::move(*status));
    co_return fail(ErrorCode::kUnavailable, fmt::format("the server answered {} for a layer", answer.status));
  }
  UploadState state;
  const auto offset = answer.headers.find("Upload-Offset").value_or("");
  const auto [end, problem] = std::from_chars(offset.data(), offset.data() + offset.size(), state.offset);
  if (problem != std::errc() || end != offset.data() + offset.size()) {
    co_return fail(ErrorCode::kInternal, "the server does not say how much of a layer it has");
  }
  state.complete = answer.headers.find("Upload-Complete") == "?1";
  co_return state;
}

}  // namespace gs
