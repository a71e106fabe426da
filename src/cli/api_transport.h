// What carries the API calls: the loop, the HTTP client on it and the key. For api_client.cc, file_api.cc and exec_session.cc only.
#pragma once

#include <memory>

#include "async/run_task.h"
#include "base/secret.h"
#include "net/http_client.h"

namespace gs::cli {

struct ApiTransport {
  asio::io_context loop{1};
  std::unique_ptr<HttpClient> http;
  SecretString apiKey;

  [[nodiscard]] HttpHeaders headers() const;

  // Runs the task to its end and no further: idle connections stay for the next call.
  template <class T>
  Result<T> run(Task<Result<T>> task) {
    return runTask(loop, std::move(task));
  }
};

}  // namespace gs::cli
