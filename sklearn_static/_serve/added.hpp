// Added tokens, which are found in a text before everything else.
#pragma once

#include <vector>

#include "trie.hpp"

namespace sklearn_static {

class AddedTokens {
public:
    static constexpr int32_t kSingleWord = 1, kStripLeft = 2, kStripRight = 4;

    Trie trie;           // values: indices of tokens
    View<int32_t> ids;  // of each token
    View<int32_t> flags;
    // Whether a token may begin with these two bytes: first byte << 8 | second byte, in bits.
    View<uint64_t> begins;
    CharacterTable<uint8_t> classes;  // bit 0: white space, bit 1: part of a word
    bool is_single = false;           // whether all tokens begin with the byte `first`
    uint8_t first = 0;

    bool is_empty() const { return ids.size == 0; }

    // Calls `between(begin, end)` and `token(id)` for the parts of a text in their order; both
    // return whether to go on. kPadding bytes must be readable after the text.
    template <class Between, class Token>
    bool split(Text text, Between between, Token token) const {
        const uint8_t* p = text.data;
        const uint8_t* const end = p + text.size;
        const uint8_t* done = p;
        while ((p = next(p, end)) < end) {
            const uint8_t* stop = nullptr;
            const int32_t found = longest(p, end, stop);
            if (found < 0) {
                ++p;
                continue;
            }
            const uint8_t* start = p;
            p = stop;
            const int32_t its_flags = flags[size_t(found)];
            if (its_flags & kSingleWord) {
                if (start > text.data && (class_at(before(start)) & 2)) continue;
                if (stop < end && (class_at(stop) & 2)) continue;
            }
            if (its_flags & kStripLeft) {
                if (start < done) start = done;
                while (start > done && (class_at(before(start)) & 1)) start = before(start);
            }
            if (its_flags & kStripRight)
                while (stop < end && (class_at(stop) & 1)) stop += size_of_character(*stop);
            // The search goes on after the token itself, even if that was in stripped space: the
            // next token may be without text of its own, and then it is dropped.
            if (done < start && !between(done, start)) return false;
            if (start < stop && !token(ids[size_t(found)])) return false;
            done = stop;
        }
        return done >= end || between(done, end);
    }

private:
    // The next place where a token may begin.
    const uint8_t* next(const uint8_t* p, const uint8_t* end) const {
        if (is_single && p < end) {
            const void* found = std::memchr(p, first, size_t(end - p));
            return found ? static_cast<const uint8_t*>(found) : end;
        }
        for (; p < end; ++p) {
            const size_t bit = size_t(p[0]) << 8 | p[1];
            if (begins[bit >> 6] >> (bit & 63) & 1) break;
        }
        return p;
    }

    int32_t longest(const uint8_t* p, const uint8_t* end, const uint8_t*& stop) const {
        int32_t found = -1;
        uint32_t node = Trie::kRoot;
        while (p < end) {
            node = trie.child(node, *p++);
            if (!node) break;
            if (trie.nodes[node].is_end()) {
                found = trie.values[node];
                stop = p;
            }
        }
        return found;
    }

    uint8_t class_at(const uint8_t* p) const { return classes[decode(p)]; }
};

}  // namespace sklearn_static
