// The calls of DockerEngine that give what a container changed.

#include <nlohmann/json.hpp>

#include <algorithm>

#include "agent/runtimes/docker/docker_engine.h"
#include "base/encoding.h"
#include "net/http_target.h"

namespace gs {
namespace {

constexpr std::size_t kMaxAnswerBytes = 8 * 1024 * 1024;
constexpr std::size_t kMaxListBytes = 64 * 1024 * 1024;

Error notUnderstood(std::string_view doing) {
  return makeError(ErrorCode::kInternal, "Docker's answer is not of the documented form").context(std::string(doing));
}

std::string stringAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::uint64_t bytesAt(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() && it->get<std::int64_t>() > 0 ? it->get<std::uint64_t>() : 0;
}

bool isSuccess(const HttpClientResponse& answer) { return answer.status >= 200 && answer.status < 300; }

}  // namespace

Task<Result<EngineContainerSize>> DockerEngine::measureContainer(std::string name, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("GET", "/containers/" + percentEncode(name) + "/json?size=1", deadline));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "measuring the container"));
  const auto json = parseJson(answer.body);
  if (!json || !json->is_object()) co_return fail(notUnderstood("measuring the container"));
  EngineContainerSize out{bytesAt(*json, "SizeRw"), bytesAt(*json, "SizeRootFs"), stringAt(*json, "Image"), false};
  if (const auto mounts = json->find("Mounts"); mounts != json->end() && mounts->is_array()) {
    out.hasVolumes = std::ranges::any_of(*mounts, [](const Json& m) { return m.is_object() && stringAt(m, "Type") == "volume"; });
  }
  co_return out;
}

Task<Status> DockerEngine::commit(EngineCommit commit, Deadline deadline) {
  const auto change = fmt::format("LABEL {}={}", commit.label, commit.mark);
  const auto target = fmt::format("/commit?container={}&repo={}&tag={}&pause=0&changes={}", percentEncode(commit.container),
                                  percentEncode(commit.repository), percentEncode(commit.tag), percentEncode(change));
  GS_CO_TRY(const auto answer, co_await call("POST", target, deadline));
  if (isSuccess(answer)) co_return Status{};
  co_return fail(engineError(answer.status, answer.body, "making an image of the container"));
}

Task<Result<std::optional<EngineImage>>> DockerEngine::findImage(std::string reference, Deadline deadline) {
  GS_CO_TRY(const auto answer, co_await call("GET", "/images/" + percentEncode(reference) + "/json", deadline));
  if (!isSuccess(answer)) {
    auto error = engineError(answer.status, answer.body, "looking for the image");
    if (error.reason == "blueprint_missing") co_return std::optional<EngineImage>();
    co_return fail(std::move(error));
  }
  const auto json = parseJson(answer.body);
  if (!json || !json->is_object()) co_return fail(notUnderstood("looking for the image"));
  EngineImage out{stringAt(*json, "Id"), {}};
  if (const auto root = json->find("RootFS"); root != json->end() && root->is_object()) {
    GS_CO_TRY(out.layers, getStrings(*root, "Layers"));
  }
  co_return std::optional(std::move(out));
}

Task<Result<std::unique_ptr<BodyReader>>> DockerEngine::saveImage(std::string reference, Deadline deadline) {
  HttpClientRequest request;
  request.target = std::string(kEnginePrefix) + "/images/" + percentEncode(reference) + "/get";
  auto response = co_await client_->open(std::move(request), deadline);
  if (!response) co_return fail(engineUnreachable(std::move(response.error()), socketPath_));
  if ((*response)->status() != 200) {
    const auto status = (*response)->status();
    GS_CO_TRY(const auto body, co_await readAll(**response, kMaxAnswerBytes));
    co_return fail(engineError(status, body, "saving an image"));
  }
  co_return std::unique_ptr<BodyReader>(std::move(*response));
}

Task<Result<std::vector<EngineMarkedImage>>> DockerEngine::listMarkedImages(std::string repository, std::string label,
                                                                           std::string also, Deadline deadline) {
  Json labels = Json::array({label});
  if (!also.empty()) labels.push_back(also);
  HttpClientRequest request;
  request.target = "/images/json?filters=" + percentEncode(Json{{"label", std::move(labels)}}.dump());
  GS_CO_TRY(const auto answer, co_await call(std::move(request), deadline, kMaxListBytes));
  if (!isSuccess(answer)) co_return fail(engineError(answer.status, answer.body, "listing images"));
  const auto json = parseJson(answer.body);
  if (!json || !json->is_array()) co_return fail(notUnderstood("listing images"));
  std::vector<EngineMarkedImage> out;
  for (const auto& item : *json) {
    if (!item.is_object()) co_return fail(notUnderstood("listing images"));
    // A blueprint may bear any label; it has a tag of its own, though.
    const auto tags = item.find("RepoTags");
    const bool others = tags != item.end() && tags->is_array() && std::ranges::any_of(*tags, [&](const Json& tag) {
                          return tag.is_string() && tag.get<std::string>() != "<none>:<none>" &&
                                 !tag.get<std::string>().starts_with(repository + ":");
                        });
    const auto found = item.find("Labels");
    if (others || found == item.end() || !found->is_object()) continue;
    EngineMarkedImage image{stringAt(item, "Id"), stringAt(*found, label.c_str()), std::nullopt};
    if (const auto created = item.find("Created"); created != item.end() && created->is_number_integer()) {
      image.createdAt = fromUnixMillis(created->get<std::int64_t>() * 1000);
    }
    out.push_back(std::move(image));
  }
  co_return out;
}

}  // namespace gs
