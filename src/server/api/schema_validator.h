// One JSON schema of the contract, compiled once, and the faults of a value that breaks it.
//
// The verdict is valijson's, which stops at the first constraint that fails: its own error list can grow with the square
// of a hostile body. What is wrong where, in words, is found afterwards by explainFaults(), with bounded work.
// Loop thread only (the validator caches its regular expressions).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/core/fault.h"

namespace gs {

class SchemaValidator {
 public:
  // `schema`: draft-7 keywords only, every $ref resolved. kInternal when it cannot be compiled.
  [[nodiscard]] static Result<std::unique_ptr<SchemaValidator>> compile(const Json& schema);
  ~SchemaValidator();

  // Empty: the value fits. Pointers start with `base`. At most kMaxFaults.
  [[nodiscard]] std::vector<Fault> check(const Json& value, std::string_view base);

 private:
  struct Compiled;
  explicit SchemaValidator(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

// The keywords of `schema` that `value` breaks, place by place; may find nothing where a keyword is not known to it.
[[nodiscard]] std::vector<Fault> explainFaults(const Json& schema, const Json& value, std::string_view base);

}  // namespace gs
