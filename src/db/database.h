// A small SQL layer: connection, prepared statements, transactions. SQLite now; the statements use $1-style parameters
// and portable SQL, so that a libpq backend fits behind the same three classes.
//
// Threads: a Database and all that comes from it belong to one thread at a time (see database_thread.h). Opened with
// WAL, synchronous=FULL and foreign keys on: a committed transaction survives power loss.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace gs {

// What can be bound: nothing (NULL), integer, text or bytes.
struct Blob {
  std::string bytes;
};
using SqlValue = std::variant<std::monostate, std::int64_t, std::string, Blob>;

// Values for one statement, where the caller has them: a list in braces is not copied into a vector first. For parameters
// of functions only; it owns nothing.
class SqlValues {
 public:
  SqlValues(std::initializer_list<SqlValue> values) : values_(values.begin(), values.size()) {}
  SqlValues(const std::vector<SqlValue>& values) : values_(values) {}
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] const SqlValue& operator[](std::size_t index) const { return values_[index]; }

 private:
  std::span<const SqlValue> values_;
};

// One result row; valid until the statement steps again. A column of another type reads as 0 or "".
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string text(int column) const;  // text or bytes
  [[nodiscard]] bool isNull(int column) const;
  [[nodiscard]] std::optional<std::int64_t> findInteger(int column) const;
  [[nodiscard]] std::optional<std::string> findText(int column) const;

 private:
  sqlite3_stmt* statement_;
};

class Database {
 public:
  // Creates the file (mode 0600) when it is missing. kDataLoss when it is no database or is damaged; kUnavailable when
  // another process holds it locked for longer than 5 s.
  [[nodiscard]] static Result<Database> open(const std::string& path);
  [[nodiscard]] static Result<Database> openInMemory();
  // The whole database, consistent, as the bytes of its file; and one in memory that begins with such bytes.
  [[nodiscard]] Result<std::string> image();
  [[nodiscard]] static Result<Database> openImage(std::string_view image);
  ~Database();
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;

  // Runs one statement to its end. Unique violations are kAlreadyExists, foreign keys and checks
  // kFailedPrecondition, a full disk kResourceExhausted, damage kDataLoss.
  Result<std::int64_t> execute(std::string_view sql, SqlValues values = {});  // rows changed
  // Calls `onRow` for each row, in order.
  Status query(std::string_view sql, SqlValues values, const std::function<void(const Row&)>& onRow);
  // The first row mapped by `map`, or nothing.
  template <class F>
  Result<std::optional<std::invoke_result_t<F, const Row&>>> queryOne(std::string_view sql, SqlValues values, F map) {
    std::optional<std::invoke_result_t<F, const Row&>> out;
    GS_CHECK(query(sql, values, [&](const Row& row) {
      if (!out) out.emplace(map(row));
    }));
    return out;
  }
  // Several statements separated by semicolons, without parameters: for migrations.
  Status executeScript(std::string_view sql);

 private:
  friend class Transaction;
  struct Cache;
  struct Prepared;
  Database(sqlite3* handle);
  Result<const Prepared*> prepare(std::string_view sql);

  sqlite3* handle_ = nullptr;
  std::unique_ptr<Cache> cache_;
};

// BEGIN IMMEDIATE … COMMIT. Rolls back on destruction unless committed. Not nested.
class Transaction {
 public:
  [[nodiscard]] static Result<Transaction> begin(Database& database);
  ~Transaction();
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  [[nodiscard]] Status commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

// What a program that does not know a step may do with a database that has it.
enum class Tolerance : std::uint8_t {
  kNone,     // nothing: it would misread what is there
  kAddsOnly  // work on: the step only added columns with defaults, or tables, and whoever does not know them ignores them
};

// One step of the schema. Names are recorded; a step that ran is never run again or changed.
//
// Steps that only add are recorded in a table of their own, schema_additions, which programs older than that table do not
// look into: so those open the database, too.
struct Migration {
  std::string_view name;  // "0001_first"
  std::string_view sql;
  Tolerance tolerance = Tolerance::kNone;
};

// Applies what is missing, each in a transaction, in order. A database that has a step this program does not know was
// written by a newer version: kFailedPrecondition naming it, and nothing is touched.
[[nodiscard]] Status migrate(Database& database, const std::vector<Migration>& migrations);

}  // namespace gs
