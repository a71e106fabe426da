// Result<T>: a value or an Error. The only way that a function of this project fails.
//
// libstdc++ 12 has std::expected without the monadic calls, hence the two macros. GS_TRY works in functions, GS_CO_TRY
// in coroutines; both name the moved-out value.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace gs {

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(makeError(code, std::move(message)));
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

}  // namespace gs

#define GS_CONCAT_INNER(a, b) a##b
#define GS_CONCAT(a, b) GS_CONCAT_INNER(a, b)

// GS_TRY(auto x, f());   returns the error, or leaves the value in x
#define GS_TRY(decl, expr) GS_TRY_INNER(decl, expr, GS_CONCAT(gsResult, __LINE__), return)
#define GS_CO_TRY(decl, expr) GS_TRY_INNER(decl, expr, GS_CONCAT(gsResult, __LINE__), co_return)
#define GS_TRY_INNER(decl, expr, name, ret)                       \
  auto name = (expr);                                             \
  if (!name) [[unlikely]] ret std::unexpected(std::move(name).error()); \
  decl = std::move(*name)

// GS_CHECK(f());   the same for Status
#define GS_CHECK(expr) GS_CHECK_INNER(expr, GS_CONCAT(gsStatus, __LINE__), return)
#define GS_CO_CHECK(expr) GS_CHECK_INNER(expr, GS_CONCAT(gsStatus, __LINE__), co_return)
#define GS_CHECK_INNER(expr, name, ret)                           \
  if (auto name = (expr); !name) [[unlikely]] ret std::unexpected(std::move(name).error())
