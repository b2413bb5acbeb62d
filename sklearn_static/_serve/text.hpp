// UTF-8 and tables over all of Unicode.
//
// Every text that the engine reads is valid UTF-8 in a buffer of its own, with kPadding readable
// bytes after its end, so that no loop needs a special case for the last bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef _MSC_VER
#include <intrin.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#define SKLEARN_STATIC_PREFETCH(address) __builtin_prefetch(address)
#else
#define SKLEARN_STATIC_PREFETCH(address) ((void)(address))
#endif

namespace sklearn_static {

constexpr size_t kPadding = 32;

// UTF-8 that is owned elsewhere.
struct Text {
    const uint8_t* data;
    size_t size;
};

// An array that is owned elsewhere: by NumPy, or by a memory-mapped file.
template <class Value>
struct View {
    const Value* data = nullptr;
    size_t size = 0;
    const Value& operator[](size_t i) const { return data[i]; }
};

inline int count_trailing_zeros(uint64_t x) {
#ifdef _MSC_VER
    unsigned long index;
    _BitScanForward64(&index, x);
    return static_cast<int>(index);
#else
    return __builtin_ctzll(x);
#endif
}

// Loads eight bytes, the first one into the lowest bits.
inline uint64_t load8(const uint8_t* p) {
    uint64_t x;
    std::memcpy(&x, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

inline void store8(uint64_t x, uint8_t* p) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    std::memcpy(p, &x, 8);
}

inline uint64_t first_bytes(uint64_t x, size_t n) {
    return n >= 8 ? x : x & ((uint64_t(1) << (8 * n)) - 1);
}

// The number of bytes of the character that begins with this byte.
inline size_t size_of_character(uint8_t first) {
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

// Decodes the character at p, and advances p past it.
inline uint32_t decode(const uint8_t*& p) {
    const uint32_t c = *p;
    if (c < 0x80) return p += 1, c;
    if (c < 0xE0) return p += 2, (c & 0x1F) << 6 | (p[-1] & 0x3F);
    if (c < 0xF0) return p += 3, (c & 0x0F) << 12 | uint32_t(p[-2] & 0x3F) << 6 | (p[-1] & 0x3F);
    p += 4;
    return (c & 0x07) << 18 | uint32_t(p[-3] & 0x3F) << 12 | uint32_t(p[-2] & 0x3F) << 6 |
           (p[-1] & 0x3F);
}

inline bool is_ascii(Text text) {
    uint64_t bits = 0;
    size_t i = 0;
    for (; i + 8 <= text.size; i += 8) bits |= load8(text.data + i);
    bits |= first_bytes(load8(text.data + i), text.size - i);
    return !(bits & 0x8080808080808080u);
}

// ASCII in eight bytes at a time: the top bit of each byte says whether the byte is in a range.
constexpr uint64_t kTops = 0x8080808080808080u;

inline uint64_t in_range(uint64_t x, uint8_t first, uint8_t last) {
    const uint64_t ones = 0x0101010101010101u, low = x & ~kTops;
    return (low + ones * (0x80 - first)) & ~(low + ones * (0x7F - last)) & ~x & kTops;
}

// The number of bytes before the first one that is not marked.
inline size_t n_first(uint64_t marks) {
    const uint64_t others = ~marks & kTops;
    return others ? size_t(count_trailing_zeros(others)) / 8 : 8;
}

// The number of ASCII letters at the beginning of eight bytes; of lowercase ones, if asked.
inline size_t n_letters(uint64_t x, bool only_lowercase) {
    return n_first(in_range(only_lowercase ? x : x | 0x2020202020202020u, 'a', 'z'));
}

// The number of ASCII letters and digits at the beginning of eight bytes.
inline size_t n_alphanumeric(uint64_t x) {
    return n_first(in_range(x | 0x2020202020202020u, 'a', 'z') | in_range(x, '0', '9'));
}

// The start of the character before p.
inline const uint8_t* before(const uint8_t* p) {
    do --p;
    while ((*p & 0xC0) == 0x80);
    return p;
}

// Writes a character, and returns where the next one goes.
inline uint8_t* encode(uint32_t c, uint8_t* out) {
    if (c < 0x80) {
        *out++ = uint8_t(c);
    } else if (c < 0x800) {
        *out++ = uint8_t(0xC0 | c >> 6);
        *out++ = uint8_t(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = uint8_t(0xE0 | c >> 12);
        *out++ = uint8_t(0x80 | (c >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (c & 0x3F));
    } else {
        *out++ = uint8_t(0xF0 | c >> 18);
        *out++ = uint8_t(0x80 | (c >> 12 & 0x3F));
        *out++ = uint8_t(0x80 | (c >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (c & 0x3F));
    }
    return out;
}

// A value for each code point, in pages of 256, of which equal ones are stored once. The first page
// is that of the first 256 code points.
template <class Value>
struct CharacterTable {
    View<uint16_t> index;
    View<Value> pages;
    Value operator[](uint32_t c) const { return pages[size_t(index[c >> 8]) << 8 | (c & 0xFF)]; }
};

}  // namespace sklearn_static
