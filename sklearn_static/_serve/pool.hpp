// Pools the rows of a document's tokens into its features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "text.hpp"
#include "pairs.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SKLEARN_STATIC_X86 1
#include <immintrin.h>
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

// The number of rows summed at once: they stay in the L1 cache while one range of columns after the
// other is summed (16 to 24 KB of float32, where 8 rows are 5 % slower). Meanwhile the row that is 12
// rows ahead is prefetched. From 8 to 24 rows ahead are equally fast, less is slower.
constexpr size_t kRowsAtOnce = 16, kRowsFetched = 12;
// The inverse of a smaller divisor may not be finite in single precision.
constexpr double kLeastDivisor = 1e-30;

struct Span {
    size_t start, stop;
};

// Some rows of one document.
struct Group {
    const int32_t* rows;
    size_t n_rows;
    bool is_first;  // of the document: its sums begin at zero
};

// The rows to sum: in-vocabulary tokens, each followed by the bigram that ends with it, if any.
struct Selection {
    // Followed by kRowsFetched zeros, so that reading ahead needs no check.
    std::unique_ptr<int32_t[]> rows;
    std::vector<size_t> stops;           // of each document
    std::vector<size_t> n_known_tokens;  // of each document

    Selection(const std::vector<int32_t>& tokens, const std::vector<Span>& spans,
              const PairTable& bigrams, size_t max_length)
        : rows(new int32_t[(bigrams.is_empty() ? 1 : 2) * tokens.size() + kRowsFetched]) {
        stops.reserve(spans.size());
        n_known_tokens.reserve(spans.size());
        int32_t* end = rows.get();
        for (const Span& span : spans) {
            const int32_t* token = tokens.data() + span.start;
            const int32_t* stop = token + std::min(span.stop - span.start, max_length);
            n_known_tokens.push_back(bigrams.is_empty() ? add_tokens(token, stop, end)
                                                        : add_both(token, stop, bigrams, end));
            stops.push_back(end - rows.get());
        }
        std::fill_n(end, kRowsFetched, 0);
    }

private:
    // Without branches or checks of the capacity: 2 ns per token instead of 4, where the summation
    // of its row takes 30 to 60.
    static size_t add_tokens(const int32_t* token, const int32_t* stop, int32_t*& end) {
        const int32_t* first = end;
        int32_t* next = end;
        for (; token < stop; ++token) {
            *next = *token;
            next += *token >= 0;
        }
        end = next;
        return end - first;
    }

    static size_t add_both(const int32_t* token, const int32_t* stop, const PairTable& bigrams,
                           int32_t*& end) {
        size_t n_known = 0;
        int32_t previous = -1;
        for (; token < stop; ++token) {
            if (*token < 0) continue;
            ++n_known;
            *end++ = *token;
            if (previous >= 0) {
                const int32_t bigram = bigrams.find(previous, *token);
                if (bigram >= 0) *end++ = bigram;
            }
            previous = *token;
        }
        return n_known;
    }
};

namespace any_processor {
constexpr size_t kBlocksAtOnce = 8;
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
inline void store(float* out, const Lanes& lanes) { std::memcpy(out, &lanes, sizeof(lanes)); }
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
constexpr size_t kBlocksAtOnce = 8;
typedef __m256 Lanes;
inline Lanes load(const float* values) { return _mm256_loadu_ps(values); }
inline Lanes load(const uint16_t* values) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}
inline Lanes load(const int8_t* values) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(values));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
inline void store(float* out, Lanes lanes) { _mm256_storeu_ps(out, lanes); }
#include "kernel.hpp"
}  // namespace avx2
SKLEARN_STATIC_END

SKLEARN_STATIC_BEGIN("avx512f,f16c")
namespace avx512 {
constexpr size_t kBlocksAtOnce = 16;
typedef __m512 Lanes;
inline Lanes load(const float* values) { return _mm512_loadu_ps(values); }
inline Lanes load(const uint16_t* values) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
}
inline Lanes load(const int8_t* values) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
inline void store(float* out, Lanes lanes) { _mm512_storeu_ps(out, lanes); }
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
