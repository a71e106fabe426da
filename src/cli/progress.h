// How far a transfer is, for people: a bar on a terminal, a plain line every few seconds elsewhere.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "cli/output.h"

namespace gs::cli {

struct ProgressSample {
  std::string label;  // "uploading"
  std::uint64_t doneBytes = 0;
  std::optional<std::uint64_t> totalBytes;
  Millis elapsed{};
};

// "uploading  120 MiB of 512 MiB  23 %  60.0 MiB/s  7s left"
[[nodiscard]] std::string progressLine(const ProgressSample& sample);
// The same behind a bar that fills what is left of `columns`.
[[nodiscard]] std::string progressBar(const ProgressSample& sample, std::size_t columns);

class Progress {
 public:
  Progress(Output& out, const Clock& clock, std::string label, std::optional<std::uint64_t> totalBytes);
  void update(std::uint64_t doneBytes);
  // Takes the bar away and notes what was done in which time.
  void finish(std::string_view what);

 private:
  Output& out_;
  const Clock& clock_;
  ProgressSample sample_;
  SteadyTime startedAt_;
  SteadyTime shownAt_;
};

}  // namespace gs::cli
