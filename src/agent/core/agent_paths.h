// Where the agent keeps things. This header is the map of the tree on disk; nothing else spells a path.
//
//   <state>/                        /var/lib/gstacks/agent, 0700, survives reboots
//   ├── agent.db                    journal, outbox and cache metadata (SQLite, WAL)
//   ├── identity/                   0700
//   │   ├── host.json               host id, cluster id, server URL; written last: its presence means "enrolled"
//   │   ├── credential.pem          0600, P-256 private key and client certificate, replaced together at each renewal
//   │   └── ca.pem                  CA certificates to trust
//   ├── guest/<sha256>/gstacks-guest   the guest binary that sandboxes were started with, by content
//   ├── confirmed-deletions         a fence id that root on this host has confirmed; taken and removed by the agent
//   ├── rejected-deletions          likewise, one that root has refused
//   ├── logs/<sandboxId>/           what workloads wrote (see agent/logs)
//   ├── layers/                     layers of sandboxes that are being archived (see agent/layers)
//   └── cache/                      blueprint blobs (see agent/blueprints)
//   <run>/                          /run/gstacks/agent, 0700, gone after a reboot
//   ├── agent.lock                  flock: one agent per state directory
//   └── sandboxes/<sandboxId>/      bind-mounted read-only at /.gstacks/run
//       └── agent.sock              the guest dials it
#pragma once

#include <string>

#include "base/ids.h"

namespace gs {

class AgentPaths {
 public:
  AgentPaths(std::string stateDir, std::string runDir) : state_(std::move(stateDir)), run_(std::move(runDir)) {}

  [[nodiscard]] const std::string& stateDir() const { return state_; }
  [[nodiscard]] const std::string& runDir() const { return run_; }
  [[nodiscard]] std::string database() const { return state_ + "/agent.db"; }
  [[nodiscard]] std::string identityDir() const { return state_ + "/identity"; }
  [[nodiscard]] std::string hostFile() const { return identityDir() + "/host.json"; }
  [[nodiscard]] std::string credentialFile() const { return identityDir() + "/credential.pem"; }
  [[nodiscard]] std::string caFile() const { return identityDir() + "/ca.pem"; }
  [[nodiscard]] std::string guestDir() const { return state_ + "/guest"; }
  [[nodiscard]] std::string logsDir() const { return state_ + "/logs"; }
  [[nodiscard]] std::string layersDir() const { return state_ + "/layers"; }
  [[nodiscard]] std::string cacheDir() const { return state_ + "/cache"; }
  [[nodiscard]] std::string confirmedDeletions() const { return state_ + "/confirmed-deletions"; }
  [[nodiscard]] std::string rejectedDeletions() const { return state_ + "/rejected-deletions"; }
  [[nodiscard]] std::string lockFile() const { return run_ + "/agent.lock"; }
  [[nodiscard]] std::string sandboxesDir() const { return run_ + "/sandboxes"; }
  [[nodiscard]] std::string sandboxDir(const SandboxId& id) const { return sandboxesDir() + "/" + id.text(); }
  [[nodiscard]] std::string guestSocket(const SandboxId& id) const { return sandboxDir(id) + "/agent.sock"; }

 private:
  std::string state_;
  std::string run_;
};

}  // namespace gs
