// From method and path to an operation of the contract. Pure; the contract must outlive it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/api/contract.h"

namespace gs {

struct Route {
  const Operation* operation = nullptr;  // none: see `allowed`
  std::map<std::string, std::string> path;
  // The methods that the path has; empty: no such path.
  std::string allowed;
};

class Router {
 public:
  explicit Router(const Contract& contract) : contract_(contract) {}
  // `path` is percent-decoded. A literal segment wins over a parameter.
  [[nodiscard]] Route match(std::string_view method, std::string_view path) const;

 private:
  const Contract& contract_;
};

}  // namespace gs
