#include "server/daemon/listen_address.h"

#include <arpa/inet.h>

#include <charconv>

namespace gs {
namespace {

Error wanted(std::string_view text) {
  return makeError(ErrorCode::kInvalidArgument, fmt::format("'{}' is not an address to listen on", text))
      .withFix("give ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080");
}

}  // namespace

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return fail(wanted(text));
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  ListenAddress out;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (port.empty() || code != std::errc{} || end != port.data() + port.size()) return fail(wanted(text));
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  out.address = host;
  in6_addr parsed{};
  const int family = bracketed ? AF_INET6 : AF_INET;
  if (::inet_pton(family, out.address.c_str(), &parsed) != 1) return fail(wanted(text));
  return out;
}

bool ListenAddress::isLoopback() const { return address == "::1" || address.starts_with("127."); }

}  // namespace gs
