// A hash table with open addressing from pairs of numbers to a number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sklearn_static {

class PairTable {
public:
    // At most a quarter full, so that almost every search ends in its first slot.
    void reserve(size_t n_pairs) {
        size_t n_slots = 4;
        shift_ = 62;
        while (n_slots < 4 * n_pairs) n_slots *= 2, --shift_;
        slots_.assign(n_slots, Slot{kFree, 0});
        is_empty_ = n_pairs == 0;
    }

    void add(int32_t first, int32_t second, int32_t value) {
        const uint64_t key = key_of(first, second);
        size_t slot = hash(key);
        while (slots_[slot].key != kFree) slot = (slot + 1) & (slots_.size() - 1);
        slots_[slot] = {key, value};
    }

    bool is_empty() const { return is_empty_; }

    // Returns -1 for a pair that is not in the table.
    int32_t find(int32_t first, int32_t second) const {
        const uint64_t key = key_of(first, second);
        for (size_t slot = hash(key);; slot = (slot + 1) & (slots_.size() - 1)) {
            if (slots_[slot].key == key) return slots_[slot].value;
            if (slots_[slot].key == kFree) return -1;
        }
    }

private:
    struct Slot {
        uint64_t key;
        int32_t value;
    };
    static constexpr uint64_t kFree = ~uint64_t(0);
    std::vector<Slot> slots_;
    int shift_ = 62;
    bool is_empty_ = true;

    static uint64_t key_of(int32_t first, int32_t second) {
        return uint64_t(uint32_t(first)) << 32 | uint32_t(second);
    }
    // Fibonacci hashing: the factor is 2^64 divided by the golden ratio.
    size_t hash(uint64_t key) const { return ((key ^ key >> 29) * 0x9E3779B97F4A7C15u) >> shift_; }
};

}  // namespace sklearn_static
