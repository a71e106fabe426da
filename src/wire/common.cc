#include "base/encoding.h"
#include "wire/convert.h"

namespace gs::wire {

Error fieldError(std::string_view field, std::string_view what) {
  return makeError(ErrorCode::kInvalidArgument, fmt::format("field '{}' {}", field, what));
}

Status checkLength(std::string_view field, std::size_t size, std::size_t most) {
  if (size > most) return fail(fieldError(field, fmt::format("has more than {} entries or bytes", most)));
  return {};
}

void write(const Error& value, pb::Status* out) {
  constexpr std::size_t kMost = 1024;
  out->set_code(std::string(errorCodeName(value.code)));
  out->set_message(value.message.substr(0, kMost));
  out->set_reason(value.reason.substr(0, kMost));
  out->set_fix(value.fix.substr(0, kMost));
  out->set_retryable(value.retryable == Retry::kYes);
}

Error read(const pb::Status& in) {
  Error error = makeError(errorCodeFromName(in.code()), escapeForLog(in.message(), 1024));
  error.reason = escapeForLog(in.reason(), 128);
  error.fix = escapeForLog(in.fix(), 1024);
  error.retryable = in.retryable() ? Retry::kYes : Retry::kNo;
  return error;
}

void write(WallTime value, pb::Timestamp* out) { out->set_unix_ms(toUnixMillis(value)); }
WallTime read(const pb::Timestamp& in) { return fromUnixMillis(in.unix_ms()); }

}  // namespace gs::wire

namespace gs {

std::string encodeStatus(const Error& error) { return wire::serialize<wire::pb::Status>(error); }

Result<Error> decodeStatus(std::string_view bytes) {
  GS_TRY(const auto message, wire::parseMessage<wire::pb::Status>(bytes, "Status"));
  return wire::read(message);
}

}  // namespace gs
