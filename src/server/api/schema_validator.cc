#include "server/api/schema_validator.h"

#include <nlohmann/json.hpp>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

namespace gs {

struct SchemaValidator::Compiled {
  Json source;
  valijson::Schema schema;
  valijson::Validator validator;
};

SchemaValidator::SchemaValidator(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
SchemaValidator::~SchemaValidator() = default;

Result<std::unique_ptr<SchemaValidator>> SchemaValidator::compile(const Json& schema) {
  auto compiled = std::make_unique<Compiled>();
  compiled->source = schema;
  try {
    valijson::SchemaParser parser;
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(compiled->source), compiled->schema);
  } catch (const std::exception& e) {
    return fail(ErrorCode::kInternal, std::string("a schema of the contract cannot be compiled: ") + e.what());
  }
  return std::unique_ptr<SchemaValidator>(new SchemaValidator(std::move(compiled)));
}

std::vector<Fault> SchemaValidator::check(const Json& value, std::string_view base) {
  const valijson::adapters::NlohmannJsonAdapter adapter(value);
  if (compiled_->validator.validate(compiled_->schema, adapter, nullptr)) return {};
  auto faults = explainFaults(compiled_->source, value, base);
  if (faults.empty()) faults.push_back({std::string(base), "does not fit its schema in the contract"});
  return faults;
}

}  // namespace gs
