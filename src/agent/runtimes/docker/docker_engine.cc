#include "agent/runtimes/docker/docker_engine.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/encoding.h"
#include "base/log.h"
#include "net/http_target.h"

namespace gs {
namespace {

constexpr std::size_t kMaxAnswerBytes = 8 * 1024 * 1024;  // an image's labels and environment are echoed in it
constexpr std::size_t kMaxListBytes = 64 * 1024 * 1024;
// One load per client at a time is the rule, so idle connections beyond a few are other calls' leftovers.
constexpr std::size_t kMaxIdle = 4;

Error notUnderstood(std::string_view doing) {
  return makeError(ErrorCode::kInternal, "Docker's answer is not of the documented form").context(std::string(doing));
}

bool isSuccess(const HttpClientResponse& response) {
  return response.status >= 200 && response.status < 300;
}

bool boolAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

std::string stringAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

int intAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<int>() : 0;
}

// Go's zero time stands for "never"; fractions have nought to nine digits, ours have three.
std::optional<WallTime> timeAt(const Json& object, const char* key) {
  auto text = stringAt(object, key);
  if (text.size() < 20 || !text.ends_with('Z') || text.starts_with("0001-")) return std::nullopt;
  text.pop_back();
  std::string fraction = text.size() > 20 ? text.substr(20) : "";
  fraction.resize(3, '0');
  auto time = parseTime(text.substr(0, 19) + "." + fraction + "Z");
  return time ? std::optional(*time) : std::nullopt;
}

EngineLabels labelsAt(const Json& object, const char* key) {
  EngineLabels out;
  const auto it = object.find(key);
  if (it == object.end() || !it->is_object()) return out;
  for (const auto& [name, value] : it->items()) {
    if (value.is_string()) out.emplace_back(name, value.get<std::string>());
  }
  return out;
}

std::string withoutSlash(std::string name) {
  if (name.starts_with('/')) name.erase(0, 1);
  return name;
}

std::string labelFilter(const std::vector<std::string>& labels, Json filters = Json::object()) {
  filters["label"] = labels;
  return percentEncode(canonicalJson(filters));
}

EngineInfo infoOf(const Json& json) {
  EngineInfo out;
  out.version = escapeForLog(stringAt(json, "ServerVersion"), 64);
  out.liveRestore = boolAt(json, "LiveRestoreEnabled");
  out.memoryLimits = boolAt(json, "MemoryLimit");
  out.cpuLimits = boolAt(json, "CpuCfsQuota");
  out.pidsLimits = boolAt(json, "PidsLimit");
  out.dataFolder = stringAt(json, "DockerRootDir");
  if (const auto options = json.find("SecurityOptions"); options != json.end() && options->is_array()) {
    for (const auto& option : *options) {
      const auto text = option.is_string() ? option.get<std::string>() : std::string();
      if (text.starts_with("name=seccomp")) out.seccomp = !text.contains("profile=unconfined");
    }
  }
  if (const auto status = json.find("DriverStatus"); status != json.end() && status->is_array()) {
    for (const auto& row : *status)
      out.containerdStore |= row.is_array() && row.dump().contains("io.containerd.snapshotter");
  }
  return out;
}

// The load answers 200 first and reports what went wrong as a JSON line in the body.
Status loadOutcome(std::string_view body) {
  while (!body.empty()) {
    const auto end = body.find('\n');
    const auto line = body.substr(0, end);
    body = end == std::string_view::npos ? std::string_view() : body.substr(end + 1);
    if (line.find_first_not_of(" \r\t") == std::string_view::npos) continue;
    auto json = parseJson(line);
    if (!json || !json->is_object()) return fail(notUnderstood("loading an image"));
    if (const auto sentence = stringAt(*json, "error"); !sentence.empty()) {
      auto error = engineStreamError(sentence, "loading an image");
      if (error.code == ErrorCode::kInternal) error.code = ErrorCode::kDataLoss;
      return fail(std::move(error));
    }
  }
  return {};
}

}  // namespace

std::string_view EngineContainer::label(std::string_view key) const {
  const auto it = std::ranges::find(labels, key, &EngineLabels::value_type::first);
  return it == labels.end() ? std::string_view() : std::string_view(it->second);
}

bool EngineContainer::hasLabel(std::string_view key) const {
  return std::ranges::any_of(labels, [&](const auto& label) { return label.first == key; });
}

DockerEngine::DockerEngine(Executor executor, std::string socketPath) : socketPath_(std::move(socketPath)) {
  HttpEndpoint endpoint;
  endpoint.unixPath = socketPath_;
  client_ = makeHttpClient(std::move(executor), std::move(endpoint), kMaxIdle);
}

Task<Result<HttpClientResponse>> DockerEngine::call(HttpClientRequest request, Deadline deadline,
                                                    std::size_t maxBodyBytes) {
  request.target.insert(0, kEnginePrefix);
  auto response = co_await client_->send(std::move(request), deadline, maxBodyBytes);
  if (!response) co_return fail(engineUnreachable(std::move(response.error()), socketPath_));
  co_return response;
}

Task<Result<HttpClientResponse>> DockerEngine::call(std::string method, std::string target, Deadline deadline) {
  HttpClientRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  co_return co_await call(std::move(request), deadline, kMaxAnswerBytes);
}

Task<Result<EngineInfo>> DockerEngine::info(Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("GET", "/info", deadline));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "asking Docker about itself"));
  const auto json = parseJson(answer.body);
  if (!json || !json->is_object()) co_return fail(notUnderstood("asking Docker about itself"));
  co_return infoOf(*json);
}

Task<Status> DockerEngine::createContainer(std::string name, Json config, Deadline deadline) {
  HttpClientRequest request;
  request.method = "POST";
  request.target = "/containers/create?name=" + percentEncode(name);
  request.headers.set("Content-Type", "application/json");
  request.body = canonicalJson(config);
  GS_CO_TRY(const auto answer, co_await call(std::move(request), deadline, kMaxAnswerBytes));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "creating the container"));
  if (const auto json = parseJson(answer.body); json && json->is_object()) {
    const auto warnings = json->find("Warnings");
    if (warnings != json->end() && warnings->is_array() && !warnings->empty()) {
      logWarn("docker_create_warnings", {{"container", name}, {"warnings", escapeForLog(warnings->dump(), 400)}});
    }
  }
  co_return Status{};
}

Task<Status> DockerEngine::startContainer(std::string name, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("POST", "/containers/" + percentEncode(name) + "/start", deadline));
  if (isSuccess(answer) || answer.status == 304) co_return Status{};
  co_return fail(engineError(answer.status, answer.body, "starting the container"));
}

Task<Status> DockerEngine::killContainer(std::string name, std::string_view signal, Deadline deadline) {
  const auto target = "/containers/" + percentEncode(name) + "/kill?signal=" + percentEncode(signal);
  GS_CO_TRY(const auto answer, co_await call("POST", target, deadline));
  if (isSuccess(answer)) co_return Status{};
  auto error = engineError(answer.status, answer.body, "signalling the container");
  if (error.reason == "not_running") co_return Status{};
  co_return fail(std::move(error));
}

Task<Status> DockerEngine::waitUntilEnded(std::string name, Deadline deadline) {
  const auto target = "/containers/" + percentEncode(name) + "/wait?condition=not-running";
  GS_CO_TRY(const auto answer, co_await call("POST", target, deadline));
  if (isSuccess(answer)) co_return Status{};
  co_return fail(engineError(answer.status, answer.body, "waiting for the container's end"));
}

Task<Status> DockerEngine::waitUntilRemoved(std::string name, Deadline deadline) {
  const auto target = "/containers/" + percentEncode(name) + "/wait?condition=removed";
  GS_CO_TRY(const auto answer, co_await call("POST", target, deadline));
  if (isSuccess(answer)) co_return Status{};
  co_return fail(engineError(answer.status, answer.body, "waiting for the container's removal"));
}

Task<Status> DockerEngine::removeContainer(std::string name, Deadline deadline) {
  GS_CO_TRY(const auto answer,
            co_await call("DELETE", "/containers/" + percentEncode(name) + "?force=1&v=1", deadline));
  if (isSuccess(answer)) co_return Status{};
  co_return fail(engineError(answer.status, answer.body, "removing the container"));
}

Task<Result<std::optional<EngineContainer>>> DockerEngine::inspectContainer(std::string name, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("GET", "/containers/" + percentEncode(name) + "/json", deadline));
  if (!isSuccess(answer)) {
    auto error = engineError(answer.status, answer.body, "inspecting the container");
    if (error.code == ErrorCode::kNotFound) co_return std::optional<EngineContainer>();
    co_return fail(std::move(error));
  }
  const auto json = parseJson(answer.body);
  if (!json || !json->is_object() || !json->contains("State") || !(*json)["State"].is_object()) {
    co_return fail(notUnderstood("inspecting the container"));
  }
  const auto& state = (*json)["State"];
  EngineContainer out;
  out.id = stringAt(*json, "Id");
  out.name = withoutSlash(stringAt(*json, "Name"));
  out.status = stringAt(state, "Status");
  out.pid = intAt(state, "Pid");
  out.exitCode = intAt(state, "ExitCode");
  out.oomKilled = boolAt(state, "OOMKilled");
  out.startedAt = timeAt(state, "StartedAt");
  out.finishedAt = timeAt(state, "FinishedAt");
  if (const auto config = json->find("Config"); config != json->end() && config->is_object()) {
    out.labels = labelsAt(*config, "Labels");
  }
  co_return std::optional(std::move(out));
}

Task<Result<std::vector<EngineContainer>>> DockerEngine::listContainers(std::vector<std::string> labels,
                                                                        Deadline deadline) {
  HttpClientRequest request;
  request.target = "/containers/json?all=1&filters=" + labelFilter(labels);
  GS_CO_TRY(const auto answer, co_await call(std::move(request), deadline, kMaxListBytes));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "listing containers"));
  const auto json = parseJson(answer.body);
  if (!json || !json->is_array()) co_return fail(notUnderstood("listing containers"));
  std::vector<EngineContainer> out;
  for (const auto& item : *json) {
    const auto names = item.is_object() ? item.find("Names") : item.end();
    if (!item.is_object()) co_return fail(notUnderstood("listing containers"));
    EngineContainer container;
    container.id = stringAt(item, "Id");
    container.status = stringAt(item, "State");
    container.labels = labelsAt(item, "Labels");
    if (names != item.end() && names->is_array() && !names->empty() && names->front().is_string()) {
      container.name = withoutSlash(names->front().get<std::string>());
    }
    if (const auto created = item.find("Created"); created != item.end() && created->is_number_integer()) {
      container.createdAt = fromUnixMillis(created->get<std::int64_t>() * 1000);
    }
    if (const auto mounts = item.find("Mounts"); mounts != item.end() && mounts->is_array()) {
      for (const auto& mount : *mounts) {
        if (mount.is_object()) container.mounts.emplace_back(stringAt(mount, "Destination"), stringAt(mount, "Source"));
      }
    }
    out.push_back(std::move(container));
  }
  co_return out;
}

Task<Result<std::vector<std::string>>> DockerEngine::listImages(std::string repository, Deadline deadline) {
  HttpClientRequest request;
  request.target = "/images/json?filters=" + percentEncode(Json{{"reference", {repository}}}.dump());
  GS_CO_TRY(const auto answer, co_await call(std::move(request), deadline, kMaxListBytes));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "listing images"));
  const auto json = parseJson(answer.body);
  if (!json || !json->is_array()) co_return fail(notUnderstood("listing images"));
  std::vector<std::string> out;
  for (const auto& item : *json) {
    const auto tags = item.is_object() ? item.find("RepoTags") : item.end();
    if (!item.is_object() || tags == item.end() || !tags->is_array()) continue;
    for (const auto& tag : *tags) {
      if (tag.is_string() && tag.get<std::string>().starts_with(repository + ":")) out.push_back(tag.get<std::string>());
    }
  }
  co_return out;
}

Task<Result<std::optional<std::string>>> DockerEngine::findImageId(std::string reference, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("GET", "/images/" + percentEncode(reference) + "/json", deadline));
  if (!isSuccess(answer)) {
    auto error = engineError(answer.status, answer.body, "looking for the image");
    if (error.reason == "blueprint_missing") co_return std::optional<std::string>();
    co_return fail(std::move(error));
  }
  const auto json = parseJson(answer.body);
  if (!json || !json->is_object()) co_return fail(notUnderstood("looking for the image"));
  co_return std::optional(stringAt(*json, "Id"));
}

Task<Status> DockerEngine::loadImages(std::unique_ptr<BodySource> archive, Deadline deadline) {
  HttpClientRequest request;
  request.method = "POST";
  request.target = "/images/load?quiet=1";
  request.headers.set("Content-Type", "application/x-tar");
  request.stream = std::move(archive);
  GS_CO_TRY(const auto answer, co_await call(std::move(request), deadline, kMaxAnswerBytes));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "loading an image"));
  co_return loadOutcome(answer.body);
}

Task<Status> DockerEngine::removeImage(std::string reference, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("DELETE", "/images/" + percentEncode(reference), deadline));
  if (isSuccess(answer)) co_return Status{};
  auto error = engineError(answer.status, answer.body, "removing the image");
  if (error.reason == "blueprint_missing") co_return Status{};
  co_return fail(std::move(error));
}

Task<Result<std::unique_ptr<BodyReader>>> DockerEngine::events(std::vector<std::string> labels, Deadline deadline) {
  HttpClientRequest request;
  request.target = std::string(kEnginePrefix) + "/events?filters=" +
                   labelFilter(labels, {{"type", {"container"}}, {"event", {"start", "die", "destroy", "oom"}}});
  auto response = co_await client_->open(std::move(request), deadline);
  if (!response) co_return fail(engineUnreachable(std::move(response.error()), socketPath_));
  if ((*response)->status() != 200) {
    const auto status = (*response)->status();
    GS_CO_TRY(const auto body, co_await readAll(**response, kMaxAnswerBytes));
    co_return fail(engineError(status, body, "listening to Docker"));
  }
  co_return std::unique_ptr<BodyReader>(std::move(*response));
}

}  // namespace gs
