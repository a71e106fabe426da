#include "server/store/store_fixture.h"

namespace gs {
namespace {

class EventStore : public StoreTest {
 protected:
  SandboxEventSlice events(const Actor& actor, SandboxEventQuery query = {.limit = 1000}) {
    return run(store_->listSandboxEvents(actor.tenantId, std::move(query))).value();
  }
  // "kind state reason by", without the actor's random part.
  std::vector<std::string> story(const SandboxRecord& s, std::int64_t after = 0) {
    std::vector<std::string> out;
    for (const auto& event : events(acme_, {s.id, after, 1000}).items) {
      out.push_back(fmt::format("{} {} {} by {}", sandboxEventKindName(event.kind), sandboxStateName(event.state),
                                event.reason, event.actor == "system" ? event.actor : event.actor.substr(0, 3)));
    }
    return out;
  }
};

using Story = std::vector<std::string>;

TEST_F(EventStore, TellsALifeFromCreationToDeletionAndKeepsItAfterwards) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 1, SandboxState::kProvisioning, "provisioning");
  observe(s, 1, 2, SandboxState::kRunning);
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(5))));
  observe(s, 2, 3, SandboxState::kStopped, "stopped_by_user");
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  observe(s, 3, 4, SandboxState::kDeleted);
  EXPECT_EQ(codeOf(run(store_->getSandbox(acme_.tenantId, s.id))), ErrorCode::kNotFound);
  EXPECT_EQ(story(s), (Story{"created placing pending_placement by usr", "observed provisioning provisioning by hst",
                             "observed running  by hst", "stop_requested running stop_requested by usr",
                             "observed stopped stopped_by_user by hst", "delete_requested deleting deletion_requested by usr",
                             "deleted deleted  by hst"}));
  const auto all = events(acme_).items;
  EXPECT_EQ(all.back().name, "box");
  EXPECT_EQ(all.back().generation, 3);
  EXPECT_EQ(all.back().hostId, s.hostId);
}

TEST_F(EventStore, HasOneEventForEachChangeAndNoneForARepeat) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 1, SandboxState::kRunning);
  const auto head = events(acme_).head;
  observe(s, 1, 1, SandboxState::kRunning);            // doubled
  observe(s, 1, 2, SandboxState::kRunning);            // said again
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kRunning, Millis(0))));
  connect(run(store_->getHost(acme_.tenantId, s.hostId)).value());  // a link replaces a link
  EXPECT_EQ(story(s, head), Story{});
  observe(s, 1, 3, SandboxState::kUnknown, "runtime_unavailable");
  EXPECT_EQ(story(s, head).size(), 1U) << "another state is news";
}

TEST_F(EventStore, TellsOfRefusalAndOfAHostThatIsLostFoundAndRemoved) {
  const auto s = addSandbox(acme_);
  const auto doomed = addSandbox(acme_, "doomed");
  const auto host = run(store_->getHost(acme_.tenantId, s.hostId)).value();
  ASSERT_TRUE(run(store_->refuseAssignment(s.hostId, s.id, 1, "no such runtime")));
  ASSERT_TRUE(run(store_->linkDown(s.hostId, host.epoch - 1, "link_closed", now()))) << "an older link says nothing";
  ASSERT_TRUE(run(store_->linkDown(s.hostId, host.epoch, "heartbeat_lost", now())));
  connect(host);
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  ASSERT_TRUE(run(store_->markAllDisconnected(now()))) << "nothing is connected: nothing is lost";
  ASSERT_TRUE(run(store_->removeHost(acme_, s.hostId, Store::RemoveHost::kAlsoWithSandboxes)));
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  EXPECT_EQ(story(s),
            (Story{"created placing pending_placement by usr", "refused failed spec_rejected by hst",
                   "host_disconnected unknown host_disconnected by system", "host_connected failed spec_rejected by hst",
                   "host_disconnected unknown host_disconnected by system", "host_removed failed host_removed by usr",
                   "deleted deleted  by usr"}));
  ASSERT_TRUE(run(store_->setDesired(acme_, doomed.id, DesiredState::kDeleted, Millis(0))));
  ASSERT_TRUE(run(store_->removeHost(acme_, doomed.hostId, Store::RemoveHost::kAlsoWithSandboxes)));
  EXPECT_EQ(story(doomed).back(), "deleted deleted  by usr") << "it was to be deleted, and is";
}

TEST_F(EventStore, AgreesWithTheRecordAfterEveryChange) {
  const auto s = addSandbox(acme_);
  const auto check = [&](const char* when) {
    const auto shown = read(s);
    const auto event = events(acme_, {s.id, 0, 1000}).items.back();
    EXPECT_EQ(std::tie(event.state, event.reason, event.desired, event.generation, event.observedGeneration),
              std::tie(shown.state, shown.reason, shown.desired, shown.generation, shown.observedGeneration))
        << when;
  };
  check("created");
  observe(s, 1, 1, SandboxState::kRunning);
  check("observed");
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  check("unheard");
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kDeleted, Millis(0))));
  check("deleting while unheard");
  connect(run(store_->getHost(acme_.tenantId, s.hostId)).value());
  check("heard again");
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  check("deleting, then unheard");
}

TEST_F(EventStore, WritesNothingForAChangeThatFailed) {
  const auto s = addSandbox(acme_);
  const auto head = events(acme_).head;
  const auto host = run(store_->getHost(acme_.tenantId, s.hostId)).value();
  auto twin = sandboxOn(acme_, host, addBlueprint(acme_, "other"), "box");
  EXPECT_EQ(codeOf(run(store_->insertSandbox(acme_, twin))), ErrorCode::kAlreadyExists);
  EXPECT_EQ(codeOf(run(store_->removeHost(acme_, host.id, Store::RemoveHost::kOnlyWhenEmpty))), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(events(acme_).head, head);
}

TEST_F(EventStore, AuditsEachNewStateWithItsCauseAndNoneTwice) {
  const auto s = addSandbox(acme_);
  observe(s, 1, 1, SandboxState::kStarting, "provisioning");
  observe(s, 1, 2, SandboxState::kStarting, "provisioning");
  observe(s, 1, 3, SandboxState::kRunning);
  observe(s, 1, 4, SandboxState::kRunning);
  Observation ended;
  ended.sandboxId = s.id;
  ended.generation = 1;
  ended.sequence = 5;
  ended.state = SandboxState::kFailed;
  ended.reason = "workload_exited";
  ended.exit = ExitInfo{3, 0, false, now()};
  ASSERT_TRUE(run(store_->applyObservation(s.hostId, ended)));
  ended.sequence = 6;
  ASSERT_TRUE(run(store_->applyObservation(s.hostId, ended)));
  const auto host = run(store_->getHost(acme_.tenantId, s.hostId)).value();
  ASSERT_TRUE(run(store_->linkDown(host.id, host.epoch, "heartbeat_lost", now())));
  connect(host);
  ASSERT_TRUE(run(store_->markAllDisconnected(now())));
  Story lines;
  for (const auto& line : run(store_->listAudit(acme_.tenantId, {})).value().items) {
    if (line.subject == s.id.text() || line.action.starts_with("host.c") || line.action.starts_with("host.d")) {
      lines.push_back(fmt::format("{} by {}: {}", line.action, line.actor == "system" ? line.actor : line.actor.substr(0, 3), line.detail));
    }
  }
  EXPECT_EQ(lines, (Story{"host.disconnected by system: host-of-box: server_restarted, 1 sandboxes unknown",
                          "host.connected by hst: host-of-box, 1 sandboxes known again",
                          "host.disconnected by system: host-of-box: heartbeat_lost, 1 sandboxes unknown",
                          "sandbox.failed by hst: box, workload_exited, code 3, exited by " + s.id.text() + ", generation 1",
                          "sandbox.running by hst: box, generation 1", "sandbox.starting by hst: box, provisioning, generation 1",
                          "sandbox.create by usr: box on " + s.hostId.text()}));
}

TEST_F(EventStore, CertifiesWhoEndedIt) {
  const auto s = addSandbox(acme_);
  const auto end = [&](std::uint64_t generation, std::uint64_t sequence, SandboxState state, std::string reason, ExitCause cause) {
    Observation o;
    o.sandboxId = s.id;
    o.generation = generation;
    o.sequence = sequence;
    o.state = state;
    o.reason = std::move(reason);
    clock_.advance(Millis(1));
    o.exit = ExitInfo{0, 9, false, now(), cause};
    return run(store_->applyObservation(s.hostId, o)).value();
  };
  EXPECT_EQ(end(1, 1, SandboxState::kFailed, "oom_killed", ExitCause::kUnspecified).exitBy, "kernel");
  EXPECT_EQ(end(1, 2, SandboxState::kStarting, "provisioning", ExitCause::kHostRestarted).exitBy, s.hostId.text());
  ASSERT_TRUE(run(store_->setDesired(acme_, s.id, DesiredState::kStopped, Millis(0))));
  Actor other = acme_;
  other.apiKeyId = ApiKeyId::make();
  ASSERT_TRUE(run(store_->setDesired(other, s.id, DesiredState::kRunning, Millis(0))));
  const auto stopped = end(2, 3, SandboxState::kStopped, "stopped_by_user", ExitCause::kStopped);
  EXPECT_EQ(stopped.exitBy, acme_.userId.text() + "/" + acme_.apiKeyId.text()) << "who stopped it, not who started it since";
  EXPECT_EQ(stopped.exit->cause, ExitCause::kStopped);
  EXPECT_EQ(observe(s, 3, 4, SandboxState::kRunning).exitBy, "") << "it runs";
  ASSERT_TRUE(run(store_->removeHost(other, s.hostId, Store::RemoveHost::kAlsoWithSandboxes)));
  const auto lost = read(s);
  EXPECT_EQ(lost.exit->cause, ExitCause::kHostLost);
  EXPECT_EQ(lost.exit->code, -1) << "nobody knows how";
  EXPECT_EQ(lost.exitBy, other.userId.text() + "/" + other.apiKeyId.text());
}

TEST_F(EventStore, GivesPagesOldestFirstOfOneTenantOnly) {
  const auto s = addSandbox(acme_);
  const auto globex = addTenant("globex");
  const auto other = addSandbox(globex, "elsewhere");
  for (std::uint64_t n = 1; n <= 5; ++n) observe(s, 1, n, n % 2 == 0 ? SandboxState::kRunning : SandboxState::kStarting);
  std::vector<std::int64_t> seen;
  for (std::int64_t after = 0;;) {
    const auto page = events(acme_, {.after = after, .limit = 2}).items;
    if (page.empty()) break;
    for (const auto& event : page) seen.push_back(event.sequence);
    after = seen.back();
  }
  EXPECT_EQ(seen.size(), 6U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(events(globex).items.size(), 1U);
  EXPECT_EQ(codeOf(run(store_->listSandboxEvents(globex.tenantId, {s.id}))), ErrorCode::kNotFound);
  EXPECT_EQ(codeOf(run(store_->listSandboxEvents(acme_.tenantId, {other.id}))), ErrorCode::kNotFound);
  EXPECT_TRUE(events(acme_, {s.id, seen.back(), 10}).items.empty()) << "nothing new of a sandbox that is known";
}

TEST_F(EventStore, ForgetsByAgeAndByCountAndSaysUpToWhere) {
  const auto s = addSandbox(acme_);
  const auto globex = addTenant("globex");
  addSandbox(globex, "elsewhere");
  for (std::uint64_t n = 1; n <= 9; ++n) {
    clock_.advance(Seconds(1));
    observe(s, 1, n, n % 2 == 0 ? SandboxState::kRunning : SandboxState::kStarting);
  }
  const auto prune = [&](SandboxEventLimits limits) { return run(store_->pruneSandboxEvents(limits)).value(); };
  const auto before = events(acme_);
  EXPECT_EQ(before.prunedThrough, 0);
  EXPECT_EQ(prune({}), 0);
  EXPECT_EQ(prune({.perTenant = 8}), 2) << "of ten the oldest two; the other tenant has few";
  auto kept = events(acme_);
  EXPECT_EQ(kept.items.front().sequence, before.items[2].sequence);
  EXPECT_GE(kept.prunedThrough, before.items[1].sequence);
  EXPECT_LT(kept.prunedThrough, before.items[2].sequence);
  EXPECT_EQ(events(globex).prunedThrough, 0);
  EXPECT_EQ(prune({.age = Seconds(3)}), 4 + 1) << "both tenants' old ones";
  kept = events(acme_);
  EXPECT_EQ(kept.items.size(), 4U);
  clock_.advance(Seconds(60));
  EXPECT_EQ(prune({.age = Seconds(3)}), 4);
  EXPECT_TRUE(events(acme_).items.empty());
  EXPECT_EQ(events(acme_).head, before.head) << "an empty log knows how long it was";
  observe(s, 1, 10, SandboxState::kStarting);
  observe(s, 1, 11, SandboxState::kRunning);
  EXPECT_GT(events(acme_).items.front().sequence, before.head) << "no sequence is used twice";
}

}  // namespace
}  // namespace gs
