// The pieces of text that were split into tokens most recently, and their ids.
//
// One cache serves one call at a time, so that it needs no lock. Its size is fixed, an entry is one
// line of memory, and a piece has two places: nothing that a text contains can make a lookup slow,
// or make the cache grow. The hash has a random seed, so that no text can aim at one place.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "text.hpp"

namespace sklearn_static {

class Pieces {
public:
    static constexpr size_t kMaxBytes = 30, kMaxIds = 8;

    // A piece as four integers: its bytes, zeros, its size, and a byte for the number of its ids.
    struct Probe {
        uint64_t parts[4];
        size_t place;
    };

    // The number of entries is a power of two; one is enough to switch the cache off.
    Pieces(uint64_t seed, size_t n_entries)
        : mask_(n_entries - 1),
          seed_(seed * 0x9E3779B97F4A7C15u | 1),
          // calloc: zeros take no memory before they are written.
          lines_(static_cast<Line*>(std::calloc(n_entries + 1, sizeof(Line)))) {
        if (!lines_) throw std::bad_alloc();
    }

    // For at most kMaxBytes bytes, after which kPadding bytes are readable.
    Probe probe(const uint8_t* p, size_t size) const {
        Probe probe;
        const size_t n[4] = {size, size > 8 ? size - 8 : 0, size > 16 ? size - 16 : 0,
                             size > 24 ? size - 24 : 0};
        for (int i = 0; i < 4; ++i) probe.parts[i] = n[i] ? first_bytes(load8(p + 8 * i), n[i]) : 0;
        probe.parts[3] |= uint64_t(size) << 48;
        probe.place = hash(probe.parts) & mask_ & ~size_t(1);
        return probe;
    }

    // Returns the ids, or null, and sets their number.
    const int32_t* find(const Probe& probe, size_t& n_ids) {
        Line* line = lines_.get() + probe.place;
        if (!line->has(probe)) {
            ++line;
            if (!line->has(probe)) return nullptr;
            std::swap(line[0], line[-1]);
            --line;
        }
        n_ids = line->parts[3] >> 56;
        return line->ids;
    }

    // The piece used less recently of the two that share a place is evicted.
    void put(const Probe& probe, const int32_t* ids, size_t n_ids) {
        if (n_ids > kMaxIds) return;
        Line* line = lines_.get() + probe.place;
        line[1] = line[0];
        std::memcpy(line->parts, probe.parts, sizeof(probe.parts));
        line->parts[3] |= uint64_t(n_ids) << 56;
        std::memcpy(line->ids, ids, n_ids * sizeof(int32_t));
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
    size_t mask_;
    uint64_t seed_;
    std::unique_ptr<Line[], Free> lines_;

    uint64_t hash(const uint64_t* parts) const {
        uint64_t h = seed_;
        for (int i = 0; i < 4; ++i) {
            h = (h ^ parts[i]) * 0x9FB21C651E98DF25u;
            h ^= h >> 32;
        }
        return h;
    }
};

}  // namespace sklearn_static
