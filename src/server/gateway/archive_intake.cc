#include "server/gateway/archive_intake.h"

#include <charconv>

#include "base/log.h"
#include "base/crash_point.h"
#include "server/blueprints/layered_image.h"
#include "server/core/sandbox_view.h"
#include "server/gateway/status_response.h"

namespace gs {
namespace {

Result<std::uint64_t> numberIn(const HttpRequest& request, std::string_view key) {
  std::uint64_t out = 0;
  const auto text = request.findQuery(key).value_or("");
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the query has no number '{}'", key));
  }
  return out;
}

HttpResponse progress(std::uint64_t offset, std::uint64_t size) {
  HttpResponse response;
  response.headers.set("Upload-Offset", fmt::format("{}", offset));
  response.headers.set("Upload-Complete", offset == size ? "?1" : "?0");
  return response;
}

}  // namespace

Result<ArchiveIntake::Upload> ArchiveIntake::read(const HttpRequest& request) {
  const auto rest = std::string_view(request.path).substr(kPath.size());
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return fail(ErrorCode::kNotFound, "there is nothing at this path");
  Upload out;
  GS_TRY(out.sandboxId, SandboxId::parse(rest.substr(0, slash)));
  GS_TRY(out.layer.digest, Digest::parse(rest.substr(slash + 1)));
  GS_TRY(const auto generation, numberIn(request, "generation"));
  GS_TRY(out.layer.sizeBytes, numberIn(request, "size"));
  out.generation = static_cast<std::int64_t>(generation);
  out.layer.name = fmt::format("{}-{}-{}", out.sandboxId.text(), generation, out.layer.digest.hex());
  if (request.method == "PUT") {
    GS_TRY(out.offset, numberIn(request, "offset"));
  }
  return out;
}

Task<HttpResponse> ArchiveIntake::handle(HostId host, HttpRequest& request, BodyReader& body) {
  auto upload = read(request);
  if (!upload) co_return statusResponse(upload.error());
  const auto size = upload->layer.sizeBytes;
  if (request.method == "PUT") {
    const auto taken = co_await take(std::move(host), std::move(*upload), body);
    co_return taken ? progress(*taken, size) : statusResponse(taken.error());
  }
  const auto target = co_await store_.archiveTarget(host, upload->sandboxId, upload->generation);
  if (!target) co_return statusResponse(target.error());
  const auto offset = co_await receiver_.offset(upload->layer);
  if (!offset) co_return statusResponse(offset.error());
  auto response = progress(*offset, size);
  // All bytes, and not archived: the end of it was lost. The PUT of nothing from there on makes up for it.
  response.headers.set("Upload-Complete", "?0");
  co_return response;
}

Task<Result<std::uint64_t>> ArchiveIntake::take(HostId host, Upload upload, BodyReader& body) {
  GS_CO_TRY(auto target, co_await store_.archiveTarget(host, upload.sandboxId, upload.generation));
  // Before gigabytes are sent for nothing.
  GS_CO_TRY(const auto image, addLayer(target.manifest, target.imageConfig, {upload.layer.digest, upload.layer.sizeBytes}));
  GS_CO_TRY(const auto here, co_await receiver_.receive(upload.layer, upload.offset, body));
  crashPoint("archive.received");
  if (here == upload.layer.sizeBytes) {
    const auto name = upload.layer.name;
    auto finished = co_await finish(std::move(host), std::move(upload), std::move(target));
    // Nobody will ask for these bytes again when they are refused for what they are.
    if (!finished && (finished.error().code == ErrorCode::kInvalidArgument || finished.error().reason == "not_archiving")) {
      (void)co_await receiver_.discard(name);
    }
    GS_CO_CHECK(finished);
  }
  co_return here;
}

Task<Status> ArchiveIntake::finish(HostId host, Upload upload, Store::ArchiveTarget target) {
  GS_CO_TRY(auto image, addLayer(target.manifest, target.imageConfig, {upload.layer.digest, upload.layer.sizeBytes}));
  GS_CO_TRY(const auto published, co_await receiver_.publish(upload.layer, image.imageConfig));
  crashPoint("archive.published");
  Store::FinishedArchive archive;
  archive.generation = upload.generation;
  archive.manifest = image.manifest.canonical();
  archive.manifestDigest = Digest::of(archive.manifest);
  archive.imageConfig = std::move(image.imageConfig);
  archive.sizeBytes = static_cast<std::int64_t>(image.manifest.sizeBytes());
  archive.layerBytes = static_cast<std::int64_t>(upload.layer.sizeBytes);
  GS_CO_TRY(const auto record, co_await store_.finishArchive(host, upload.sandboxId, std::move(archive)));
  crashPoint("archive.finished");
  logInfo("sandbox_archived", {{"host", host.text()}, {"sandbox", record.id.text()}, {"layer_bytes", upload.layer.sizeBytes}});
  // The host is told to remove it; should that get lost, its next inventory shows that it has it.
  auto release = assignmentOf(target.sandbox);
  release.generation = static_cast<std::uint64_t>(record.generation);
  release.desired = DesiredState::kDeleted;
  hub_.sendAssignment(host, release);
  events_.notify(record.id);
  co_return Status();
}

Task<void> ArchiveIntake::clean() {
  const auto wanted = co_await store_.archivingSandboxes();
  const auto names = co_await receiver_.names();
  if (!wanted || !names) co_return;
  for (const auto& name : *names) {
    const auto id = SandboxId::parse(name.substr(0, name.find('-')));
    if (id && std::binary_search(wanted->begin(), wanted->end(), *id)) continue;
    if (co_await receiver_.discard(name)) logInfo("archive_upload_dropped", {{"upload", name}});
  }
}

}  // namespace gs
