#include "async/task_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/multiple_exceptions.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/system_error.hpp>

#include <cstdlib>

#include "async/event.h"
#include "base/log.h"

namespace gs {

struct TaskGroup::State {
  struct Entry {
    std::string name;
    asio::cancellation_signal signal;
  };

  explicit State(Executor e) : executor(std::move(e)), idle(executor) {}

  Executor executor;
  std::list<Entry> entries;
  Event idle;
  bool closing = false;
};

namespace {

void reportEnd(const std::string& name, const std::exception_ptr& failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const asio::multiple_exceptions& e) {
    // Both sides of a race threw, as they do when the race itself is cancelled; the first says why.
    reportEnd(name, e.first_exception());
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return;
    logError("task_failed", {{"task", name}, {"error", e.what()}});
  } catch (const std::exception& e) {
    logError("task_failed", {{"task", name}, {"error", e.what()}});
  }
}

}  // namespace

TaskGroup::TaskGroup(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

TaskGroup::~TaskGroup() {
  if (state_->entries.empty()) return;
  logError("task_group_destroyed_while_running", {{"task", state_->entries.front().name}});
  std::abort();
}

void TaskGroup::spawn(std::string name, Task<void> task) {
  if (state_->closing) return;
  auto entry = state_->entries.emplace(state_->entries.end());
  entry->name = std::move(name);
  asio::co_spawn(state_->executor, std::move(task),
                 asio::bind_cancellation_slot(entry->signal.slot(),
                                              [state = state_, entry](const std::exception_ptr& failure) {
                                                reportEnd(entry->name, failure);
                                                state->entries.erase(entry);
                                                if (state->entries.empty()) state->idle.notifyAll();
                                              }));
}

void TaskGroup::cancel() {
  // A cancelled task may end inside emit() and erase its entry, so the next one is found before.
  const auto state = state_;
  for (auto it = state->entries.begin(); it != state->entries.end();) {
    auto current = it++;
    current->signal.emit(asio::cancellation_type::terminal);
  }
}

Task<void> TaskGroup::cancelAndJoin() {
  const auto state = state_;
  state->closing = true;
  // Emitted from the loop, not from within this call, so that a task is never cancelled while it is on the stack.
  co_await asio::post(state->executor, asio::use_awaitable);
  while (!state->entries.empty()) {
    // Repeated, because a task that swallowed one cancellation in a clean-up step may wait again.
    cancel();
    if (state->entries.empty()) break;
    co_await state->idle.waitFor(Millis(100));
  }
}

Task<void> TaskGroup::join() {
  const auto state = state_;
  while (!state->entries.empty()) co_await state->idle.waitFor(Millis(60'000));
}

std::size_t TaskGroup::size() const { return state_->entries.size(); }

}  // namespace gs
