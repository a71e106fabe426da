// What the blueprint cache gives a runtime: the local name of an artifact that has been verified, and what the image
// says about itself. A runtime sees nothing else of a blueprint: no registry, no server, no blob.
#pragma once

#include <string>
#include <vector>

#include "base/digest.h"

namespace gs {

// The parts of an OCI image config that decide how a workload starts. Comes from the image's author: treat as hostile
// text. The lists are bounded by the size of the config blob (see blueprint_manifest.h).
struct ImageConfig {
  std::vector<std::string> env;  // NAME=value
  std::string workingDir;        // empty: /
  std::string user;              // empty: root; "name", "uid", "name:group", "uid:gid"
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  friend bool operator==(const ImageConfig&, const ImageConfig&) = default;
};

struct CacheHandle {
  std::string runtime;    // who can use it: "docker"
  std::string reference;  // docker: the local tag that keeps the image from being pruned
  Digest manifest;        // the blueprint version
  Digest config;          // docker: the image id. What create names, so that a tag moved meanwhile changes nothing
  ImageConfig image;
  friend bool operator==(const CacheHandle&, const CacheHandle&) = default;
};

}  // namespace gs
