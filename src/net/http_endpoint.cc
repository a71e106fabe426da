#include <charconv>

#include "base/encoding.h"
#include "net/http_client.h"

namespace gs {
namespace {

std::unexpected<Error> badUrl(std::string_view url, std::string_view why) {
  return fail(makeError(ErrorCode::kInvalidArgument, fmt::format("not a usable URL: {}: {}", escapeForLog(url), why))
                  .withFix("use http://HOST:PORT, https://HOST:PORT or unix:///PATH"));
}

}  // namespace

Result<HttpEndpoint> HttpEndpoint::parse(std::string_view url) {
  HttpEndpoint out;
  if (url.starts_with("unix://")) {
    out.unixPath = url.substr(7);
    if (!out.unixPath.starts_with('/')) return badUrl(url, "the socket path must begin with /");
    return out;
  }
  std::string_view rest;
  if (url.starts_with("http://")) {
    rest = url.substr(7);
    out.port = 80;
  } else if (url.starts_with("https://")) {
    rest = url.substr(8);
    out.port = 443;
    out.secure = true;
  } else {
    return badUrl(url, "no known scheme");
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#@ ") != std::string_view::npos)
    return badUrl(url, "only scheme, host and port may be given");
  auto hostEnd = rest.find(':');
  if (rest.starts_with('[')) {
    const auto bracket = rest.find(']');
    if (bracket == std::string_view::npos) return badUrl(url, "] is missing");
    out.host = rest.substr(1, bracket - 1);
    hostEnd = bracket + 1;
  } else {
    out.host = rest.substr(0, hostEnd);
  }
  if (out.host.empty()) return badUrl(url, "the host is missing");
  if (hostEnd >= rest.size()) return out;
  const auto port = rest.substr(hostEnd + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (rest[hostEnd] != ':' || error != std::errc() || end != port.data() + port.size() || out.port == 0) {
    return badUrl(url, "the port must be a number from 1 to 65535");
  }
  return out;
}

std::string HttpEndpoint::describe() const {
  if (!unixPath.empty()) return "unix://" + unixPath;
  const bool v6 = host.contains(':');
  return fmt::format("{}://{}{}{}:{}", secure || tls ? "https" : "http", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

}  // namespace gs
