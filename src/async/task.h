// Task<T>: the one coroutine type, an Asio awaitable.
//
// Rules (conventions): parameters by value, no capturing lambda as a coroutine, no lock held over co_await, every task
// belongs to a TaskGroup. Cancellation arrives as boost::system::system_error(operation_aborted) out of a co_await;
// TaskGroup and withDeadline catch it, nobody else needs to.
#pragma once

#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "base/result.h"

namespace gs {

namespace asio = boost::asio;

template <class T>
using Task = boost::asio::awaitable<T>;

using Executor = boost::asio::any_io_executor;

}  // namespace gs
