#include "server/core/records.h"

namespace gs {

std::string_view roleName(Role role) {
  switch (role) {
    case Role::kAdmin: return "admin";
    case Role::kMember: return "member";
    case Role::kViewer: return "viewer";
  }
  return "viewer";
}

Result<Role> parseRole(std::string_view name) {
  for (const Role role : {Role::kViewer, Role::kMember, Role::kAdmin}) {
    if (roleName(role) == name) return role;
  }
  return fail(ErrorCode::kInvalidArgument, "a role must be admin, member or viewer");
}

}  // namespace gs
