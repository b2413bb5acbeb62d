// Byte-level BPE and Unigram for plain pieces: an optional space, then printable ASCII. The
// original tokenizer reads all other pieces.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "key.hpp"
#include "pairs.hpp"
#include "wordpiece.hpp"

namespace sklearn_static {

// A model that splits a piece into tokens.
class Subwords {
public:
    virtual ~Subwords() {}
    // Adds the rows of a piece's tokens; returns false and adds nothing if it cannot split it.
    virtual bool read(Text piece, std::vector<int32_t>& rows) const = 0;
};

// Byte-pair encoding (Sennrich et al., 2016): merges the pair of the lowest rank, the leftmost if
// there are several, until no pair is left.
class Bpe : public Subwords {
public:
    bool has_digits = false;      // whether a run of digits is one piece for the tokenizer
    bool ignores_merges = false;  // whether a piece that is itself a token is never split
    Tokens whole;                 // such pieces and their rows

    Bpe() { std::fill(ids_, ids_ + 256, -1); }

    void set_byte(uint8_t byte, int32_t id) { ids_[byte] = id; }

    void reserve(size_t n_merges) { ranks_.reserve(n_merges); }

    // To be called by descending priority.
    void add_merge(int32_t first, int32_t second, int32_t id) {
        ranks_.add(first, second, static_cast<int32_t>(merged_.size()));
        merged_.push_back(id);
    }

    void set_rows(const std::vector<int32_t>& row_of_id) { row_of_id_ = row_of_id; }

    bool read(Text piece, std::vector<int32_t>& rows) const override {
        int32_t ids[kLongest];
        size_t size = piece.size;
        if (size > kLongest || !is_plain(piece)) return false;
        if (ignores_merges) {
            if (const int32_t* row = whole.find(make_key(piece.data, size), piece.data)) {
                rows.push_back(*row);
                return true;
            }
        }
        for (size_t i = 0; i < size; ++i)
            if ((ids[i] = ids_[piece.data[i]]) < 0) return false;
        int32_t ranks[kLongest];
        for (size_t i = 0; i + 1 < size; ++i) ranks[i] = ranks_.find(ids[i], ids[i + 1]);
        while (size > 1) {
            size_t best = size;
            for (size_t i = 0; i + 1 < size; ++i)
                if (ranks[i] >= 0 && (best == size || ranks[i] < ranks[best])) best = i;
            if (best == size) break;
            ids[best] = merged_[ranks[best]];
            --size;
            std::memmove(ids + best + 1, ids + best + 2, (size - best - 1) * sizeof(*ids));
            if (best + 1 < size) {
                std::memmove(ranks + best, ranks + best + 1, (size - best - 1) * sizeof(*ranks));
                ranks[best] = ranks_.find(ids[best], ids[best + 1]);
            }
            if (best > 0) ranks[best - 1] = ranks_.find(ids[best - 1], ids[best]);
        }
        for (size_t i = 0; i < size; ++i) rows.push_back(row_of_id_[ids[i]]);
        return true;
    }

private:
    static constexpr size_t kLongest = 64;
    int32_t ids_[256];
    PairTable ranks_;
    std::vector<int32_t> merged_;  // the id that each merge results in, by rank
    std::vector<int32_t> row_of_id_;

    // Whether a piece is an optional space, then characters of one kind.
    bool is_plain(Text piece) const {
        size_t i = piece.size && piece.data[0] == ' ';
        if (i == piece.size) return false;
        const int kind = kind_of(piece.data[i]);
        if (kind == 0 || (kind == 2 && !has_digits)) return false;
        for (; i < piece.size; ++i)
            if (kind_of(piece.data[i]) != kind) return false;
        return true;
    }

    static int kind_of(uint8_t c) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return 1;
        if (c >= '0' && c <= '9') return 2;
        return c > ' ' && c < 0x7F ? 3 : 0;
    }
};

// Unigram language model (Kudo, 2018): finds the split with the largest sum of token scores.
class Unigram : public Subwords {
public:
    Tokens tokens;  // and their indices in scores and rows
    bool is_excluded[256] = {false};

    void add(const std::string& token, double score, int32_t row) {
        tokens.add(token, static_cast<int32_t>(rows_.size()));
        scores_.push_back(score);
        rows_.push_back(row);
    }

    bool read(Text piece, std::vector<int32_t>& rows) const override {
        // The mark of a word's beginning replaces the space, and also precedes the first word.
        uint8_t text[kLongest + 16] = {0xE2, 0x96, 0x81};
        const size_t skipped = piece.size && piece.data[0] == ' ';
        const size_t size = piece.size - skipped + 3;
        if (size > kLongest || size == 3) return false;
        for (size_t i = skipped; i < piece.size; ++i) {
            const uint8_t c = piece.data[i];
            if (c <= ' ' || c >= 0x7F || is_excluded[c]) return false;
            text[i - skipped + 3] = c;
        }
        struct Node {
            double score;
            int32_t token;  // -1: not reached
            uint32_t start;
        } nodes[kLongest + 1];
        for (size_t i = 0; i <= size; ++i) nodes[i] = {0, -1, 0};
        for (size_t start = 0; start < size; start += start ? 1 : 3) {
            const size_t character = start ? 1 : 3;
            const size_t longest = std::min(size - start, tokens.longest(text[start]));
            bool has_character = false;
            for (size_t n = character; n <= longest; ++n) {
                const uint8_t* rest = text + start;
                const Key key = n > 16 ? make_key(rest, n) : prefix_key(rest, n);
                const int32_t* token = tokens.find(key, rest);
                if (!token) continue;
                has_character |= n == character;
                const double score = scores_[*token] + nodes[start].score;
                Node& node = nodes[start + n];
                if (node.token < 0 || score > node.score)
                    node = {score, *token, static_cast<uint32_t>(start)};
            }
            if (!has_character) return false;  // an unknown token may be needed
        }
        const size_t n_before = rows.size();
        for (size_t end = size; end > 0; end = nodes[end].start)
            rows.push_back(rows_[nodes[end].token]);
        std::reverse(rows.begin() + n_before, rows.end());
        return true;
    }

private:
    static constexpr size_t kLongest = 96;
    std::vector<double> scores_;
    std::vector<int32_t> rows_;
};

}  // namespace sklearn_static
