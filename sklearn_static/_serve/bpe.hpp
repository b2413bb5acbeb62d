// Byte-pair encoding (Sennrich et al., 2016): the pair of adjacent symbols with the lowest rank is
// merged, the leftmost if there are several, until no pair has a rank.
#pragma once

#include <algorithm>
#include <queue>

#include "models.hpp"

namespace sklearn_static {

struct MergeSlot {
    int32_t first, second;  // -1: free
    int32_t rank;
    int32_t merged;
};

inline size_t slot_of_pair(int32_t first, int32_t second, size_t n_slots) {
    uint64_t h = (uint64_t(uint32_t(first)) << 32 | uint32_t(second)) * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return static_cast<size_t>(((h >> 32) * uint64_t(n_slots)) >> 32);
}

// Pairs of symbols, in a hash table that is built once.
struct Merges {
    View<MergeSlot> slots;

    const MergeSlot* find(int32_t first, int32_t second) const {
        size_t i = slot_of_pair(first, second, slots.size);
        for (;; i = i + 1 == slots.size ? 0 : i + 1) {
            const MergeSlot& slot = slots[i];
            if (slot.first == first && slot.second == second) return &slot;
            if (slot.first < 0) return nullptr;
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
    // A bit for (a hash of) each two characters that a merge may join. A piece may be cut between
    // two characters without such a bit; none if pieces are not cut.
    View<uint64_t> joined;
    bool cuts = false;
    bool cuts_at_unknown = false;  // whether every character has symbols of its own

    static uint64_t pair_of_characters(uint32_t x, uint32_t y) {
        return (uint64_t(x) * 0x9E3779B1u ^ uint64_t(y) * 0x85EBCA6Bu) >> 3;
    }

    bool may_join(uint32_t x, uint32_t y) const {
        const uint64_t bit = pair_of_characters(x, y) & (64 * joined.size - 1);
        return joined[bit >> 6] >> (bit & 63) & 1;
    }

    void split(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const override {
        if (!cuts) return merge(piece, scratch, ids);
        const uint8_t* p = piece.data;
        const uint8_t* const end = p + piece.size;
        const uint8_t* start = p;
        uint32_t previous = decode(p);
        while (p < end) {
            const uint8_t* q = p;
            const uint32_t c = decode(q);
            if (!may_join(previous, c) &&
                (cuts_at_unknown || (symbols[0][previous] >= 0 && symbols[0][c] >= 0))) {
                read_part({start, size_t(p - start)}, piece, scratch, ids);
                start = p;
            }
            previous = c;
            p = q;
        }
        read_part({start, size_t(end - start)}, piece, scratch, ids);
    }

private:
    static constexpr size_t kFew = 96;  // symbols of which the best pair is searched for each time

    void read_part(Text part, Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        if (part.size == piece.size) return merge(part, scratch, ids);
        if (const int32_t* id = words.find(part)) {
            ids.push_back(*id);
            return;
        }
        if (part.size > Pieces::kMaxBytes) return merge(part, scratch, ids);
        const Pieces::Probe probe = scratch.pieces.probe(part.data, part.size);
        size_t n_ids;
        if (const int32_t* found = scratch.pieces.find(probe, n_ids)) {
            ids.insert(ids.end(), found, found + n_ids);
            return;
        }
        const size_t n_before = ids.size();
        merge(part, scratch, ids);
        scratch.pieces.put(probe, ids.data() + n_before, ids.size() - n_before);
    }

    void merge(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        std::vector<int32_t>& word = scratch.symbols;
        word.clear();
        add_symbols(piece, word);
        const size_t n = word.size() <= kFew ? merge_few(word.data(), word.size())
                                            : merge_many(word.data(), word.size());
        for (size_t i = 0; i < n; ++i) ids.push_back(word[i]);
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
            if (id >= 0) {
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

    size_t merge_few(int32_t* word, size_t n) const {
        static constexpr int32_t kNone = INT32_MAX;
        int32_t ranks[kFew], merged[kFew];
        const auto look_up = [&](size_t i) {
            const MergeSlot* found = merges.find(word[i], word[i + 1]);
            ranks[i] = found ? found->rank : kNone;
            merged[i] = found ? found->merged : 0;
        };
        for (size_t i = 0; i + 1 < n; ++i) look_up(i);
        while (n > 1) {
            int32_t best_rank = kNone;
            for (size_t i = 0; i + 1 < n; ++i) best_rank = std::min(best_rank, ranks[i]);
            if (best_rank == kNone) break;
            size_t best = 0;
            while (ranks[best] != best_rank) ++best;
            word[best] = merged[best];
            --n;
            const size_t n_after = n - best - 1;
            std::memmove(word + best + 1, word + best + 2, n_after * sizeof(*word));
            if (n_after) {
                std::memmove(ranks + best, ranks + best + 1, n_after * sizeof(*ranks));
                std::memmove(merged + best, merged + best + 1, n_after * sizeof(*merged));
                look_up(best);
            }
            if (best > 0) look_up(best - 1);
        }
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
            int32_t first, second, merged;
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
            const MergeSlot* found = merges.find(first, second);
            if (found) c = {found->rank, i, first, second, found->merged};
            return found != nullptr;
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
            left.id = best.merged;
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
