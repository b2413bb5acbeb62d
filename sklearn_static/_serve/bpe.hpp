// Byte-pair encoding (Sennrich et al., 2016): the pair of adjacent symbols with the lowest rank is
// merged, the leftmost if there are several, until no pair has a rank.
#pragma once

#include <algorithm>
#include <queue>

#include "models.hpp"

namespace sklearn_static {

// Pairs of symbols in a hash table that is built once: a slot has the two symbols and their rank.
struct Merges {
    static constexpr uint64_t kFree = ~uint64_t(0);
    static constexpr int32_t kNoRank = INT32_MAX;
    static constexpr int kRankBits = 20, kSymbolBits = 22;

    View<uint64_t> slots;
    View<int32_t> merged;  // the symbol that results, by rank
    // The ranks for two symbols below 256, which are bytes in most vocabularies: a table that stays
    // in the processor's cache, for the first look at each pair.
    View<int32_t> small;
    // A bit for the hash of each pair: most pairs have no rank, and this is a tenth of the slots.
    View<uint64_t> filter;

    static uint64_t key_of(int32_t first, int32_t second) {
        return uint64_t(uint32_t(first)) << kSymbolBits | uint32_t(second);
    }

    static uint64_t hash_of(uint64_t key) {
        uint64_t h = key * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
        return h * 0xD6E8FEB86659FD93u;
    }

    static size_t slot_of(uint64_t hash, size_t n_slots) {
        return static_cast<size_t>(((hash >> 32) * uint64_t(n_slots)) >> 32);
    }

    // Of a filter of n words, which is a power of two.
    static size_t bit_of(uint64_t hash, size_t n) { return (hash >> 7) & (64 * n - 1); }

    int32_t rank(int32_t first, int32_t second) const {
        if ((uint32_t(first) | uint32_t(second)) < 256) return small[size_t(first) << 8 | second];
        const uint64_t key = key_of(first, second), hash = hash_of(key);
        const size_t bit = bit_of(hash, filter.size);
        if (!(filter[bit >> 6] >> (bit & 63) & 1)) return kNoRank;
        for (size_t i = slot_of(hash, slots.size);; i = i + 1 == slots.size ? 0 : i + 1) {
            if (slots[i] >> kRankBits == key)
                return static_cast<int32_t>(slots[i] & ((1 << kRankBits) - 1));
            if (slots[i] == kFree) return kNoRank;
        }
    }
};

class Bpe : public Model {
public:
    Merges merges;
    // The symbols of characters: an id, kBytes for the symbols of its bytes, or kUnknown. Symbols may
    // depend on the place in a piece: the first one or a later one, plus 2 for the last one.
    static constexpr int32_t kBytes = -1, kUnknown = -2;
    CharacterTable<int32_t> symbols[4];
    View<int32_t> id_of_byte[4];  // -1 if there is none
    bool has_places = false;      // whether symbols depend on the place
    bool is_byte_level = false;   // whether an unknown byte, not its character, is unknown
    int32_t unknown_id = -1;      // -1: unknown characters are dropped
    bool fuses_unknown = false;

    // Bytes are merged into characters before anything else happens to them, where that is certain:
    // the rank of a character is that of the last merge of its own bytes (-1 if there is none), and
    // a merge across the boundary of two characters, with a part of either, has at least the rank
    // that is given for the last byte before and the first byte after the boundary. If this is
    // higher on both sides, no such merge can come first; merges with the whole character are later
    // ones anyway. Empty unless symbols are bytes.
    CharacterTable<int32_t> ranks;
    View<int32_t> boundary_ranks;

    // A bit for (a hash of) each two characters that a merge may join. A piece may be cut between
    // two characters without such a bit; none if pieces are not cut.
    View<uint64_t> joined;
    bool cuts = false;
    bool cuts_at_unknown = false;    // whether every character has symbols of its own
    bool has_words_in_parts = true;  // whether `words` holds for a part of a piece, too

    void split(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const override {
        if (!cuts) return merge(piece, scratch, ids);
        const uint8_t* const end = piece.data + piece.size;
        const uint8_t* start = piece.data;
        const uint8_t* p = start;
        uint32_t previous = decode(p);
        bool previous_is_unit = is_unit(previous, start, p, piece);
        while (p < end) {
            const uint8_t* q = p;
            const uint32_t c = decode(q);
            const bool is_now_unit = is_unit(c, p, q, piece);
            if (is_now_unit && previous_is_unit && !may_join(previous, c)) {
                read_part({start, size_t(p - start)}, piece, scratch, ids);
                start = p;
            }
            previous = c;
            previous_is_unit = is_now_unit;
            p = q;
        }
        read_part({start, size_t(end - start)}, piece, scratch, ids);
    }

private:
    static constexpr size_t kFew = 96;  // symbols of which the best pair is searched for each time

    bool may_join(uint32_t x, uint32_t y) const {
        const uint64_t hash = (uint64_t(x) * 0x9E3779B1u ^ uint64_t(y) * 0x85EBCA6Bu) >> 3;
        const uint64_t bit = hash & (64 * joined.size - 1);
        return joined[bit >> 6] >> (bit & 63) & 1;
    }

    // Whether a character is a symbol before it is merged with anything else.
    bool is_unit(uint32_t c, const uint8_t* p, const uint8_t* q, Text piece) const {
        if (!is_byte_level) return cuts_at_unknown || symbols[0][c] >= 0;
        return symbols[0][c] >= 0 && is_certain(c, p, q, piece);
    }

    // For a character from p to q of several bytes that are merged into it if it is alone.
    bool is_certain(uint32_t c, const uint8_t* p, const uint8_t* q, Text piece) const {
        if (c < 0x80) return true;
        const int32_t rank = ranks[c];
        return (p == piece.data || boundary_ranks[size_t(p[-1]) << 8 | p[0]] > rank) &&
               (q == piece.data + piece.size || boundary_ranks[size_t(q[-1]) << 8 | q[0]] > rank);
    }

    void read_part(Text part, Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        if (part.size == piece.size) return merge(part, scratch, ids);
        const Key key = Key::of(part.data, part.size);
        const Pending pending{part.data, key, key.hash()};
        if (has_words_in_parts) {
            if (const int32_t* id = words.find(key, pending.hash, part.data)) {
                ids.push_back(*id);
                return;
            }
        }
        add_cached(pending, scratch, ids, [&](Text text) { merge(text, scratch, ids); });
    }

    void merge(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        std::vector<int32_t>& word = scratch.symbols;
        word.clear();
        add_symbols(piece, word);
        const size_t n = word.size() <= kFew ? merge_few(word.data(), word.size())
                                             : merge_many(word.data(), word.size());
        ids.insert(ids.end(), word.begin(), word.begin() + n);
    }

    void add_symbols(Text piece, std::vector<int32_t>& word) const {
        const uint8_t* p = piece.data;
        const uint8_t* const end = p + piece.size;
        bool has_unknown = false;
        const auto add_known = [&](int32_t id) {
            if (has_unknown) word.push_back(unknown_id);
            has_unknown = false;
            word.push_back(id);
        };
        const auto add_unknown = [&] {
            if (has_unknown && !fuses_unknown) word.push_back(unknown_id);
            has_unknown = unknown_id >= 0;
        };
        const auto place_of = [&](const uint8_t* from, const uint8_t* to) {
            return has_places ? size_t(from > piece.data) + 2 * size_t(to == end) : 0;
        };
        while (p < end) {
            const uint8_t* q = p;
            const uint32_t c = decode(q);
            const int32_t id = symbols[place_of(p, q)][c];
            if (id >= 0 && (!is_byte_level || is_certain(c, p, q, piece))) {
                add_known(id);
            } else if (id == kUnknown) {
                add_unknown();
            } else if (is_byte_level) {
                for (const uint8_t* r = p; r < q; ++r) {
                    const int32_t its_id = id_of_byte[place_of(r, r + 1)][*r];
                    its_id >= 0 ? add_known(its_id) : add_unknown();
                }
            } else {
                const size_t n_before = word.size();
                const uint8_t* r = p;
                while (r < q && id_of_byte[0][*r] >= 0) word.push_back(id_of_byte[0][*r++]);
                // As in the original, an unknown token that waits to be fused comes after bytes.
                if (r < q) {
                    word.resize(n_before);
                    add_unknown();
                }
            }
            p = q;
        }
        if (has_unknown) word.push_back(unknown_id);
    }

    size_t merge_few(int32_t* symbols, size_t n) const {
        // Padded, since symbols are moved four at a time.
        int32_t word[kFew + 4], ranks[kFew + 4];
        if (n) std::memcpy(word, symbols, n * sizeof(*word));
        const auto remove = [&](int32_t* values, size_t place) {
            for (size_t i = place; i + 1 < n; i += 4) std::memmove(values + i, values + i + 1, 16);
        };
        for (size_t i = 0; i + 1 < n; ++i) ranks[i] = merges.rank(word[i], word[i + 1]);
        while (n > 1) {
            int32_t best_rank = ranks[0];
            size_t best = 0;
            for (size_t i = 1; i + 1 < n; ++i) {
                best = ranks[i] < best_rank ? i : best;
                best_rank = std::min(best_rank, ranks[i]);
            }
            if (best_rank == Merges::kNoRank) break;
            word[best] = merges.merged[size_t(best_rank)];
            remove(word, best + 1);
            remove(ranks, best);
            --n;
            if (best + 1 < n) ranks[best] = merges.rank(word[best], word[best + 1]);
            if (best > 0) ranks[best - 1] = merges.rank(word[best - 1], word[best]);
        }
        if (n) std::memcpy(symbols, word, n * sizeof(*word));
        return n;
    }

    // Likewise, in time n log n: a linked list of symbols, and a queue of their pairs.
    size_t merge_many(int32_t* word, size_t n) const {
        struct Symbol {
            int32_t id;
            uint32_t previous, next;
        };
        struct Candidate {
            int32_t rank;
            uint32_t place;
            int32_t first, second;
            bool operator<(const Candidate& other) const {
                return rank != other.rank ? rank > other.rank : place > other.place;
            }
        };
        static constexpr uint32_t kEnd = UINT32_MAX;
        std::vector<Symbol> list(n);
        for (size_t i = 0; i < n; ++i)
            list[i] = {word[i], i ? uint32_t(i - 1) : kEnd, i + 1 < n ? uint32_t(i + 1) : kEnd};
        std::vector<Candidate> candidates;
        const auto candidate = [&](uint32_t i, Candidate& c) {
            const int32_t first = list[i].id, second = list[list[i].next].id;
            c = {merges.rank(first, second), i, first, second};
            return c.rank != Merges::kNoRank;
        };
        Candidate c;
        for (uint32_t i = 0; i + 1 < n; ++i)
            if (candidate(i, c)) candidates.push_back(c);
        std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(candidates));
        while (!queue.empty()) {
            const Candidate best = queue.top();
            queue.pop();
            Symbol& left = list[best.place];
            if (left.id != best.first || left.next == kEnd || list[left.next].id != best.second)
                continue;  // one of them was merged in the meantime
            Symbol& right = list[left.next];
            left.id = merges.merged[size_t(best.rank)];
            right.id = -1;
            left.next = right.next;
            if (left.next != kEnd) {
                list[left.next].previous = best.place;
                if (candidate(best.place, c)) queue.push(c);
            }
            if (left.previous != kEnd && candidate(left.previous, c)) queue.push(c);
        }
        size_t n_left = 0;
        for (uint32_t i = 0; i != kEnd; i = list[i].next) word[n_left++] = list[i].id;
        return n_left;
    }
};

}  // namespace sklearn_static
