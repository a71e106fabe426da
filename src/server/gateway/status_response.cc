#include "server/gateway/status_response.h"

#include "wire/messages.h"
#include "wire/problem.h"

namespace gs {

HttpResponse protobufResponse(std::string body) {
  HttpResponse response;
  response.headers.set("Content-Type", std::string(kProtobufType));
  response.body = std::move(body);
  return response;
}

HttpResponse statusResponse(const Error& error) {
  auto response = protobufResponse(encodeStatus(error));
  response.status = httpStatus(error.code);
  return response;
}

}  // namespace gs
