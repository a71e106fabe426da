#include <nlohmann/json.hpp>

#include "cli/archive.h"
#include "cli/commands/commands.h"
#include "cli/progress.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

// A slow link must not be cut off: ten minutes, and one second more for each MiB.
Millis uploadTimeout(const Context& context, const Archive& archive) {
  if (const auto given = context.givenTimeout()) return *given;
  const std::uint64_t mib = archive.sizeBytes().value_or(std::uint64_t{32} << 30) >> 20;
  return Millis(600'000) + Millis(static_cast<std::int64_t>(mib) * 1000);
}

struct CreateArgs {
  std::string name;
  std::string archive;
};

Result<int> createBlueprint(Context& context, const CreateArgs& args) {
  GS_TRY(auto archive, Archive::open(args.archive));
  GS_TRY(ApiClient* const api, context.api());
  const SystemClock clock;
  Output& out = context.out();
  ApiClient::Upload upload;
  upload.fd = archive.fd();
  upload.sizeBytes = archive.sizeBytes();
  upload.contentType = "application/x-tar";
  upload.timeout = uploadTimeout(context, archive);
  if (archive.sizeBytes()) {
    Progress hashing(out, clock, "hashing", archive.sizeBytes());
    GS_TRY(const Digest digest, archive.hash([&](std::uint64_t done) { hashing.update(done); }));
    upload.contentDigest = contentDigestHeader(digest);
    out.liveLine("");
  }
  Progress sending(out, clock, "uploading", archive.sizeBytes());
  upload.progress = [&](std::uint64_t sent) { sending.update(sent); };
  GS_TRY(const Json blueprint, api->upload("/api/blueprints", {{"name", args.name}}, std::move(upload)));
  sending.finish("uploaded");
  if (out.isJson()) return out.json(blueprint), 0;
  if (out.isQuiet()) return out.line(textAt(blueprint, "id")), 0;
  out.line(fmt::format("Blueprint {} created ({}, {}, {}).", textAt(blueprint, "name"), textAt(blueprint, "id"),
                       textAt(blueprint, "architecture"),
                       formatBytes(static_cast<std::uint64_t>(numberAt(blueprint, "sizeBytes")))));
  return 0;
}

Result<int> listBlueprints(Context& context) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(auto blueprints, api->list("/api/blueprints"));
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(blueprints)), 0;
  if (out.isQuiet()) {
    for (const auto& blueprint : blueprints) out.line(textAt(blueprint, "id"));
    return 0;
  }
  if (blueprints.empty()) {
    out.note("no blueprints yet: make one with gstacks blueprint create NAME --archive image.tar");
    return 0;
  }
  Table table(
      {{"NAME"}, {"ID"}, {"ARCH"}, {"SIZE", Align::kRight}, {"LAYERS", Align::kRight}, {"DIGEST"}, {"CREATED"}});
  for (const auto& blueprint : blueprints) {
    table.add({textAt(blueprint, "name"), textAt(blueprint, "id"), textAt(blueprint, "architecture"),
               formatBytes(static_cast<std::uint64_t>(numberAt(blueprint, "sizeBytes"))),
               fmt::format("{}", blueprint.value("layers", Json::array()).size()),
               textAt(blueprint, "digest").substr(0, 19), formatAge(textAt(blueprint, "createdAt"), context.now())});
  }
  out.table(table);
  return 0;
}

Result<int> blueprintInfo(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const Json blueprint, fetchResource(*api, kBlueprints, reference));
  Output& out = context.out();
  if (out.isJson()) return out.json(blueprint), 0;
  if (out.isQuiet()) return out.line(textAt(blueprint, "id")), 0;
  Properties p;
  p.add("Name", textAt(blueprint, "name"));
  p.add("Id", textAt(blueprint, "id"));
  p.add("Digest", textAt(blueprint, "digest"));
  p.add("Platform", fmt::format("{}/{}", textAt(blueprint, "os"), textAt(blueprint, "architecture")));
  p.add("Size", formatBytes(static_cast<std::uint64_t>(numberAt(blueprint, "sizeBytes"))));
  p.add("Made from", fmt::format("{} {}", textAt(blueprint, "source"), textAt(blueprint, "archiveDigest")));
  p.add("Created", formatMoment(textAt(blueprint, "createdAt"), context.now()));
  p.add("Created by", textAt(blueprint, "createdBy"));
  p.add("User", textAt(blueprint, "config.user"));
  p.add("Directory", textAt(blueprint, "config.workingDir"));
  p.add("Entry point", fmt::format("{}", fmt::join(linesAt(blueprint, "config.entrypoint"), " ")));
  p.add("Arguments", fmt::format("{}", fmt::join(linesAt(blueprint, "config.cmd"), " ")));
  p.addBlock("Environment", linesAt(blueprint, "config.env"));
  std::vector<std::string> layers;
  for (const auto& layer : blueprint.value("layers", Json::array())) {
    layers.push_back(fmt::format("{}  {}", textAt(layer, "digest"),
                                 formatBytes(static_cast<std::uint64_t>(numberAt(layer, "sizeBytes")))));
  }
  p.addBlock("Layers", std::move(layers));
  out.properties(p);
  return 0;
}

Result<int> deleteBlueprint(Context& context, const std::string& reference) {
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kBlueprints, reference));
  GS_TRY(const Json gone, api->remove(resourcePath(kBlueprints, id)));
  static_cast<void>(gone);
  if (context.out().isJson()) return context.out().json(Json{{"id", id}, {"deleted", true}}), 0;
  context.out().line(context.out().isQuiet() ? id : fmt::format("Blueprint {} deleted.", reference));
  return 0;
}

}  // namespace

void addBlueprintCommands(Command& root) {
  Command& group = root.add("blueprint", "Manage the images that sandboxes start from");
  {
    const auto args = std::make_shared<CreateArgs>();
    Command& create = group.add("create", "Import an image archive as a blueprint");
    create.argument("NAME", args->name, "Name of the new blueprint; it cannot be changed or used again");
    create
        .option("--archive", "FILE", args->archive,
                "An OCI image layout or docker save archive (tar, or tar.gz); - is standard input")
        .required()
        .file();
    create.details(
        "The archive is hashed first, so that the server can tell bytes that were damaged on the way; from a pipe it "
        "goes\n"
        "unhashed. --timeout covers the whole upload (default 10 minutes and one second for each MiB).\n\n"
        "Examples:\n"
        "  gstacks blueprint create debian-12 --archive debian.tar\n"
        "  docker save debian:12 | gstacks blueprint create debian-12 --archive -");
    create.run([args](Context& context) { return createBlueprint(context, *args); });
  }
  group.add("list", "List blueprints").run([](Context& context) { return listBlueprints(context); });
  const auto add = [&group](std::string name, std::string summary,
                            Result<int> (*action)(Context&, const std::string&)) {
    const auto reference = std::make_shared<std::string>();
    Command& command = group.add(std::move(name), std::move(summary));
    command.argument("BLUEPRINT", *reference, "Id, name or digest of the blueprint");
    command.run([reference, action](Context& context) { return action(context, *reference); });
  };
  add("info", "Show one blueprint: layers, platform, configuration", blueprintInfo);
  add("delete", "Delete a blueprint that no sandbox uses", deleteBlueprint);
}

}  // namespace gs::cli
