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
        if (size <= 8) return {first_bytes(load8(p), size), 0, size};
        if (size <= 16) return {load8(p), first_bytes(load8(p + 8), size - 8), size};
        Key key{load8(p), load8(p + 8), size};
        for (size_t i = 16; i < size; i += 8) {
            key.a = (key.a ^ first_bytes(load8(p + i), size - i)) * 0x9E3779B97F4A7C15u;
            key.a ^= key.a >> 29;
            key.b = (key.b + key.a) * 0xC2B2AE3D27D4EB4Fu;
            key.b ^= key.b >> 31;
        }
        return key;
    }

    uint64_t hash() const {
        uint64_t h = a * 0x9E3779B97F4A7C15u + b * 0xC2B2AE3D27D4EB4Fu + size;
        h ^= h >> 32;
        return h * 0xD6E8FEB86659FD93u;
    }
};

// A string of more than 16 bytes has in `b` its place in the bytes of all.
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
    View<uint8_t> tags;  // of each slot: a byte of the hash, 0 if it is free
    View<WordSlot> slots;
    View<uint8_t> bytes;

    static uint8_t tag_of(uint64_t hash) { return static_cast<uint8_t>(hash | 1); }
    static size_t slot_of(uint64_t hash, size_t n_slots) {
        return static_cast<size_t>(((hash >> 32) * uint64_t(n_slots)) >> 32);
    }

    // Returns null if the vocabulary has no such string.
    const int32_t* find(const Key& key, const uint8_t* data) const {
        if (!slots.size) return nullptr;
        const uint64_t hash = key.hash();
        const uint8_t tag = tag_of(hash);
        for (size_t i = slot_of(hash, slots.size);; i = i + 1 == slots.size ? 0 : i + 1) {
            if (!tags[i]) return nullptr;
            if (tags[i] != tag) continue;
            if (slots[i].has(key, data, bytes.data)) return &slots[i].value;
        }
    }

    const int32_t* find(Text text) const { return find(Key::of(text.data, text.size), text.data); }
};

// Builds the arrays of a table. Of equal strings, the first one counts.
class WordsBuilder {
public:
    std::vector<uint8_t> tags;
    std::vector<WordSlot> slots;
    std::vector<uint8_t> bytes;

    void reserve(size_t n) {
        const size_t n_slots = n ? n + n / 2 + 2 : 0;
        tags.assign(n_slots, 0);
        slots.assign(n_slots, WordSlot{0, 0, 0, 0});
    }

    // kPadding bytes must be readable after the text.
    void add(Text text, int32_t value) {
        const Key key = Key::of(text.data, text.size);
        const uint64_t hash = key.hash();
        size_t i = Words::slot_of(hash, slots.size());
        for (; tags[i]; i = i + 1 == slots.size() ? 0 : i + 1)
            if (slots[i].has(key, text.data, bytes.data())) return;
        tags[i] = Words::tag_of(hash);
        const bool is_long = key.size > 16;
        slots[i] = {key.a, is_long ? bytes.size() : key.b, uint32_t(key.size), value};
        if (is_long) bytes.insert(bytes.end(), text.data, text.data + text.size);
    }
};

}  // namespace sklearn_static
