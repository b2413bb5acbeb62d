// A hash table from the strings of a vocabulary to numbers. It is built once and never changes.
#pragma once

#include <algorithm>
#include <vector>

#include "text.hpp"

namespace sklearn_static {

// A string as two integers: the string itself if it has at most 16 bytes, otherwise a hash of it,
// so that most lookups compare no bytes.
struct Key {
    uint64_t a, b;
    size_t size;

    static Key of(const uint8_t* p, size_t size) {
        if (size <= 16) {
            // Without a branch, as the sizes of words cannot be predicted.
            const size_t n = size < 8 ? size : 8;
            return {load8(p) & mask_of(n), load8(p + 8) & mask_of(size - n), size};
        }
        Key key{load8(p), load8(p + 8), size};
        for (size_t i = 16; i < size; i += 8) {
            key.a = (key.a ^ first_bytes(load8(p + i), size - i)) * 0x9E3779B97F4A7C15u;
            key.a ^= key.a >> 29;
            key.b = (key.b + key.a) * 0xC2B2AE3D27D4EB4Fu;
            key.b ^= key.b >> 31;
        }
        return key;
    }

    static uint64_t mask_of(size_t n_bytes) {
        static constexpr uint64_t kMasks[9] = {
            0,
            0xFF,
            0xFFFF,
            0xFFFFFF,
            0xFFFFFFFF,
            0xFFFFFFFFFF,
            0xFFFFFFFFFFFF,
            0xFFFFFFFFFFFFFF,
            0xFFFFFFFFFFFFFFFF,
        };
        return kMasks[n_bytes];
    }

    uint64_t hash() const {
        uint64_t h = a * 0x9E3779B97F4A7C15u + b * 0xC2B2AE3D27D4EB4Fu + size;
        h ^= h >> 32;
        return h * 0xD6E8FEB86659FD93u;
    }
};

// A string of more than 16 bytes has in `b` its place in the bytes of all. Size 0: free.
struct WordSlot {
    uint64_t a, b;
    uint32_t size;
    int32_t value;

    bool has(const Key& key, const uint8_t* data, const uint8_t* bytes) const {
        if (a != key.a || size != key.size) return false;
        return size <= 16 ? b == key.b : !std::memcmp(bytes + b, data, size);
    }
};

struct Words {
    View<WordSlot> slots;
    View<uint8_t> bytes;

    static size_t slot_of(uint64_t hash, size_t n_slots) {
        return static_cast<size_t>(((hash >> 32) * uint64_t(n_slots)) >> 32);
    }

    void prefetch(uint64_t hash) const {
        SKLEARN_STATIC_PREFETCH(slots.data + slot_of(hash, slots.size));
    }

    // Returns null if the vocabulary has no such string.
    const int32_t* find(const Key& key, uint64_t hash, const uint8_t* data) const {
        if (!slots.size) return nullptr;
        for (size_t i = slot_of(hash, slots.size);; i = i + 1 == slots.size ? 0 : i + 1) {
            const WordSlot& slot = slots[i];
            if (slot.has(key, data, bytes.data)) return &slot.value;
            if (!slot.size) return nullptr;
        }
    }

    const int32_t* find(Text text) const {
        const Key key = Key::of(text.data, text.size);
        return find(key, key.hash(), text.data);
    }
};

// Builds the arrays of a table. Of equal strings, the first one counts.
class WordsBuilder {
public:
    std::vector<WordSlot> slots;
    std::vector<uint8_t> bytes;

    void reserve(size_t n) { slots.assign(n ? 2 * n + 2 : 0, WordSlot{0, 0, 0, 0}); }

    // kPadding bytes must be readable after the text, which is not empty.
    void add(Text text, int32_t value) {
        const Key key = Key::of(text.data, text.size);
        size_t i = Words::slot_of(key.hash(), slots.size());
        for (; slots[i].size; i = i + 1 == slots.size() ? 0 : i + 1)
            if (slots[i].has(key, text.data, bytes.data())) return;
        const bool is_long = key.size > 16;
        slots[i] = {key.a, is_long ? bytes.size() : key.b, uint32_t(key.size), value};
        if (is_long) bytes.insert(bytes.end(), text.data, text.data + text.size);
    }
};

}  // namespace sklearn_static
