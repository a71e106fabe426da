#include "agent/blueprints/cache_records.h"

#include <functional>

#include "base/log.h"

namespace gs {

std::string_view cacheStateName(CacheState state) {
  switch (state) {
    case CacheState::kDownloading:
      return "downloading";
    case CacheState::kReady:
      return "ready";
    case CacheState::kDamaged:
      return "damaged";
  }
  return "unknown";
}

Task<Result<std::optional<BlueprintManifest>>> CacheRecords::findManifest(Digest manifest) {
  GS_CO_TRY(const auto text, co_await database_.run([manifest](Database& db) {
    return db.queryOne("SELECT manifest FROM blueprint_cache WHERE manifest_digest = $1", {manifest.text()},
                       [](const Row& row) { return row.text(0); });
  }));
  if (!text) co_return std::optional<BlueprintManifest>();
  auto parsed = parseBlueprintManifest(*text, manifest);
  if (!parsed) {
    logWarn("blueprint_record_ignored", {{"manifest", manifest.text()}, {"error", parsed.error().describe()}});
    co_return std::optional<BlueprintManifest>();
  }
  co_return std::optional(std::move(*parsed));
}

Task<Status> CacheRecords::put(Digest digest, std::string manifest, std::uint64_t sizeBytes, CacheState state) {
  const auto now = toUnixMillis(clock_.wallNow());
  const auto cachedAt = state == CacheState::kReady ? SqlValue(now) : SqlValue();
  auto done = co_await database_.run([=](Database& db) {
    return db.execute(
        "INSERT INTO blueprint_cache (manifest_digest, manifest, state, size_bytes, cached_at_ms, last_used_at_ms)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (manifest_digest) DO UPDATE SET manifest = $2, state = $3, size_bytes = $4,"
        " cached_at_ms = COALESCE($5, cached_at_ms), last_used_at_ms = $6",
        {digest.text(), manifest, std::string(cacheStateName(state)), static_cast<std::int64_t>(sizeBytes), cachedAt,
         now});
  });
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return Status{};
}

Task<Status> CacheRecords::setState(Digest manifest, CacheState state) {
  auto done = co_await database_.run([manifest, state](Database& db) {
    return db.execute("UPDATE blueprint_cache SET state = $2 WHERE manifest_digest = $1",
                      {manifest.text(), std::string(cacheStateName(state))});
  });
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return Status{};
}

Task<Status> CacheRecords::touch(Digest manifest) {
  const auto now = toUnixMillis(clock_.wallNow());
  auto done = co_await database_.run([manifest, now](Database& db) {
    return db.execute("UPDATE blueprint_cache SET last_used_at_ms = $2 WHERE manifest_digest = $1",
                      {manifest.text(), now});
  });
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return Status{};
}

Task<Status> CacheRecords::forgetUnfinished(Digest manifest) {
  auto done = co_await database_.run([manifest](Database& db) {
    return db.execute("DELETE FROM blueprint_cache WHERE manifest_digest = $1 AND state = $2",
                      {manifest.text(), std::string(cacheStateName(CacheState::kDownloading))});
  });
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return Status{};
}

Task<Status> CacheRecords::forgetAllUnfinished() {
  auto done = co_await database_.run([](Database& db) {
    return db.execute("DELETE FROM blueprint_cache WHERE state = $1",
                      {std::string(cacheStateName(CacheState::kDownloading))});
  });
  if (!done) co_return std::unexpected(std::move(done.error()));
  co_return Status{};
}

Task<Result<std::vector<CachedBlueprint>>> CacheRecords::list() {
  co_return co_await database_.run([](Database& db) -> Result<std::vector<CachedBlueprint>> {
    std::vector<CachedBlueprint> out;
    GS_CHECK(
        db.query("SELECT manifest_digest, state, size_bytes, cached_at_ms, last_used_at_ms FROM blueprint_cache"
                 " ORDER BY last_used_at_ms DESC, manifest_digest",
                 {}, [&](const Row& row) {
                   CachedBlueprint item;
                   const auto digest = Digest::parse(row.text(0));
                   if (!digest) return;
                   item.manifest = *digest;
                   item.state = row.text(1);
                   item.sizeBytes = static_cast<std::uint64_t>(row.integer(2));
                   if (const auto ms = row.findInteger(3)) item.cachedAt = fromUnixMillis(*ms);
                   item.lastUsedAt = fromUnixMillis(row.integer(4));
                   out.push_back(std::move(item));
                 }));
    return out;
  });
}

}  // namespace gs
