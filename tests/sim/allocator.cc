// Memory for a program that is one thread: sizes up to 2 KiB come from lists of used pieces, which are never given back.
//
// A seed allocates some hundred thousand small things and frees them again, in the libraries as well (SQLite, protobuf,
// the frames of coroutines): this program defines malloc itself, and takes a fifth of the time off a run. Addresses have
// no influence on what happens, so replays stay the same. What is large comes from the C library's own functions.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

// The C library's allocator under its other names; its headers do not have them.
extern "C" {
void* __libc_malloc(std::size_t size);
void __libc_free(void* pointer);
}

namespace {

constexpr std::size_t kStep = 32;
constexpr std::size_t kClasses = 64;
constexpr std::size_t kAlignment = 16;  // of what malloc gives, and the size of a header
constexpr std::size_t kSlab = 1 << 20;

struct Piece {
  Piece* next;
};
// In front of what was given out.
struct alignas(kAlignment) Header {
  std::uint32_t kind;    // 0: of the C library
  std::uint32_t offset;  // from the piece's begin to what was given out
  std::size_t size;      // that may be used
};
static_assert(sizeof(Header) == kAlignment);

Piece* freePieces[kClasses + 1];
char* slab = nullptr;
std::size_t slabLeft = 0;

Header* headerOf(void* pointer) { return reinterpret_cast<Header*>(static_cast<char*>(pointer) - sizeof(Header)); }

void* take(std::size_t size, std::size_t alignment) {
  const std::size_t spare = alignment > kAlignment ? alignment : 0;
  if (size > std::numeric_limits<std::uint32_t>::max() * std::size_t{1024} || spare > (1U << 30)) return nullptr;
  const std::size_t bytes = size + spare + sizeof(Header);
  const std::size_t kind = (bytes + kStep - 1) / kStep;
  char* raw = nullptr;
  if (kind > kClasses) {
    raw = static_cast<char*>(__libc_malloc(bytes));
    if (raw == nullptr) return nullptr;
  } else if (Piece* const piece = freePieces[kind]; piece != nullptr) {
    freePieces[kind] = piece->next;
    raw = reinterpret_cast<char*>(piece);
  } else {
    const std::size_t whole = kind * kStep;
    if (slabLeft < whole) {
      slab = static_cast<char*>(__libc_malloc(kSlab));
      if (slab == nullptr) return nullptr;
      slabLeft = kSlab;
    }
    raw = slab;
    slab += whole;
    slabLeft -= whole;
  }
  const auto least = reinterpret_cast<std::uintptr_t>(raw) + sizeof(Header);
  const auto at = spare == 0 ? least : (least + alignment - 1) / alignment * alignment;
  auto* const out = reinterpret_cast<char*>(at);
  const auto offset = static_cast<std::size_t>(out - raw);
  const std::size_t room = kind > kClasses ? bytes : kind * kStep;
  *headerOf(out) = {kind > kClasses ? 0 : static_cast<std::uint32_t>(kind), static_cast<std::uint32_t>(offset), room - offset};
  return out;
}

void give(void* pointer) {
  if (pointer == nullptr) return;
  const Header header = *headerOf(pointer);
  char* const raw = static_cast<char*>(pointer) - header.offset;
  if (header.kind == 0) return __libc_free(raw);
  auto* const piece = reinterpret_cast<Piece*>(raw);
  piece->next = freePieces[header.kind];
  freePieces[header.kind] = piece;
}

void* takeOrThrow(std::size_t size, std::size_t alignment) {
  void* const out = take(size, alignment);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  void* const out = take(size, kAlignment);
  if (out == nullptr) errno = ENOMEM;
  return out;
}
void free(void* pointer) { give(pointer); }
void* calloc(std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* const out = malloc(bytes);
  if (out != nullptr) std::memset(out, 0, bytes);
  return out;
}
void* realloc(void* pointer, std::size_t size) {
  if (pointer == nullptr) return malloc(size);
  const std::size_t has = headerOf(pointer)->size;
  if (size <= has && size >= has / 2) return pointer;
  void* const out = malloc(size);
  if (out == nullptr) return nullptr;
  std::memcpy(out, pointer, has < size ? has : size);
  give(pointer);
  return out;
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return take(size, alignment); }
void* memalign(std::size_t alignment, std::size_t size) { return take(size, alignment); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  *out = take(size, alignment);
  return *out == nullptr ? ENOMEM : 0;
}
std::size_t malloc_usable_size(void* pointer) { return pointer == nullptr ? 0 : headerOf(pointer)->size; }

}  // extern "C"

void* operator new(std::size_t size) { return takeOrThrow(size, kAlignment); }
void* operator new[](std::size_t size) { return takeOrThrow(size, kAlignment); }
void* operator new(std::size_t size, std::align_val_t alignment) { return takeOrThrow(size, static_cast<std::size_t>(alignment)); }
void operator delete(void* pointer) noexcept { give(pointer); }
void operator delete[](void* pointer) noexcept { give(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { give(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { give(pointer); }
void operator delete(void* pointer, std::align_val_t) noexcept { give(pointer); }
void operator delete(void* pointer, std::size_t, std::align_val_t) noexcept { give(pointer); }
