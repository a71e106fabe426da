#include "cli/command.h"

namespace gs::cli {

Command& Command::add(std::string name, std::string summary) {
  auto& child = children_.emplace_back(std::make_unique<Command>(std::move(name), std::move(summary)));
  child->parent_ = this;
  return *child;
}

Option& Command::addOption(Option option) {
  return *options_.emplace_back(std::make_unique<Option>(std::move(option)));
}

Option& Command::flag(std::string names, bool& target, std::string description) {
  return addOption(
      {.names = std::move(names), .description = std::move(description), .store = [&target](const std::string&) {
         target = true;
         return Status();
       }});
}

Option& Command::option(std::string names, std::string valueName, std::function<Status(const std::string&)> store,
                        std::string description) {
  return addOption({.names = std::move(names),
                    .valueName = std::move(valueName),
                    .description = std::move(description),
                    .store = std::move(store)});
}

Option& Command::option(std::string names, std::string valueName, std::string& target, std::string description) {
  const auto store = [&target](const std::string& value) {
    target = value;
    return Status();
  };
  return option(std::move(names), std::move(valueName), store, std::move(description));
}

Option& Command::option(std::string names, std::string valueName, std::optional<std::string>& target,
                        std::string description) {
  const auto store = [&target](const std::string& value) {
    target = value;
    return Status();
  };
  return option(std::move(names), std::move(valueName), store, std::move(description));
}

Option& Command::option(std::string names, std::string valueName, std::vector<std::string>& target,
                        std::string description) {
  const auto store = [&target](const std::string& value) {
    target.push_back(value);
    return Status();
  };
  Option& added = option(std::move(names), std::move(valueName), store, std::move(description));
  added.repeat = Repeat::kMany;
  return added;
}

Argument& Command::argument(std::string name, std::string& target, std::string description, Need need) {
  const auto store = [&target](const std::string& value) {
    target = value;
    return Status();
  };
  return *arguments_.emplace_back(std::make_unique<Argument>(
      Argument{.name = std::move(name), .description = std::move(description), .need = need, .store = store}));
}

void Command::trailing(std::string name, std::vector<std::string>& target, std::string description, Need need) {
  trailing_ = Trailing{.name = std::move(name), .description = std::move(description), .need = need, .target = &target};
}

std::string Command::path() const {
  return parent_ == nullptr ? name_ : parent_->path() + " " + name_;
}

const Command& Command::root() const {
  return parent_ == nullptr ? *this : parent_->root();
}

}  // namespace gs::cli
