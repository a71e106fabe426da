#include "db/database.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"

namespace gs {
namespace {

Error sqliteError(sqlite3* handle, std::string_view what) {
  const int extended = handle != nullptr ? sqlite3_extended_errcode(handle) : SQLITE_NOMEM;
  const std::string message = fmt::format("{}: {}", what, handle != nullptr ? sqlite3_errmsg(handle) : "no memory");
  switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY: return makeError(ErrorCode::kAlreadyExists, message);
    default: break;
  }
  switch (extended & 0xff) {
    case SQLITE_CONSTRAINT: return makeError(ErrorCode::kFailedPrecondition, message);
    case SQLITE_FULL: return makeError(ErrorCode::kResourceExhausted, message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return makeError(ErrorCode::kUnavailable, message);
    // The disk, not the file: a database that cannot be read now is not a damaged one.
    case SQLITE_IOERR: return makeError(ErrorCode::kUnavailable, message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return makeError(ErrorCode::kDataLoss, message);
    default: return makeError(ErrorCode::kInternal, message);
  }
}

// "$1" is a named parameter to SQLite, whose index is the order of first use: indexes[i] is that of "$<i+1>".
std::vector<int> parameterIndexes(sqlite3_stmt* statement) {
  std::vector<int> indexes(static_cast<std::size_t>(sqlite3_bind_parameter_count(statement)));
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    indexes[i] = sqlite3_bind_parameter_index(statement, fmt::format("${}", i + 1).c_str());
  }
  return indexes;
}

Status bindAll(sqlite3_stmt* statement, const std::vector<int>& indexes, SqlValues values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int index = i < indexes.size() ? indexes[i] : 0;
    if (index == 0) return fail(ErrorCode::kInternal, fmt::format("the statement has no parameter ${}", i + 1));
    if (std::holds_alternative<std::monostate>(values[i])) {
      sqlite3_bind_null(statement, index);
    } else if (const auto* integer = std::get_if<std::int64_t>(&values[i])) {
      sqlite3_bind_int64(statement, index, *integer);
    } else if (const auto* text = std::get_if<std::string>(&values[i])) {
      sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else {
      const auto& bytes = std::get<Blob>(values[i]).bytes;
      sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_STATIC);
    }
  }
  if (indexes.size() != values.size()) return fail(ErrorCode::kInternal, "the statement has parameters that were given no value");
  return {};
}

// Leaves the statement reusable and its bindings dropped, however the caller returns.
class ResetLater {
 public:
  explicit ResetLater(sqlite3_stmt* statement) : statement_(statement) {}
  ~ResetLater() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  ResetLater(const ResetLater&) = delete;
  ResetLater& operator=(const ResetLater&) = delete;

 private:
  sqlite3_stmt* statement_;
};

}  // namespace

struct Database::Prepared {
  sqlite3_stmt* statement = nullptr;
  std::vector<int> parameters;
};

struct Database::Cache {
  // So that a text can be looked up without a copy of it.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, Prepared, Hash, std::equal_to<>> statements;
};

std::int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Row::text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), static_cast<std::size_t>(size));
}

bool Row::isNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::optional<std::int64_t> Row::findInteger(int column) const {
  return isNull(column) ? std::nullopt : std::optional(integer(column));
}

std::optional<std::string> Row::findText(int column) const {
  return isNull(column) ? std::nullopt : std::optional(text(column));
}

Database::Database(sqlite3* handle) : handle_(handle), cache_(std::make_unique<Cache>()) {}

Database::Database(Database&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), cache_(std::move(other.cache_)) {}

Database& Database::operator=(Database&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(cache_, other.cache_);
  return *this;
}

Database::~Database() {
  if (cache_) {
    for (auto& [sql, prepared] : cache_->statements) sqlite3_finalize(prepared.statement);
  }
  if (handle_ != nullptr) sqlite3_close(handle_);
}

Result<Database> Database::open(const std::string& path) {
  if (path != ":memory:") {
    // Created here, because SQLite would use the umask and the file may hold what only root should read.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(errnoError(errno, "opening " + path));
    ::close(fd);
  }
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (code != SQLITE_OK) return fail(sqliteError(handle, "opening " + path));
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, 5000);
  GS_CHECK(database.executeScript(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-1024;"
      "PRAGMA temp_store=MEMORY;"));
  return database;
}

Result<Database> Database::openInMemory() { return open(":memory:"); }

Result<std::string> Database::image() {
  sqlite3_int64 size = 0;
  unsigned char* const bytes = sqlite3_serialize(handle_, "main", &size, 0);
  if (bytes == nullptr) return fail(sqliteError(handle_, "copying the database"));
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  sqlite3_free(bytes);
  // A log beside the file is no part of the copy, which holds everything: so it does not ask for one (file format, 18 and 19).
  if (out.size() > 20) out[18] = out[19] = 1;
  return out;
}

Result<Database> Database::openImage(std::string_view image) {
  GS_TRY(auto database, openInMemory());
  auto* const bytes = static_cast<unsigned char*>(sqlite3_malloc64(image.size()));
  if (bytes == nullptr) return fail(ErrorCode::kResourceExhausted, "no memory for the database's copy");
  std::copy(image.begin(), image.end(), bytes);
  const auto size = static_cast<sqlite3_int64>(image.size());
  if (sqlite3_deserialize(database.handle_, "main", bytes, size, size, SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE) !=
      SQLITE_OK) {
    return fail(sqliteError(database.handle_, "opening the database's copy"));
  }
  return database;
}

Result<const Database::Prepared*> Database::prepare(std::string_view sql) {
  if (const auto found = cache_->statements.find(sql); found != cache_->statements.end()) return &found->second;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                         nullptr) != SQLITE_OK) {
    return fail(sqliteError(handle_, "preparing a statement"));
  }
  auto parameters = parameterIndexes(statement);
  return &cache_->statements.emplace(std::string(sql), Prepared{statement, std::move(parameters)}).first->second;
}

Result<std::int64_t> Database::execute(std::string_view sql, SqlValues values) {
  GS_CHECK(query(sql, values, [](const Row&) {}));
  return sqlite3_changes64(handle_);
}

Status Database::query(std::string_view sql, SqlValues values, const std::function<void(const Row&)>& onRow) {
  GS_TRY(const Prepared* const prepared, prepare(sql));
  sqlite3_stmt* const statement = prepared->statement;
  const ResetLater reset(statement);
  GS_CHECK(bindAll(statement, prepared->parameters, values));
  while (true) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return fail(sqliteError(handle_, "running a statement"));
    onRow(Row(statement));
  }
}

Status Database::executeScript(std::string_view sql) {
  const std::string copy(sql);
  if (sqlite3_exec(handle_, copy.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return fail(sqliteError(handle_, "running a script"));
  }
  return {};
}

Result<Transaction> Transaction::begin(Database& database) {
  GS_TRY([[maybe_unused]] const auto changed, database.execute("BEGIN IMMEDIATE"));
  return Transaction(&database);
}

Status Transaction::commit() {
  auto* database = std::exchange(database_, nullptr);
  const auto done = database->execute("COMMIT");
  if (!done) {
    // A failed commit leaves the transaction open (a full disk, say); it must not swallow what comes next.
    [[maybe_unused]] const auto rolled = database->execute("ROLLBACK");
    return fail(done.error());
  }
  return {};
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  [[maybe_unused]] const auto rolled = database_->execute("ROLLBACK");
}

namespace {

// Makes the table when it is not there.
Result<std::vector<std::string>> namesIn(Database& database, std::string_view table) {
  std::vector<std::string> names;
  GS_CHECK(database.executeScript(
      fmt::format("CREATE TABLE IF NOT EXISTS {} (name TEXT PRIMARY KEY, applied_at BIGINT NOT NULL)", table)));
  GS_CHECK(database.query(fmt::format("SELECT name FROM {} ORDER BY name", table), {},
                          [&](const Row& row) { names.push_back(row.text(0)); }));
  return names;
}

}  // namespace

Status migrate(Database& database, const std::vector<Migration>& migrations) {
  GS_TRY(auto applied, namesIn(database, "schema_migrations"));
  for (const auto& name : applied) {
    if (std::ranges::none_of(migrations, [&](const Migration& m) { return m.name == name; })) {
      return fail(makeError(ErrorCode::kFailedPrecondition,
                            fmt::format("the database has schema step {}, which this version does not know", name))
                      .withFix("run the newer version that wrote it, or restore a backup"));
    }
  }
  GS_TRY(const auto additions, namesIn(database, "schema_additions"));
  applied.insert(applied.end(), additions.begin(), additions.end());
  for (const auto& migration : migrations) {
    if (std::ranges::find(applied, migration.name) != applied.end()) continue;
    const bool addsOnly = migration.tolerance == Tolerance::kAddsOnly;
    GS_TRY(auto transaction, Transaction::begin(database));
    GS_CHECK(database.executeScript(migration.sql));
    GS_CHECK(database.execute(fmt::format("INSERT INTO {} (name, applied_at) VALUES ($1, $2)",
                                          addsOnly ? "schema_additions" : "schema_migrations"),
                              {std::string(migration.name), toUnixMillis(SystemClock().wallNow())}));
    GS_CHECK(transaction.commit());
  }
  return {};
}

}  // namespace gs
