// A store in memory with a clock that stands still, and makers of what tests put into it. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "async/run_task.h"
#include "server/store/store.h"

namespace gs {

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(":memory:", &clock_).value();
    acme_ = addTenant("acme");
  }

  template <class T>
  T run(Task<T> task) {
    return runTask(loop_, std::move(task));
  }

  // For tasks that were spawned on the loop. A pool thread that lets go of the loop late stops it, so the end
  // of a run says nothing.
  void runUntil(const std::function<bool()>& ended) {
    const auto work = asio::make_work_guard(loop_);
    while (!ended()) {
      loop_.restart();
      loop_.run_one();
    }
    loop_.restart();
  }

  WallTime now() const { return clock_.wallNow(); }

  Actor addTenant(const std::string& name) {
    Store::NewTenant all;
    all.tenant = {TenantId::make(), name, now()};
    all.admin = {UserId::make(), all.tenant.id, "admin", Role::kAdmin, now()};
    all.key.id = ApiKeyId::make();
    all.key.tenantId = all.tenant.id;
    all.key.userId = all.admin.id;
    all.key.name = "admin";
    all.key.role = Role::kAdmin;
    all.key.secretHash = std::string(32, 'h');
    all.key.createdAt = now();
    all.cluster.id = ClusterId::make();
    all.cluster.tenantId = all.tenant.id;
    all.cluster.name = "default";
    all.cluster.isDefault = true;
    all.cluster.createdAt = now();
    const auto status = run(store_->insertTenant(all));
    EXPECT_TRUE(status.has_value());
    return {all.tenant.id, all.admin.id, all.key.id, Role::kAdmin};
  }

  ClusterId defaultCluster(const Actor& actor) { return run(store_->getDefaultCluster(actor.tenantId)).value().id; }

  TokenRecord addToken(const Actor& actor, std::int64_t maxUses = 1) {
    TokenRecord token;
    token.id = TokenId::make();
    token.tenantId = actor.tenantId;
    token.clusterId = defaultCluster(actor);
    token.secretHash = std::string(32, 's');
    token.maxUses = maxUses;
    token.createdAt = now();
    token.expiresAt = now() + std::chrono::hours(1);
    EXPECT_TRUE(run(store_->insertToken(actor, token)).has_value());
    return token;
  }

  Store::Enrollment enrollment(const TokenRecord& token, std::string name = "rack") {
    Store::Enrollment e;
    e.tokenId = token.id;
    e.secretHash = token.secretHash;
    e.hostId = HostId::make();
    e.wantedName = std::move(name);
    e.facts.architecture = "amd64";
    e.facts.memoryBytes = 8ULL << 30;
    e.certificate = {e.hostId.text().substr(4), e.hostId, now() + std::chrono::hours(24), std::nullopt};
    e.now = now();
    return e;
  }

  HostRecord addHost(const Actor& actor, std::string name = "rack") {
    return run(store_->enrollHost(enrollment(addToken(actor), std::move(name)))).value();
  }

  std::int64_t connect(const HostRecord& host, std::vector<std::string> features = {"exec", "reprovision", "archive"}) {
    Store::LinkUp up;
    up.hostId = host.id;
    up.protocol = 1;
    up.features = std::move(features);
    up.facts = host.facts;
    up.telemetry.memoryAvailableBytes = 4ULL << 30;
    up.now = now();
    return run(store_->linkUp(up)).value();
  }

  BlueprintRecord addBlueprint(const Actor& actor, std::string name = "debian") {
    BlueprintRecord b;
    b.id = BlueprintId::make();
    b.tenantId = actor.tenantId;
    b.name = std::move(name);
    b.manifest = R"({"formatVersion":1})";
    b.manifestDigest = Digest::of(b.manifest);
    b.imageConfig = "{}";
    b.architecture = "amd64";
    b.os = "linux";
    b.sizeBytes = 7;
    b.archiveDigest = Digest::of("archive");
    b.source = "archive";
    b.createdBy = actor.userId;
    b.createdAt = now();
    EXPECT_TRUE(run(store_->insertBlueprint(actor, b)).has_value());
    return b;
  }

  SandboxRecord sandboxOn(const Actor& actor, const HostRecord& host, const BlueprintRecord& blueprint,
                          std::string name = "box") {
    SandboxRecord s;
    s.id = SandboxId::make();
    s.tenantId = actor.tenantId;
    s.clusterId = host.clusterId;
    s.hostId = host.id;
    s.name = std::move(name);
    s.blueprintId = blueprint.id;
    s.spec.name = s.name;
    s.spec.manifest = blueprint.manifestDigest;
    s.spec.blueprintName = blueprint.name;
    s.spec.command = {"sleep", "inf"};
    s.spec.env = {{"B", "2"}, {"A", "1"}};
    s.state = SandboxState::kPlacing;
    s.createdBy = actor.userId;
    s.createdAt = now();
    s.updatedAt = now();
    return s;
  }

  // A connected host with one sandbox on it.
  SandboxRecord addSandbox(const Actor& actor, std::string name = "box") {
    const auto host = addHost(actor, "host-of-" + name);
    connect(host);
    const auto s = sandboxOn(actor, host, addBlueprint(actor, "blueprint-of-" + name), name);
    EXPECT_TRUE(run(store_->insertSandbox(actor, s)).has_value());
    return s;
  }

  SandboxRecord observe(const SandboxRecord& s, std::uint64_t generation, std::uint64_t sequence, SandboxState state,
                        std::string reason = "") {
    Observation o;
    o.sandboxId = s.id;
    o.generation = generation;
    o.sequence = sequence;
    o.state = state;
    o.reason = std::move(reason);
    o.observedAt = now();
    return run(store_->applyObservation(s.hostId, o)).value();
  }

  SandboxRecord read(const SandboxRecord& s) { return run(store_->getSandbox(s.tenantId, s.id)).value(); }

  template <class T>
  static ErrorCode codeOf(const Result<T>& result) {
    return result ? ErrorCode::kInternal : result.error().code;
  }

  std::vector<std::string> auditActions(const Actor& actor) {
    std::vector<std::string> out;
    for (const auto& line : run(store_->listAudit(actor.tenantId, {})).value().items) out.push_back(line.action);
    return out;
  }

  FakeClock clock_;
  asio::io_context loop_;
  std::unique_ptr<Store> store_;
  Actor acme_;
};

}  // namespace gs
