#include <gtest/gtest.h>

#include "agent/layers/layer_filter.h"
#include "agent/runtimes/image_archive.h"

namespace gs {
namespace {

std::string entry(std::string_view name, std::string_view content) {
  return tarHeader(name, content.size()) + std::string(content) + std::string(tarPadding(content.size()), '\0');
}

TEST(LayerFilter, LeavesOutWhatTheAgentPutThereAndNothingElse) {
  const std::string end(kTarEndBytes, '\0');
  const auto mine = entry("a", "kept") + entry(".gstacks/notes", "the sandbox wrote this") + entry(".gstacks-too", "") +
                    entry("etc/.wh.passwd", "");
  const auto tar = entry(".gstacks/", "") + entry(".gstacks/guest", "") + entry("./.gstacks/run/", "") +
                   entry("/.gstacks/run/agent.sock", "x") + mine + end;
  for (const std::size_t step : {std::size_t{100}, std::size_t{512}, tar.size()}) {
    LayerFilter filter;
    std::string out;
    for (std::size_t at = 0; at < tar.size(); at += step) out += filter.feed(std::string_view(tar).substr(at, step)).value();
    out += filter.finish().value();
    EXPECT_EQ(out, mine + end) << step;
  }
}

TEST(LayerFilter, NothingBecomesAnEmptyLayer) {
  LayerFilter filter;
  EXPECT_EQ(filter.finish().value(), std::string(kTarEndBytes, '\0'));
}

TEST(LayerFilter, ALayerThatBreaksOffIsNoLayer) {
  LayerFilter filter;
  ASSERT_TRUE(filter.feed(entry("a", "kept")));
  EXPECT_FALSE(filter.finish());
}

}  // namespace
}  // namespace gs
