// Short strings as two integers, so that most lookups compare no bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef _MSC_VER
#include <intrin.h>
#endif

namespace sklearn_static {

// UTF-8 that is owned elsewhere.
struct Text {
    const uint8_t* data;
    size_t size;
};

// The result of reading a document: it was read to its end, parts of it must first be looked up in
// the original tokenizer, or only the original tokenizer can read it.
enum class Reading { kDone, kUnresolved, kWholeDocument };

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

// Loads up to eight bytes before `end`, padded with zeros.
inline uint64_t load8(const uint8_t* p, const uint8_t* end) {
    if (end - p >= 8) return load8(p);
    uint8_t padded[8] = {0};
    if (p < end) std::memcpy(padded, p, end - p);
    return load8(padded);
}

inline uint64_t first_bytes(uint64_t x, size_t n) {
    return n >= 8 ? x : x & ((uint64_t(1) << (8 * n)) - 1);
}

// The string itself if it has at most 16 bytes, otherwise a hash of it.
struct Key {
    uint64_t a, b;
    uint32_t size;

    bool is_whole() const { return size <= 16; }

    uint64_t hash() const {
        uint64_t h = a * 0x9E3779B97F4A7C15u + b * 0xC2B2AE3D27D4EB4Fu + size;
        h ^= h >> 32;
        h *= 0xD6E8FEB86659FD93u;
        return h;
    }
};

inline Key make_key(const uint8_t* p, size_t size) {
    const uint8_t* end = p + size;
    Key key{load8(p, end), 0, static_cast<uint32_t>(size)};
    if (size > 8) key.b = load8(p + 8, end);
    if (key.is_whole()) return key;
    for (p += 16; p < end; p += 8) {
        key.a = (key.a ^ load8(p, end)) * 0x9E3779B97F4A7C15u;
        key.a ^= key.a >> 29;
        key.b = (key.b + key.a) * 0xC2B2AE3D27D4EB4Fu;
        key.b ^= key.b >> 31;
    }
    return key;
}

// Likewise for at most 16 bytes, where 16 bytes are readable.
inline Key prefix_key(const uint8_t* p, size_t size) {
    const uint64_t b = size > 8 ? first_bytes(load8(p + 8), size - 8) : 0;
    return {first_bytes(load8(p), size), b, static_cast<uint32_t>(size)};
}

}  // namespace sklearn_static
