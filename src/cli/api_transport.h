// What carries the API calls: the loop, the HTTP client on it and the key. For api_client.cc and exec_session.cc only.
#pragma once

#include <memory>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

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
    std::optional<Result<T>> outcome;
    std::exception_ptr failure;
    asio::co_spawn(loop, std::move(task), [&](std::exception_ptr e, Result<T> value) {
      failure = e;
      if (!e) outcome.emplace(std::move(value));
      loop.stop();
    });
    loop.run();
    loop.restart();
    if (failure) std::rethrow_exception(failure);
    return std::move(*outcome);
  }
};

}  // namespace gs::cli
