#include "server/api/contract.h"

#include <nlohmann/json.hpp>

#include <cctype>

namespace gs {

extern const char* const kOpenApiChunks[];
extern const std::size_t kOpenApiChunkCount;

namespace {

constexpr int kMaxDepth = 24;

Error broken(std::string_view what) {
  return makeError(ErrorCode::kInternal, fmt::format("the HTTP contract cannot be used: {}", what));
}

// Copies `node` with every reference replaced by what it points to. Request schemas have no cycles; a depth limit says so.
Result<Json> resolve(const Json& document, const Json& node, int depth = 0) {
  if (depth > kMaxDepth) return fail(broken("a schema refers to itself, or is too deep"));
  if (node.is_array()) {
    Json out = Json::array();
    for (const auto& item : node) {
      GS_TRY(auto resolved, resolve(document, item, depth + 1));
      out.push_back(std::move(resolved));
    }
    return out;
  }
  if (!node.is_object()) return node;
  if (const auto ref = node.find("$ref"); ref != node.end() && ref->is_string()) {
    const auto& target = ref->get_ref<const std::string&>();
    if (!target.starts_with("#/")) return fail(broken("reference " + target));
    const Json::json_pointer pointer(target.substr(1));
    if (!document.contains(pointer)) return fail(broken("reference " + target));
    return resolve(document, document.at(pointer), depth + 1);
  }
  Json out = Json::object();
  for (const auto& [key, value] : node.items()) {
    GS_TRY(out[key], resolve(document, value, depth + 1));
  }
  return out;
}

ParameterType typeOf(const Json& schema) {
  const std::string type = schema.value("type", "string");
  if (type == "integer") return ParameterType::kInteger;
  if (type == "boolean") return ParameterType::kBoolean;
  return type == "array" ? ParameterType::kList : ParameterType::kText;
}

Result<Parameter> readParameter(const Json& document, const Json& node) {
  GS_TRY(const Json parameter, resolve(document, node));
  Parameter out;
  out.name = parameter.value("name", "");
  const std::string place = parameter.value("in", "");
  if (out.name.empty() || !parameter.contains("schema")) return fail(broken("a parameter without name or schema"));
  if (place == "path") {
    out.place = ParameterPlace::kPath;
  } else if (place == "header") {
    out.place = ParameterPlace::kHeader;
  } else if (place != "query") {
    return fail(broken("a parameter in " + place));
  }
  out.type = typeOf(parameter["schema"]);
  out.required = parameter.value("required", false);
  out.missingStatus = parameter.value("x-gs-missing-status", 400);
  out.replacedWhenInvalid = parameter.value("x-gs-invalid", "") == "replaced";
  GS_TRY(out.validator, SchemaValidator::compile(parameter["schema"]));
  return out;
}

Status readBody(const Json& document, const Json& node, Operation& operation) {
  GS_TRY(const Json body, resolve(document, node));
  const Json content = body.value("content", Json::object());
  if (content.size() != 1) return fail(broken(operation.id + " must have one kind of body"));
  operation.mediaType = content.begin().key();
  operation.bodyRequired = body.value("required", false);
  operation.body = operation.mediaType == "application/json" ? BodyKind::kJson : BodyKind::kStream;
  if (operation.body == BodyKind::kStream) return {};
  GS_TRY(operation.bodyValidator, SchemaValidator::compile(content.begin().value().value("schema", Json::object())));
  return {};
}

std::vector<std::string> splitPath(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    out.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return out;
}

Result<Operation> readOperation(const Json& document, const std::string& path, const Json& item,
                                const std::string& method) {
  const Json& node = item.at(method);
  Operation out;
  out.id = node.value("operationId", "");
  out.method = method;
  for (char& c : out.method) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  out.segments = splitPath(path);
  const std::string role = node.value("x-gs-role", "");
  if (role != "none") {
    auto parsed = parseRole(role);
    if (out.id.empty() || !parsed) return fail(broken(path + ": operationId or x-gs-role"));
    out.role = *parsed;
  }
  for (const auto& way : node.value("security", Json::array())) out.acceptsTicket = out.acceptsTicket || way.contains("ticket");
  for (const Json* owner : {&item, &node}) {
    const auto parameters = owner->find("parameters");
    if (parameters == owner->end()) continue;
    for (const auto& each : *parameters) {
      GS_TRY(auto parameter, readParameter(document, each));
      out.parameters.push_back(std::move(parameter));
    }
  }
  out.maxBodyBytes = node.value("x-gs-max-body-bytes", out.maxBodyBytes);
  if (const auto body = node.find("requestBody"); body != node.end()) GS_CHECK(readBody(document, *body, out));
  return out;
}

Result<std::vector<Operation>> readOperations(const Json& document) {
  std::vector<Operation> out;
  for (const auto& [path, item] : document.at("paths").items()) {
    for (const char* method : {"get", "put", "post", "delete", "patch"}) {
      if (!item.contains(method)) continue;
      GS_TRY(auto operation, readOperation(document, path, item, method));
      out.push_back(std::move(operation));
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Contract>> Contract::load() {
  std::string text;
  for (std::size_t i = 0; i < kOpenApiChunkCount; ++i) text += kOpenApiChunks[i];
  return parse(std::move(text));
}

Result<std::unique_ptr<Contract>> Contract::parse(std::string text) {
  auto out = std::make_unique<Contract>();
  try {
    GS_TRY(const Json document, parseJson(text));
    GS_TRY(out->operations_, readOperations(document));
  } catch (const Json::exception& e) {
    return fail(broken(e.what()));
  }
  out->text_ = std::move(text);
  return out;
}

}  // namespace gs
