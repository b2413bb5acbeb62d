// The pieces of text that were split into tokens most recently, and their ids.
//
// One cache serves one call at a time, so that it needs no lock. Its size is fixed, an entry is one
// line of memory, and a piece has two places: nothing that a text contains can make a lookup slow,
// or make the cache grow.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "text.hpp"

namespace sklearn_static {

class Pieces {
public:
    static constexpr size_t kMaxBytes = 30, kMaxIds = 8;

    // The number of entries is a power of two, at least two.
    explicit Pieces(size_t n_entries)
        : shift_(64 - count_trailing_zeros(n_entries)),
          // calloc: zeros take no memory before they are written.
          lines_(static_cast<Line*>(std::calloc(n_entries + 1, sizeof(Line)))) {
        if (!lines_) throw std::bad_alloc();
        line_ = reinterpret_cast<Line*>((reinterpret_cast<uintptr_t>(lines_.get()) + 63) & ~uintptr_t(63));
    }

    // A piece as four integers: its bytes, zeros, its size, and a byte for the number of its ids.
    struct Probe {
        uint64_t parts[4];
        size_t place;
    };

    void prefetch(uint64_t hash) const { SKLEARN_STATIC_PREFETCH(line_ + place_of(hash)); }

    // For 1 to kMaxBytes bytes, after which kPadding bytes are readable.
    Probe probe(const uint8_t* p, size_t size, uint64_t hash) const {
        Probe probe{{0, 0, 0, 0}, place_of(hash)};
        size_t i = 0;
        for (; size - 8 * i > 8; ++i) probe.parts[i] = load8(p + 8 * i);
        probe.parts[i] = first_bytes(load8(p + 8 * i), size - 8 * i);
        probe.parts[3] |= uint64_t(size) << 48;
        return probe;
    }

    // Returns the ids, or null, and sets their number.
    const int32_t* find(const Probe& probe, size_t& n_ids) {
        Line* line = line_ + probe.place;
        if (!line->has(probe)) {
            if (!line[1].has(probe)) return nullptr;
            std::swap(line[0], line[1]);
        }
        n_ids = line->parts[3] >> 56;
        return line->ids;
    }

    // The piece used less recently of the two that share a place is evicted.
    void put(const Probe& probe, const int32_t* ids, size_t n_ids) {
        if (n_ids > kMaxIds) return;
        Line* line = line_ + probe.place;
        line[1] = line[0];
        std::memcpy(line->parts, probe.parts, sizeof(probe.parts));
        line->parts[3] |= uint64_t(n_ids) << 56;
        if (n_ids) std::memcpy(line->ids, ids, n_ids * sizeof(int32_t));
    }

private:
    struct Line {
        uint64_t parts[4];
        int32_t ids[kMaxIds];

        bool has(const Probe& probe) const {
            return parts[0] == probe.parts[0] && parts[1] == probe.parts[1] &&
                   parts[2] == probe.parts[2] && !((parts[3] ^ probe.parts[3]) << 8);
        }
    };
    struct Free {
        void operator()(Line* lines) const { std::free(lines); }
    };
    int shift_;
    std::unique_ptr<Line[], Free> lines_;
    Line* line_;  // the first one, at the beginning of a line of memory

    size_t place_of(uint64_t hash) const {
        return size_t(hash * 0x9FB21C651E98DF25u >> shift_) & ~size_t(1);
    }
};

}  // namespace sklearn_static
