// From the rows of a document's tokens to its features.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "key.hpp"

// One copy of the kernels for each of these kinds of processor; the loader chooses. It takes glibc.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__) && !defined(__clang__)
#define SKLEARN_STATIC_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SKLEARN_STATIC_CLONES
#endif
#if defined(__GNUC__) || defined(__clang__)
#define SKLEARN_STATIC_INLINE inline __attribute__((always_inline))
#define SKLEARN_STATIC_PREFETCH(address) __builtin_prefetch(address)
#else
#define SKLEARN_STATIC_INLINE inline
#define SKLEARN_STATIC_PREFETCH(address) ((void)(address))
#endif

namespace sklearn_static {

// From a pair of rows to the row of the bigram.
class BigramTable {
public:
    // At most a quarter full, so that nearly every search ends in its first slot.
    void build(const int32_t* pairs, size_t n_pairs, int32_t n_tokens) {
        size_t n_slots = 4;
        shift_ = 62;
        while (n_slots < 4 * n_pairs) n_slots *= 2, --shift_;
        slots_.assign(n_slots, Slot{kFree, 0});
        for (size_t i = 0; i < n_pairs; ++i) {
            const uint64_t key = key_of(pairs[2 * i], pairs[2 * i + 1]);
            size_t slot = hash(key);
            while (slots_[slot].key != kFree) slot = (slot + 1) & (n_slots - 1);
            slots_[slot] = {key, static_cast<int32_t>(n_tokens + i)};
        }
        is_empty_ = n_pairs == 0;
    }

    bool is_empty() const { return is_empty_; }

    // -1 where the bigram has no row.
    int32_t find(int32_t first, int32_t second) const {
        const uint64_t key = key_of(first, second);
        for (size_t slot = hash(key);; slot = (slot + 1) & (slots_.size() - 1)) {
            if (slots_[slot].key == key) return slots_[slot].row;
            if (slots_[slot].key == kFree) return -1;
        }
    }

private:
    struct Slot {
        uint64_t key;
        int32_t row;
    };
    static constexpr uint64_t kFree = ~uint64_t(0);
    std::vector<Slot> slots_;
    int shift_ = 62;
    bool is_empty_ = true;

    static uint64_t key_of(int32_t first, int32_t second) {
        return uint64_t(uint32_t(first)) << 32 | uint32_t(second);
    }
    // Fibonacci hashing: 2^64 divided by the golden ratio.
    size_t hash(uint64_t key) const { return ((key ^ key >> 29) * 0x9E3779B97F4A7C15u) >> shift_; }
};

// The three ways to store a row, and how to add one to a sum.
struct FloatRows {
    const float* values;
    size_t n_columns;
    struct Row {
        const float* values;
        SKLEARN_STATIC_INLINE float operator[](size_t j) const { return values[j]; }
    };
    SKLEARN_STATIC_INLINE Row row(int32_t i) const { return {values + i * n_columns}; }
};

struct HalfRows {
    const uint16_t* values;
    size_t n_columns;
    struct Row {
        const uint16_t* values;
        SKLEARN_STATIC_INLINE float operator[](size_t j) const {
            // Exponent and fraction in their places, 112 being the difference of the biases; of
            // subnormal numbers the hidden one is taken back.
            const uint32_t half = values[j], shifted = (half & 0x7FFF) << 13;
            const uint32_t is_subnormal = 0u - (shifted < 0x800000u);
            const uint32_t bits = shifted + (112u << 23) + (is_subnormal & (1u << 23));
            const uint32_t taken_back_bits = is_subnormal & (113u << 23);
            float value, taken_back;
            std::memcpy(&value, &bits, 4);
            std::memcpy(&taken_back, &taken_back_bits, 4);
            value -= taken_back;
            uint32_t signed_bits;
            std::memcpy(&signed_bits, &value, 4);
            signed_bits |= (half & 0x8000) << 16;
            std::memcpy(&value, &signed_bits, 4);
            return value;
        }
    };
    SKLEARN_STATIC_INLINE Row row(int32_t i) const { return {values + i * n_columns}; }
};

struct ByteRows {
    const int8_t* values;
    const float* scales;
    size_t n_columns;
    struct Row {
        const int8_t* values;
        float scale;
        SKLEARN_STATIC_INLINE float operator[](size_t j) const {
            return static_cast<float>(values[j]) * scale;
        }
    };
    SKLEARN_STATIC_INLINE Row row(int32_t i) const { return {values + i * n_columns, scales[i]}; }
};

// So many rows are asked for before they are added.
constexpr size_t kFetchedAhead = 8;

struct Span {
    size_t start, stop;
};

// Row by row in their order, four at a time: most of the time goes into waiting for memory.
template <class Rows>
SKLEARN_STATIC_INLINE void add_rows(const Rows& table, const int32_t* rows, size_t n_rows,
                                    float* __restrict total, size_t n_columns) {
    size_t i = 0;
    for (; i + 4 <= n_rows; i += 4) {
        const auto a = table.row(rows[i]), b = table.row(rows[i + 1]);
        const auto c = table.row(rows[i + 2]), d = table.row(rows[i + 3]);
        for (size_t j = 0; j < n_columns; ++j) total[j] = total[j] + a[j] + b[j] + c[j] + d[j];
    }
    for (; i < n_rows; ++i) {
        const auto a = table.row(rows[i]);
        for (size_t j = 0; j < n_columns; ++j) total[j] += a[j];
    }
}

SKLEARN_STATIC_INLINE float length_of(const float* total, size_t n_columns) {
    // In eight parts whatever the processor, and in double precision.
    double parts[8] = {0};
    size_t j = 0;
    for (; j + 8 <= n_columns; j += 8)
        for (size_t k = 0; k < 8; ++k)
            parts[k] += static_cast<double>(total[j + k]) * static_cast<double>(total[j + k]);
    for (; j < n_columns; ++j) parts[0] += static_cast<double>(total[j]) * total[j];
    double sum = 0;
    for (double part : parts) sum += part;
    return static_cast<float>(std::sqrt(sum));
}

// What there is to add up: known tokens, each followed by the bigram that it ends, if there is one.
struct Selection {
    std::vector<int32_t> rows;
    std::vector<size_t> stops;           // of each document
    std::vector<size_t> n_known_tokens;  // of each document

    Selection(const std::vector<int32_t>& tokens, const std::vector<Span>& spans,
              const BigramTable& bigrams, size_t max_length) {
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

template <class Rows>
SKLEARN_STATIC_INLINE void pool(const Rows& table, const Selection& selection, bool unit_length,
                                float* out) {
    const size_t n_columns = table.n_columns;
    const size_t row_bytes = n_columns * sizeof(*table.values);
    const char* values = reinterpret_cast<const char*>(table.values);
    const int32_t* rows = selection.rows.data();
    const size_t n_rows = selection.rows.size();
    size_t i = 0, n_fetched = 0;
    for (size_t document = 0; document < selection.stops.size(); ++document) {
        const size_t stop = selection.stops[document];
        std::memset(out, 0, n_columns * sizeof(float));
        while (i < stop) {
            const size_t n = stop - i < 4 ? stop - i : 4;
            for (; n_fetched < i + n + kFetchedAhead && n_fetched < n_rows; ++n_fetched)
                for (size_t byte = 0; byte < row_bytes; byte += 64)
                    SKLEARN_STATIC_PREFETCH(values + rows[n_fetched] * row_bytes + byte);
            add_rows(table, rows + i, n, out, n_columns);
            i += n;
        }
        const float scale = unit_length ? length_of(out, n_columns)
                                        : static_cast<float>(selection.n_known_tokens[document]);
        if (scale != 0)
            for (size_t j = 0; j < n_columns; ++j) out[j] /= scale;
        out += n_columns;
    }
}

SKLEARN_STATIC_CLONES
inline void pool_floats(const FloatRows& table, const Selection& selection, bool unit_length,
                        float* out) {
    pool(table, selection, unit_length, out);
}

SKLEARN_STATIC_CLONES
inline void pool_halves(const HalfRows& table, const Selection& selection, bool unit_length,
                        float* out) {
    pool(table, selection, unit_length, out);
}

SKLEARN_STATIC_CLONES
inline void pool_bytes(const ByteRows& table, const Selection& selection, bool unit_length,
                       float* out) {
    pool(table, selection, unit_length, out);
}

}  // namespace sklearn_static
