// Passes a layer on as it is, without what the agent itself put into the sandbox.
//
// The mount points of the guest (/.gstacks, its program and its socket folder) are written into the sandbox's file system
// by the runtime; they belong to this host's agent. What the sandbox wrote beside them is its own and stays. Sans-IO.
#pragma once

#include <string>

#include "agent/runtimes/tar_walker.h"

namespace gs {

// Of a path in a layer, in any spelling that a tar may have.
[[nodiscard]] bool isAgentMaterial(std::string_view path);

class LayerFilter final : private TarWalker::Visitor {
 public:
  LayerFilter() : walker_(*this) {}

  // What goes out for these bytes; keep it no longer than until the next call. Errors as TarWalker::feed.
  [[nodiscard]] Result<std::string_view> feed(std::string_view bytes);
  // The end of the layer, once. Nothing was fed: an empty layer. Errors as TarWalker::finish.
  [[nodiscard]] Result<std::string> finish();

 private:
  [[nodiscard]] Status begin(const TarEntry& entry, std::string_view header) override;
  [[nodiscard]] Status content(std::string_view bytes) override;
  [[nodiscard]] Status end(std::string_view padding) override;

  TarWalker walker_;
  std::string out_;
  bool keeps_ = true;
  bool fed_ = false;
};

}  // namespace gs
