#include <nlohmann/json.hpp>

#include "cli/commands/commands.h"
#include "cli/file_copy.h"
#include "cli/quantities.h"
#include "cli/resources.h"

namespace gs::cli {
namespace {

struct FileArgs {
  std::string where;
  std::string other;
  std::string mode;
  bool flag = false;
};

struct Place {
  ApiClient* api;
  FileApi files;
  std::string path;
};

Result<Place> placeOf(Context& context, const std::string& text) {
  auto remote = parseRemotePath(text);
  if (!remote) {
    return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("'{}' names no sandbox", text)).withFix("write SANDBOX:PATH, as in web:/etc/hosts"));
  }
  GS_TRY(ApiClient* const api, context.api());
  GS_TRY(const std::string id, resolveId(*api, kSandboxes, remote->sandbox));
  return Place{api, FileApi(*api, id, context.givenTimeout()), std::move(remote->path)};
}

// "drwxr-xr-x", as ls(1) has it.
std::string modeText(const Json& info) {
  const std::string type = textAt(info, "type");
  const auto mode = std::strtoul(textAt(info, "mode").c_str(), nullptr, 8);
  constexpr std::pair<std::string_view, char> kLetters[] = {
      {"file", '-'}, {"directory", 'd'}, {"link", 'l'}, {"fifo", 'p'}, {"socket", 's'}, {"character_device", 'c'}, {"block_device", 'b'}};
  std::string out = "?";
  for (const auto& [name, letter] : kLetters) {
    if (name == type) out = letter;
  }
  for (int shift = 6; shift >= 0; shift -= 3) {
    const auto bits = mode >> shift;
    const bool special = (mode & (shift == 6 ? 04000UL : shift == 3 ? 02000UL : 01000UL)) != 0;
    out += (bits & 4) != 0 ? 'r' : '-';
    out += (bits & 2) != 0 ? 'w' : '-';
    const bool runs = (bits & 1) != 0;
    const char mark = shift == 0 ? 't' : 's';
    out += special ? (runs ? mark : static_cast<char>(mark - 'a' + 'A')) : runs ? 'x' : '-';
  }
  return out;
}

// Names are foreign: the table makes them printable.
std::string shownName(const Json& info) {
  std::string name = nameAt(info, "name");
  if (textAt(info, "type") == "link") name += " -> " + nameAt(info, "linkTarget");
  return name;
}

Result<int> listFiles(Context& context, const FileArgs& args) {
  GS_TRY(auto place, placeOf(context, args.where));
  std::vector<Json> items;
  auto listed = place.files.list(place.path);
  if (listed) {
    items = std::move(*listed);
  } else if (listed.error().reason == "not_a_directory") {
    GS_TRY(Json info, place.files.stat(place.path));
    items.push_back(std::move(info));
  } else {
    return fail(std::move(listed).error());
  }
  Output& out = context.out();
  if (out.isJson()) return out.jsonItems(std::move(items)), 0;
  if (out.isQuiet()) {
    for (const auto& info : items) out.line(nameAt(info, "name"));
    return 0;
  }
  Table table({{"MODE"}, {"OWNER"}, {"SIZE", Align::kRight}, {"MODIFIED"}, {"NAME"}});
  for (const auto& info : items) {
    table.add({modeText(info), fmt::format("{}:{}", numberAt(info, "uid"), numberAt(info, "gid")),
               textAt(info, "type") == "file" ? formatBytes(static_cast<std::uint64_t>(numberAt(info, "sizeBytes"))) : std::string(),
               textAt(info, "modifiedAt").substr(0, 19), shownName(info)});
  }
  if (!table.empty()) out.table(table);
  return 0;
}

Result<int> statFile(Context& context, const FileArgs& args) {
  GS_TRY(auto place, placeOf(context, args.where));
  Query query;
  if (args.flag) query.emplace_back("follow", "true");
  GS_TRY(const Json info, place.files.stat(place.path, std::move(query)));
  Output& out = context.out();
  if (out.isJson()) return out.json(info), 0;
  Properties p;
  p.add("Name", shownName(info));
  p.add("Type", textAt(info, "type"));
  p.add("Size", fmt::format("{} bytes", numberAt(info, "sizeBytes")));
  p.add("Mode", fmt::format("{} ({})", textAt(info, "mode"), modeText(info)));
  p.add("Owner", fmt::format("{}:{}", numberAt(info, "uid"), numberAt(info, "gid")));
  p.add("Modified", textAt(info, "modifiedAt"));
  out.properties(p);
  return 0;
}

Result<int> catFile(Context& context, const FileArgs& args) {
  GS_TRY(auto place, placeOf(context, args.where));
  GS_CHECK(place.files.read(place.path, 0, "", [&](std::string_view piece) -> Status {
    context.out().raw(piece);
    return context.out().flush();
  }));
  return 0;
}

Result<int> removeFile(Context& context, const FileArgs& args) {
  GS_TRY(auto place, placeOf(context, args.where));
  GS_CHECK(place.files.remove(place.path, args.flag));
  if (context.out().isJson()) context.out().json(Json{{"removed", true}});
  return 0;
}

Result<int> makeDirectory(Context& context, const FileArgs& args) {
  GS_TRY(auto place, placeOf(context, args.where));
  Query query;
  if (args.flag) query.emplace_back("parents", "true");
  if (!args.mode.empty()) query.emplace_back("mode", args.mode);
  GS_TRY(const Json info, place.files.makeDirectory(place.path, std::move(query)));
  if (context.out().isJson()) context.out().json(info);
  return 0;
}

Result<int> copyFiles(Context& context, const FileArgs& args) {
  const bool from = parseRemotePath(args.where).has_value();
  if (from == parseRemotePath(args.other).has_value()) {
    return fail(makeError(ErrorCode::kInvalidArgument, from ? "both ends are in sandboxes" : "neither end is in a sandbox")
                    .withFix("write one of the two as SANDBOX:PATH; a file of this machine with a colon in its name as ./NAME"));
  }
  GS_TRY(auto place, placeOf(context, from ? args.where : args.other));
  if (from) {
    GS_CHECK(copyOut(place.files, context.out(), *place.api, place.path, args.other));
  } else {
    GS_CHECK(copyIn(place.files, context.out(), *place.api, args.where, place.path));
  }
  if (context.out().isJson()) context.out().json(Json{{"copied", true}});
  return 0;
}

void addCopy(Command& sandbox) {
  const auto args = std::make_shared<FileArgs>();
  Command& copy = sandbox.add("cp", "Copy files and directories into or out of a sandbox");
  copy.argument("SOURCE", args->where, "SANDBOX:PATH, or a path of this machine");
  copy.argument("DESTINATION", args->other, "The same; one of the two is in a sandbox");
  copy.details(
      "Modes and times are kept; owners by number where the sandbox's root may set them, and never on this machine. A\n"
      "destination that is a directory gets the source under its own name; DIR/. is what is in DIR. Sockets, FIFOs and\n"
      "devices are passed over.\n\n"
      "A large file that breaks off is taken up again where it stopped, now or when the command is given again, unless\n"
      "the source has changed; until it is whole it is in .NAME.gs-….part beside the destination. Trees begin anew.\n"
      "Whatever the sandbox sends, nothing is written outside the destination.\n\n"
      "Examples:\n"
      "  gstacks sandbox cp src scratch:/work\n"
      "  gstacks sandbox cp scratch:/var/log/app.log .");
  copy.run([args](Context& context) { return copyFiles(context, *args); });
}

}  // namespace

void addFileCommands(Command& sandbox) {
  addCopy(sandbox);
  const auto add = [&sandbox](std::string name, std::string summary, Result<int> (*action)(Context&, const FileArgs&)) {
    const auto args = std::make_shared<FileArgs>();
    Command& command = sandbox.add(std::move(name), std::move(summary));
    command.argument("SANDBOX:PATH", args->where, "The sandbox's id or name, and the path in it");
    command.run([args, action](Context& context) { return action(context, *args); });
    return std::pair<Command&, std::shared_ptr<FileArgs>>(command, args);
  };
  add("ls", "List a directory of a sandbox", listFiles);
  add("cat", "Print a file of a sandbox", catFile);
  auto [stat, statArgs] = add("stat", "Show what is at a path of a sandbox", statFile);
  stat.flag("-L,--follow", statArgs->flag, "What a link points to, instead of the link");
  auto [remove, removeArgs] = add("rm", "Remove a file or directory of a sandbox", removeFile);
  remove.flag("-r,--recursive", removeArgs->flag, "Also a directory with everything below it");
  auto [make, makeArgs] = add("mkdir", "Make a directory in a sandbox", makeDirectory);
  make.flag("-p,--parents", makeArgs->flag, "Also the directories above it; one that is there is fine");
  make.option("--mode", "MODE", makeArgs->mode, "Permission bits in octal (default 0755)");
}

}  // namespace gs::cli
