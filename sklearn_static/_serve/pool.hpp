// Pools the rows of a document's tokens into its features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "text.hpp"
#include "pairs.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SKLEARN_STATIC_X86 1
#include <immintrin.h>
#endif
#if defined(__GNUC__) || defined(__clang__)
#define SKLEARN_STATIC_PREFETCH(address) __builtin_prefetch(address)
#else
#define SKLEARN_STATIC_PREFETCH(address) ((void)(address))
#endif

namespace sklearn_static {

inline float to_float(float value) { return value; }

inline float to_float(int8_t value) { return value; }

// Converts a half-precision number by its bits: exponent and fraction are shifted into place (112
// is the difference of the biases), and for subnormal numbers the implicit one is subtracted again.
inline float to_float(uint16_t half) {
    const uint32_t shifted = (half & 0x7FFFu) << 13;
    const uint32_t is_subnormal = 0u - (shifted < 0x800000u);
    uint32_t bits = shifted + (112u << 23) + (is_subnormal & (1u << 23));
    const uint32_t taken_back_bits = is_subnormal & (113u << 23);
    float value, taken_back;
    std::memcpy(&value, &bits, 4);
    std::memcpy(&taken_back, &taken_back_bits, 4);
    value -= taken_back;
    std::memcpy(&bits, &value, 4);
    bits |= (half & 0x8000u) << 16;
    std::memcpy(&value, &bits, 4);
    return value;
}

// The three ways to store a table: `Value` is float, uint16_t (half precision) or int8_t.
template <class Value>
struct Table {
    static constexpr bool kIsScaled = sizeof(Value) == 1;
    const Value* values;
    const float* scales;  // one per row; null unless int8
    size_t n_columns;

    const Value* row(int32_t i) const { return values + static_cast<size_t>(i) * n_columns; }
    float scale(int32_t i) const { return kIsScaled ? scales[i] : 1; }
};

// The number of rows summed at once, and of the next rows prefetched meanwhile.
constexpr size_t kRowsAtOnce = 8, kRowsFetched = 12;

struct Span {
    size_t start, stop;
};

// The rows to sum: in-vocabulary tokens, each followed by the bigram that ends with it, if any.
struct Selection {
    std::vector<int32_t> rows;
    std::vector<size_t> stops;           // of each document
    std::vector<size_t> n_known_tokens;  // of each document

    Selection(const std::vector<int32_t>& tokens, const std::vector<Span>& spans,
              const PairTable& bigrams, size_t max_length) {
        rows.reserve(tokens.size());
        stops.reserve(spans.size());
        n_known_tokens.reserve(spans.size());
        for (const Span& span : spans) {
            const size_t size = span.stop - span.start;
            const size_t stop = span.start + (size < max_length ? size : max_length);
            size_t n_known = 0;
            int32_t previous = -1;
            for (size_t i = span.start; i < stop; ++i) {
                const int32_t row = tokens[i];
                if (row < 0) continue;
                ++n_known;
                rows.push_back(row);
                if (bigrams.is_empty()) continue;
                if (previous >= 0) {
                    const int32_t bigram = bigrams.find(previous, row);
                    if (bigram >= 0) rows.push_back(bigram);
                }
                previous = row;
            }
            stops.push_back(rows.size());
            n_known_tokens.push_back(n_known);
        }
    }
};

namespace any_processor {
struct Lanes {
    float values[4];
    void operator+=(const Lanes& other) {
        for (int k = 0; k < 4; ++k) values[k] += other.values[k];
    }
    Lanes operator*(float factor) const {
        Lanes product;
        for (int k = 0; k < 4; ++k) product.values[k] = values[k] * factor;
        return product;
    }
};
template <class Value>
inline Lanes load(const Value* values) {
    Lanes lanes;
    for (int k = 0; k < 4; ++k) lanes.values[k] = to_float(values[k]);
    return lanes;
}
#include "kernel.hpp"
}  // namespace any_processor

#ifdef SKLEARN_STATIC_X86
#define SKLEARN_STATIC_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define SKLEARN_STATIC_BEGIN(isa) \
    SKLEARN_STATIC_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define SKLEARN_STATIC_END _Pragma("clang attribute pop")
#else
#define SKLEARN_STATIC_BEGIN(isa) \
    _Pragma("GCC push_options") SKLEARN_STATIC_PRAGMA(GCC target(isa))
#define SKLEARN_STATIC_END _Pragma("GCC pop_options")
#endif

SKLEARN_STATIC_BEGIN("avx2,f16c")
namespace avx2 {
typedef __m256 Lanes;
inline Lanes load(const float* values) { return _mm256_loadu_ps(values); }
inline Lanes load(const uint16_t* values) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}
inline Lanes load(const int8_t* values) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
#include "kernel.hpp"
}  // namespace avx2
SKLEARN_STATIC_END

SKLEARN_STATIC_BEGIN("avx512f,f16c")
namespace avx512 {
typedef __m512 Lanes;
inline Lanes load(const float* values) { return _mm512_loadu_ps(values); }
inline Lanes load(const uint16_t* values) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
}
inline Lanes load(const int8_t* values) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
#include "kernel.hpp"
}  // namespace avx512
SKLEARN_STATIC_END
#endif

// Writes the features of all documents to `out`, one document after the other.
template <class Value>
inline void pool(const Table<Value>& table, const Selection& selection, bool unit_length,
                 float* out) {
#ifdef SKLEARN_STATIC_X86
    if (__builtin_cpu_supports("avx512f"))
        return avx512::pool(table, selection, unit_length, out);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"))
        return avx2::pool(table, selection, unit_length, out);
#endif
    any_processor::pool(table, selection, unit_length, out);
}

}  // namespace sklearn_static
