// Where a page of a list ends: the sort key of its last item, opaque to clients.
//
// A cursor carries a checksum over the list that it belongs to (kind, tenant, filters), so that one taken elsewhere is
// refused instead of giving a page that means nothing. It is no secret and gives no right: the tenant is always part of
// the query as well. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gs {

struct PageKey {
  std::int64_t time = 0;
  std::string id;
  friend bool operator==(const PageKey&, const PageKey&) = default;
};

[[nodiscard]] std::string encodeCursor(std::string_view scope, const PageKey& key);
// kInvalidArgument with the pointer /query/cursor when it was not made by encodeCursor for this scope.
[[nodiscard]] Result<PageKey> decodeCursor(std::string_view scope, std::string_view cursor);

}  // namespace gs
