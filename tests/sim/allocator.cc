// Memory for a program that is one thread: sizes up to 2 KiB come from lists of used pieces, which are never given back.
//
// A seed allocates some hundred thousand small things and frees them again; this takes a tenth of the time off a run.
// Addresses have no influence on what happens, so replays stay the same.
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t kStep = 32;
constexpr std::size_t kClasses = 64;
constexpr std::size_t kHeader = 16;  // keeps the alignment; holds the class
constexpr std::size_t kSlab = 1 << 20;

struct Piece {
  Piece* next;
};
Piece* freePieces[kClasses + 1];
char* slab = nullptr;
std::size_t slabLeft = 0;

void* take(std::size_t size) {
  const std::size_t kind = (size + kHeader + kStep - 1) / kStep;
  char* raw = nullptr;
  if (kind > kClasses) {
    raw = static_cast<char*>(std::malloc(size + kHeader));
    if (raw == nullptr) throw std::bad_alloc();
    *reinterpret_cast<std::size_t*>(raw) = 0;
    return raw + kHeader;
  }
  if (Piece* const piece = freePieces[kind]; piece != nullptr) {
    freePieces[kind] = piece->next;
    raw = reinterpret_cast<char*>(piece);
  } else {
    const std::size_t bytes = kind * kStep;
    if (slabLeft < bytes) {
      slab = static_cast<char*>(std::malloc(kSlab));
      if (slab == nullptr) throw std::bad_alloc();
      slabLeft = kSlab;
    }
    raw = slab;
    slab += bytes;
    slabLeft -= bytes;
  }
  *reinterpret_cast<std::size_t*>(raw) = kind;
  return raw + kHeader;
}

void give(void* pointer) {
  if (pointer == nullptr) return;
  char* const raw = static_cast<char*>(pointer) - kHeader;
  const std::size_t kind = *reinterpret_cast<std::size_t*>(raw);
  if (kind == 0) return std::free(raw);
  auto* const piece = reinterpret_cast<Piece*>(raw);
  piece->next = freePieces[kind];
  freePieces[kind] = piece;
}

}  // namespace

void* operator new(std::size_t size) { return take(size); }
void* operator new[](std::size_t size) { return take(size); }
void operator delete(void* pointer) noexcept { give(pointer); }
void operator delete[](void* pointer) noexcept { give(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { give(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { give(pointer); }
