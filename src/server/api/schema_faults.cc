#include <nlohmann/json.hpp>

#include <regex>

#include "server/api/schema_validator.h"

namespace gs {
namespace {

std::size_t codePoints(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

bool matches(const std::string& pattern, const std::string& text) {
  static std::unordered_map<std::string, std::regex> compiled;  // patterns of the contract: a few dozen
  auto found = compiled.find(pattern);
  if (found == compiled.end()) found = compiled.emplace(pattern, std::regex(pattern)).first;
  return std::regex_search(text, found->second);
}

bool isOfType(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == "null" && value.is_null();
}

class Explainer {
 public:
  explicit Explainer(std::vector<Fault>& faults) : faults_(faults) {}

  void explain(const Json& schema, const Json& value, const std::string& at) {
    if (full() || !schema.is_object()) return;
    if (const auto type = schema.find("type"); type != schema.end() && type->is_string()) {
      const auto& name = type->get_ref<const std::string&>();
      if (!isOfType(value, name)) return add(at, fmt::format("must be {} {}", article(name), name));
    }
    if (const auto all = schema.find("allOf"); all != schema.end()) {
      for (const auto& each : *all) explain(each, value, at);
    }
    explainChoice(schema, value, at);
    if (value.is_string()) explainString(schema, value.get_ref<const std::string&>(), at);
    if (value.is_number()) explainNumber(schema, value, at);
    if (value.is_array()) explainArray(schema, value, at);
    if (value.is_object()) explainObject(schema, value, at);
  }

 private:
  [[nodiscard]] bool full() const { return faults_.size() >= kMaxFaults; }
  void add(const std::string& at, std::string detail) {
    if (!full()) faults_.push_back({at, std::move(detail)});
  }
  static std::string_view article(std::string_view noun) {
    return std::string_view("aeio").find(noun.front()) == std::string_view::npos ? "a" : "an";
  }
  // The limit that `keyword` sets, when it does.
  static std::optional<std::int64_t> limit(const Json& schema, const char* keyword) {
    const auto found = schema.find(keyword);
    if (found == schema.end() || !found->is_number()) return std::nullopt;
    return found->get<std::int64_t>();
  }

  void explainChoice(const Json& schema, const Json& value, const std::string& at) {
    if (const auto only = schema.find("const"); only != schema.end() && *only != value) {
      add(at, "must be " + canonicalJson(*only));
    }
    const auto choices = schema.find("enum");
    if (choices == schema.end() || std::find(choices->begin(), choices->end(), value) != choices->end()) return;
    std::string names;
    for (const auto& choice : *choices) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ",
                           choice.is_string() ? choice.get<std::string>() : canonicalJson(choice));
    }
    add(at, "must be one of " + names);
  }

  void explainCount(const Json& schema, std::size_t count, const char* least, const char* most, std::string_view unit,
                    const std::string& at) {
    if (const auto min = limit(schema, least); min && count < static_cast<std::size_t>(*min)) {
      add(at, fmt::format("must have at least {} {}", *min, unit));
    }
    if (const auto max = limit(schema, most); max && count > static_cast<std::size_t>(*max)) {
      add(at, fmt::format("must have at most {} {}", *max, unit));
    }
  }

  void explainString(const Json& schema, const std::string& text, const std::string& at) {
    const std::size_t before = faults_.size();
    explainCount(schema, codePoints(text), "minLength", "maxLength", "characters", at);
    // A text of the wrong length rarely matches either; one fault is enough.
    if (faults_.size() != before) return;
    const auto pattern = schema.find("pattern");
    if (pattern == schema.end()) return;
    const auto& expression = pattern->get_ref<const std::string&>();
    if (!matches(expression, text)) add(at, "must match " + expression);
  }

  void explainNumber(const Json& schema, const Json& value, const std::string& at) {
    const double number = value.get<double>();
    if (const auto min = limit(schema, "minimum"); min && number < static_cast<double>(*min)) {
      add(at, fmt::format("must be at least {}", *min));
    }
    if (const auto max = limit(schema, "maximum"); max && number > static_cast<double>(*max)) {
      add(at, fmt::format("must be at most {}", *max));
    }
  }

  void explainArray(const Json& schema, const Json& value, const std::string& at) {
    const std::size_t before = faults_.size();
    explainCount(schema, value.size(), "minItems", "maxItems", "items", at);
    if (faults_.size() != before) return;
    if (const auto items = schema.find("items"); items != schema.end()) {
      for (std::size_t i = 0; i < value.size() && !full(); ++i) explain(*items, value[i], fmt::format("{}/{}", at, i));
    }
    if (schema.value("uniqueItems", false)) {
      for (std::size_t i = 1; i < value.size() && !full(); ++i) {
        const auto first = std::find(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(i), value[i]);
        if (first != value.begin() + static_cast<std::ptrdiff_t>(i)) add(fmt::format("{}/{}", at, i), "is there already");
      }
    }
  }

  void explainObject(const Json& schema, const Json& value, const std::string& at) {
    explainCount(schema, value.size(), "minProperties", "maxProperties", "members", at);
    if (const auto required = schema.find("required"); required != schema.end()) {
      for (const auto& name : *required) {
        if (!value.contains(name.get<std::string>())) {
          add(at, fmt::format("the member {} is missing", name.get<std::string>()));
        }
      }
    }
    const Json none = Json::object();
    const auto found = schema.find("properties");
    const Json& properties = found == schema.end() ? none : *found;
    for (const auto& [name, member] : value.items()) {
      if (full()) return;
      explainMember(schema, properties, name, member, at + "/" + pointerToken(name));
    }
  }

  void explainMember(const Json& schema, const Json& properties, const std::string& name, const Json& member,
                     const std::string& at) {
    if (const auto known = properties.find(name); known != properties.end()) return explain(*known, member, at);
    if (const auto names = schema.find("propertyNames"); names != schema.end()) explain(*names, Json(name), at);
    const auto others = schema.find("additionalProperties");
    if (others == schema.end()) return;
    if (others->is_boolean()) {
      if (!others->get<bool>()) add(at, "is not a member that the contract knows");
    } else {
      explain(*others, member, at);
    }
  }

  std::vector<Fault>& faults_;
};

}  // namespace

std::vector<Fault> explainFaults(const Json& schema, const Json& value, std::string_view base) {
  std::vector<Fault> faults;
  Explainer(faults).explain(schema, value, std::string(base));
  return faults;
}

}  // namespace gs
