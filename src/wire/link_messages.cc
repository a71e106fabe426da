#include "wire/convert.h"

namespace gs {
namespace pb = wire::pb;

namespace {

constexpr std::size_t kMostFeatures = 64;
constexpr std::size_t kMostInventory = 5000;

// One overload a body: writes into the envelope's oneof.
void put(std::monostate, pb::AgentMessage*) {}
void put(std::monostate, pb::ServerMessage*) {}

void put(const Hello& body, pb::AgentMessage* out) {
  auto* hello = out->mutable_hello();
  hello->set_protocol(body.protocol);
  for (const auto& feature : body.features) hello->add_features(feature);
  wire::write(body.facts, hello->mutable_facts());
  wire::write(body.telemetry, hello->mutable_telemetry());
  hello->set_assignments_digest(body.assignmentsDigest);
  hello->set_last_epoch(body.lastEpoch);
}

void put(const Heartbeat& body, pb::AgentMessage* out) {
  out->mutable_heartbeat()->set_sequence(body.sequence);
  wire::write(body.telemetry, out->mutable_heartbeat()->mutable_telemetry());
}

void put(const Inventory& body, pb::AgentMessage* out) {
  auto* inventory = out->mutable_inventory();
  for (const auto& version : body.assignments) {
    auto* item = inventory->add_assignments();
    item->set_sandbox_id(version.sandboxId.text());
    item->set_generation(version.generation);
    item->set_sequence(version.sequence);
  }
}

void put(const AssignmentAck& body, pb::AgentMessage* out) {
  auto* ack = out->mutable_assignment_ack();
  ack->set_sandbox_id(body.sandboxId.text());
  ack->set_generation(body.generation);
  if (body.refusal) wire::write(*body.refusal, ack->mutable_refusal());
}

void put(const Observation& body, pb::AgentMessage* out) { wire::write(body, out->mutable_observation()); }

void put(const BlobCredentialRequest& body, pb::AgentMessage* out) {
  out->mutable_blob_credential_request()->set_request_id(body.requestId);
  out->mutable_blob_credential_request()->set_manifest_digest(body.manifest.text());
}

void put(const FactsChanged& body, pb::AgentMessage* out) { wire::write(body.facts, out->mutable_facts_changed()); }

void put(const HeldSandbox& body, pb::AgentMessage* out) {
  wire::write(body.assignment, out->mutable_held_sandbox()->mutable_assignment());
  if (body.observation) wire::write(*body.observation, out->mutable_held_sandbox()->mutable_observation());
}

void put(const ConfirmDeletionsReply& body, pb::AgentMessage* out) {
  auto* reply = out->mutable_confirm_deletions_reply();
  reply->set_request_id(body.requestId);
  if (body.error) wire::write(*body.error, reply->mutable_error());
  reply->set_released(body.released);
}

void put(const HelloAck& body, pb::ServerMessage* out) {
  auto* ack = out->mutable_hello_ack();
  ack->set_epoch(body.epoch);
  ack->set_heartbeat_ms(static_cast<std::uint32_t>(body.heartbeat.count()));
  for (const auto& feature : body.features) ack->add_features(feature);
  wire::write(body.serverTime, ack->mutable_server_time());
}

void put(const HeartbeatAck& body, pb::ServerMessage* out) {
  out->mutable_heartbeat_ack()->set_sequence(body.sequence);
}

void put(const InventoryRequest&, pb::ServerMessage* out) { out->mutable_inventory_request(); }
void put(const Assignment& body, pb::ServerMessage* out) { wire::write(body, out->mutable_assignment()); }

void put(const ObservationAck& body, pb::ServerMessage* out) {
  out->mutable_observation_ack()->set_sandbox_id(body.sandboxId.text());
  out->mutable_observation_ack()->set_sequence(body.sequence);
}

void put(const BlobCredentialReply& body, pb::ServerMessage* out) {
  auto* reply = out->mutable_blob_credential_reply();
  reply->set_request_id(body.requestId);
  if (body.error) {
    wire::write(*body.error, reply->mutable_error());
    return;
  }
  reply->set_credential(std::string(body.credential.reveal()));
  wire::write(body.expiresAt, reply->mutable_expires_at());
  reply->set_manifest(body.manifest);
}

void put(const OpenChannels& body, pb::ServerMessage* out) {
  auto* open = out->mutable_open_channels();
  for (const auto& ticket : body.tickets) open->add_tickets(std::string(ticket.reveal()));
}

void put(const HeldRequest& body, pb::ServerMessage* out) {
  auto* request = out->mutable_held_request();
  for (const auto& id : body.sandboxIds) request->add_sandbox_ids(id.text());
}

void put(const ConfirmDeletions& body, pb::ServerMessage* out) {
  out->mutable_confirm_deletions()->set_request_id(body.requestId);
  out->mutable_confirm_deletions()->set_fence_id(body.fenceId);
}

void put(const RejectDeletions& body, pb::ServerMessage* out) {
  out->mutable_reject_deletions()->set_request_id(body.requestId);
  out->mutable_reject_deletions()->set_fence_id(body.fenceId);
}

template <class Envelope, class Message>
std::string encodeEnvelope(const Message& message) {
  Envelope out;
  out.set_epoch(message.epoch);
  std::visit([&](const auto& body) { put(body, &out); }, message.body);
  return out.SerializeAsString();
}

Result<Hello> get(const pb::Hello& in) {
  Hello out;
  out.protocol = in.protocol();
  GS_CHECK(wire::checkLength("features", static_cast<std::size_t>(in.features_size()), kMostFeatures));
  for (const auto& feature : in.features()) {
    GS_CHECK(wire::checkLength("features", feature.size(), 63));
    out.features.push_back(feature);
  }
  GS_TRY(out.facts, wire::read(in.facts()));
  out.telemetry = wire::read(in.telemetry());
  if (in.assignments_digest().size() != 32) return fail(wire::fieldError("assignments_digest", "must have 32 bytes"));
  out.assignmentsDigest = in.assignments_digest();
  out.lastEpoch = in.last_epoch();
  return out;
}

Result<Inventory> get(const pb::Inventory& in) {
  Inventory out;
  GS_CHECK(wire::checkLength("assignments", static_cast<std::size_t>(in.assignments_size()), kMostInventory));
  for (const auto& item : in.assignments()) {
    GS_TRY(auto id, SandboxId::parse(item.sandbox_id()));
    out.assignments.push_back({std::move(id), item.generation(), item.sequence()});
  }
  return out;
}

Result<AssignmentAck> get(const pb::AssignmentAck& in) {
  AssignmentAck out;
  GS_TRY(out.sandboxId, SandboxId::parse(in.sandbox_id()));
  out.generation = in.generation();
  if (in.has_refusal()) out.refusal = wire::read(in.refusal());
  return out;
}

Result<HeldSandbox> get(const pb::HeldSandbox& in) {
  HeldSandbox out;
  GS_TRY(out.assignment, wire::read(in.assignment()));
  if (in.has_observation()) {
    GS_TRY(out.observation, wire::read(in.observation()));
    if (out.observation->sandboxId != out.assignment.sandboxId) {
      return fail(wire::fieldError("observation", "is of another sandbox"));
    }
  }
  return out;
}

ConfirmDeletionsReply get(const pb::ConfirmDeletionsReply& in) {
  ConfirmDeletionsReply out;
  out.requestId = in.request_id();
  if (in.has_error()) out.error = wire::read(in.error());
  out.released = in.released();
  return out;
}

Result<HeldRequest> get(const pb::HeldRequest& in) {
  HeldRequest out;
  GS_CHECK(wire::checkLength("sandbox_ids", static_cast<std::size_t>(in.sandbox_ids_size()), kMostInventory));
  for (const auto& text : in.sandbox_ids()) {
    GS_TRY(auto id, SandboxId::parse(text));
    out.sandboxIds.push_back(std::move(id));
  }
  return out;
}

Result<ConfirmDeletions> get(const pb::ConfirmDeletions& in) {
  GS_CHECK(wire::checkLength("fence_id", in.fence_id().size(), 64));
  return ConfirmDeletions{in.request_id(), in.fence_id()};
}

Result<RejectDeletions> get(const pb::RejectDeletions& in) {
  GS_CHECK(wire::checkLength("fence_id", in.fence_id().size(), 64));
  return RejectDeletions{in.request_id(), in.fence_id()};
}

Result<HelloAck> get(const pb::HelloAck& in) {
  if (in.heartbeat_ms() < 100 || in.heartbeat_ms() > 60'000) {
    return fail(wire::fieldError("heartbeat_ms", "must be 100..60000"));
  }
  HelloAck out;
  out.epoch = in.epoch();
  out.heartbeat = Millis(in.heartbeat_ms());
  out.features.assign(in.features().begin(), in.features().end());
  out.serverTime = wire::read(in.server_time());
  return out;
}

Result<BlobCredentialReply> get(const pb::BlobCredentialReply& in) {
  BlobCredentialReply out;
  out.requestId = in.request_id();
  if (in.has_error()) out.error = wire::read(in.error());
  GS_CHECK(wire::checkLength("manifest", in.manifest().size(), 128 * 1024));
  out.credential = SecretString(in.credential());
  out.expiresAt = wire::read(in.expires_at());
  out.manifest = in.manifest();
  return out;
}

}  // namespace

std::string encode(const AgentMessage& message) { return encodeEnvelope<pb::AgentMessage>(message); }
std::string encode(const ServerMessage& message) { return encodeEnvelope<pb::ServerMessage>(message); }

Result<AgentMessage> decodeAgentMessage(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::AgentMessage>(bytes, "AgentMessage"));
  AgentMessage out;
  out.epoch = in.epoch();
  switch (in.body_case()) {
    case pb::AgentMessage::kHello: {
      GS_TRY(out.body, get(in.hello()));
      break;
    }
    case pb::AgentMessage::kHeartbeat:
      out.body = Heartbeat{in.heartbeat().sequence(), wire::read(in.heartbeat().telemetry())};
      break;
    case pb::AgentMessage::kInventory: {
      GS_TRY(out.body, get(in.inventory()));
      break;
    }
    case pb::AgentMessage::kAssignmentAck: {
      GS_TRY(out.body, get(in.assignment_ack()));
      break;
    }
    case pb::AgentMessage::kObservation: {
      GS_TRY(out.body, wire::read(in.observation()));
      break;
    }
    case pb::AgentMessage::kBlobCredentialRequest: {
      GS_TRY(auto digest, Digest::parse(in.blob_credential_request().manifest_digest()));
      out.body = BlobCredentialRequest{in.blob_credential_request().request_id(), std::move(digest)};
      break;
    }
    case pb::AgentMessage::kFactsChanged: {
      GS_TRY(auto facts, wire::read(in.facts_changed()));
      out.body = FactsChanged{std::move(facts)};
      break;
    }
    case pb::AgentMessage::kHeldSandbox: {
      GS_TRY(out.body, get(in.held_sandbox()));
      break;
    }
    case pb::AgentMessage::kConfirmDeletionsReply: out.body = get(in.confirm_deletions_reply()); break;
    case pb::AgentMessage::BODY_NOT_SET: break;
  }
  return out;
}

Result<ServerMessage> decodeServerMessage(std::string_view bytes) {
  GS_TRY(const auto in, wire::parseMessage<pb::ServerMessage>(bytes, "ServerMessage"));
  ServerMessage out;
  out.epoch = in.epoch();
  switch (in.body_case()) {
    case pb::ServerMessage::kHelloAck: {
      GS_TRY(out.body, get(in.hello_ack()));
      break;
    }
    case pb::ServerMessage::kHeartbeatAck: out.body = HeartbeatAck{in.heartbeat_ack().sequence()}; break;
    case pb::ServerMessage::kInventoryRequest: out.body = InventoryRequest{}; break;
    case pb::ServerMessage::kAssignment: {
      GS_TRY(out.body, wire::read(in.assignment()));
      break;
    }
    case pb::ServerMessage::kObservationAck: {
      GS_TRY(auto id, SandboxId::parse(in.observation_ack().sandbox_id()));
      out.body = ObservationAck{std::move(id), in.observation_ack().sequence()};
      break;
    }
    case pb::ServerMessage::kBlobCredentialReply: {
      GS_TRY(out.body, get(in.blob_credential_reply()));
      break;
    }
    case pb::ServerMessage::kOpenChannels: {
      GS_CHECK(wire::checkLength("tickets", static_cast<std::size_t>(in.open_channels().tickets_size()), 16));
      OpenChannels open;
      for (const auto& ticket : in.open_channels().tickets()) open.tickets.emplace_back(ticket);
      out.body = std::move(open);
      break;
    }
    case pb::ServerMessage::kHeldRequest: {
      GS_TRY(out.body, get(in.held_request()));
      break;
    }
    case pb::ServerMessage::kConfirmDeletions: {
      GS_TRY(out.body, get(in.confirm_deletions()));
      break;
    }
    case pb::ServerMessage::kRejectDeletions: {
      GS_TRY(out.body, get(in.reject_deletions()));
      break;
    }
    case pb::ServerMessage::BODY_NOT_SET: break;
  }
  return out;
}

}  // namespace gs
