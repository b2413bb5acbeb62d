// Regular expressions as tables: a deterministic automaton over classes of characters.
//
// A state is a list of alternatives in their order of preference, so that the match is the one that
// backtracking finds (leftmost, then the first alternative). Whether a match ends at a place, and
// whether a look-ahead holds there, is decided by the next character, or by the end of the text.
#pragma once

#include "text.hpp"

namespace sklearn_static {

struct Pattern {
    static constexpr uint16_t kEndsBefore = 0x8000, kDead = 0, kStart = 1;
    static constexpr uint8_t kLowercase = 1, kLetters = 2;

    CharacterTable<uint8_t> classes;
    // For each state and each class the next state; kEndsBefore if a match ends before this
    // character. The last class is the end of the text.
    View<uint16_t> next;
    View<uint8_t> can_begin;  // for each byte, whether a match can begin with it
    // For each state, the ASCII letters that leave it as it is, if what comes next tells anyway
    // whether a match ends there.
    View<uint8_t> skips;
    size_t n_classes = 0;  // including the end of the text

    // Returns the end of the match that begins at p, or null.
    const uint8_t* match(const uint8_t* p, const uint8_t* end) const {
        const uint8_t* ended = nullptr;
        const uint8_t* ascii_classes = classes.pages.data;
        size_t state = kStart;
        for (;;) {
            if (skips[state]) {
                size_t n;
                do {
                    n = n_letters(load8(p), skips[state] == kLowercase);
                    p += n;
                } while (n == 8 && p < end);
                if (p > end) p = end;
            }
            const uint8_t* q = p;
            size_t character_class = n_classes - 1;
            if (p < end) {
                if (*p < 0x80) {
                    character_class = ascii_classes[*p];
                    q = p + 1;
                } else {
                    character_class = classes[decode(q)];
                }
            }
            const uint16_t step = next[state * n_classes + character_class];
            if (step & kEndsBefore) ended = p;
            state = step & ~kEndsBefore;
            if (state == kDead || p == end) return ended;
            p = q;
        }
    }

    // Finds the first match at or after p; returns whether there is one.
    bool find(const uint8_t* p, const uint8_t* end, const uint8_t*& begin,
              const uint8_t*& stop) const {
        for (; p < end; ++p) {
            if (can_begin[*p] && (stop = match(p, end))) {
                begin = p;
                return true;
            }
        }
        return false;
    }
};

}  // namespace sklearn_static
