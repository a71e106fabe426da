// The HTTP contract as the server uses it: operations, their parameters and bodies, each with a compiled validator.
//
// Made once at start from the embedded openapi.yaml; a contract that it cannot work from is an error there and then.
// Loop thread only. Immutable but for the validators' caches.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/api/schema_validator.h"
#include "server/core/records.h"

namespace gs {

enum class ParameterPlace : std::uint8_t { kPath, kQuery, kHeader };
enum class ParameterType : std::uint8_t { kText, kInteger, kBoolean, kList };

struct Parameter {
  std::string name;
  ParameterPlace place = ParameterPlace::kQuery;
  ParameterType type = ParameterType::kText;
  bool required = false;
  int missingStatus = 400;           // x-gs-missing-status
  bool replacedWhenInvalid = false;  // x-gs-invalid: replaced
  std::unique_ptr<SchemaValidator> validator;
};

enum class BodyKind : std::uint8_t { kNone, kJson, kStream };

struct Operation {
  std::string id;
  std::string method;                 // upper case
  std::vector<std::string> segments;  // of the path; "{name}" is a parameter
  std::optional<Role> role;           // none: public
  bool acceptsTicket = false;         // security: or an attach ticket in the query
  std::vector<Parameter> parameters;
  BodyKind body = BodyKind::kNone;
  bool bodyRequired = false;
  std::string mediaType;
  std::size_t maxBodyBytes = 65536;
  std::unique_ptr<SchemaValidator> bodyValidator;  // kJson only
};

class Contract {
 public:
  // From the embedded text.
  [[nodiscard]] static Result<std::unique_ptr<Contract>> load();
  [[nodiscard]] static Result<std::unique_ptr<Contract>> parse(std::string text);

  [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
  // The whole document, as served.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<Operation> operations_;
};

}  // namespace gs
