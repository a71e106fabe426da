#include "agent/layers/layer_filter.h"

#include "agent/runtimes/image_archive.h"

namespace gs {

bool isAgentMaterial(std::string_view path) {
  while (path.starts_with('/') || path.starts_with("./")) path.remove_prefix(path.starts_with('/') ? 1 : 2);
  while (path.ends_with('/')) path.remove_suffix(1);
  return path == ".gstacks" || path == ".gstacks/guest" || path == ".gstacks/run" || path.starts_with(".gstacks/run/");
}

Result<std::string_view> LayerFilter::feed(std::string_view bytes) {
  fed_ = fed_ || !bytes.empty();
  out_.clear();
  GS_CHECK(walker_.feed(bytes));
  return out_;
}

Result<std::string> LayerFilter::finish() {
  if (fed_) GS_CHECK(walker_.finish());
  return std::string(kTarEndBytes, '\0');
}

Status LayerFilter::begin(const TarEntry& entry, std::string_view header) {
  keeps_ = !isAgentMaterial(entry.path);
  return content(header);
}

Status LayerFilter::content(std::string_view bytes) {
  if (keeps_) out_ += bytes;
  return {};
}

Status LayerFilter::end(std::string_view padding) { return content(padding); }

}  // namespace gs
