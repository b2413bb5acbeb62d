// Tokenizers of BERT and its variants: they map each character, then split each word.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "key.hpp"

namespace sklearn_static {

// The results of normalizer and pre-tokenizer for each character seen so far. A space in a result
// separates words. Written under the GIL, read without it: an entry is set once, when complete.
class Characters {
public:
    enum Kind : uint8_t { kUnknown, kMapped, kContextual };

    struct Entry {
        Kind kind;
        uint8_t size;
        const uint8_t* data;
    };

    Entry find(uint32_t character) const {
        const uint8_t* entry = nullptr;
        if (const Page* page = pages_[character >> 8].load(std::memory_order_acquire))
            entry = page->entries[character & 255].load(std::memory_order_acquire);
        if (!entry) return {kUnknown, 0, nullptr};
        return {static_cast<Kind>(entry[0]), entry[1], entry + 2};
    }

    void set(uint32_t character, Kind kind, const std::string& mapped) {
        strings_.emplace_back();
        std::string& entry = strings_.back();
        entry.push_back(static_cast<char>(kind));
        entry.push_back(static_cast<char>(mapped.size()));
        entry += mapped;
        std::atomic<Page*>& slot = pages_[character >> 8];
        if (!slot.load(std::memory_order_relaxed)) {
            owned_.emplace_back(new Page());
            slot.store(owned_.back().get(), std::memory_order_release);
        }
        slot.load(std::memory_order_relaxed)
            ->entries[character & 255]
            .store(reinterpret_cast<const uint8_t*>(entry.data()), std::memory_order_release);
    }

private:
    struct Page {
        std::array<std::atomic<const uint8_t*>, 256> entries{};
    };
    std::array<std::atomic<Page*>, 0x1100> pages_{};
    std::vector<std::unique_ptr<Page>> owned_;
    std::deque<std::string> strings_;  // a deque does not move its elements
};

// The vocabulary: maps a token, without the prefix of a continuation, to its row.
class Tokens {
public:
    void reserve(size_t n) {
        size_t n_slots = 64;
        while (n_slots < 2 * n) n_slots *= 2;
        slots_.assign(n_slots, Slot{0, 0, 0, 0, nullptr});
        tags_.assign(n_slots, 0);
        shift_ = 64;
        while (n_slots >>= 1) --shift_;
    }

    void add(const std::string& token, int32_t row) {
        strings_.push_back(token);
        const uint8_t* data = reinterpret_cast<const uint8_t*>(strings_.back().data());
        const Key key = make_key(data, token.size());
        const uint64_t hash = key.hash();
        size_t slot = hash >> shift_;
        while (tags_[slot]) slot = (slot + 1) & (slots_.size() - 1);
        tags_[slot] = tag_of(hash);
        slots_[slot] = {key.a, key.b, key.size, row, data};
        uint8_t& longest = longest_[data[0]];
        longest = std::max(longest, static_cast<uint8_t>(std::min<size_t>(token.size(), 255)));
        too_long_ |= token.size() > 255;
    }

    // The largest number of bytes of a token that begins with this byte.
    size_t longest(uint8_t first) const { return too_long_ ? SIZE_MAX : longest_[first]; }

    // Returns the row, or null if there is no such token.
    const int32_t* find(const Key& key, const uint8_t* data) const {
        const uint64_t hash = key.hash();
        const uint8_t tag = tag_of(hash);
        for (size_t slot = hash >> shift_;; slot = (slot + 1) & (slots_.size() - 1)) {
            if (!tags_[slot]) return nullptr;
            if (tags_[slot] != tag) continue;
            const Slot& found = slots_[slot];
            if (found.a == key.a && found.b == key.b && found.size == key.size &&
                (key.is_whole() || !std::memcmp(found.data, data, key.size)))
                return &found.row;
        }
    }

private:
    struct Slot {
        uint64_t a, b;
        uint32_t size;
        int32_t row;
        const uint8_t* data;
    };
    std::vector<Slot> slots_;
    std::vector<uint8_t> tags_;  // a byte of each hash, 0 if the slot is free
    int shift_ = 58;

    static uint8_t tag_of(uint64_t hash) { return static_cast<uint8_t>(hash | 1); }
    std::array<uint8_t, 256> longest_{};
    bool too_long_ = false;
    std::deque<std::string> strings_;
};

// Splits normalized words greedily into the longest tokens, left to right (Wu et al., 2016).
class WordPiece {
public:
    Characters characters;
    Tokens initial, continuing;
    int32_t unknown_row = -1;
    size_t max_characters = 100;  // of a word; a longer one is unknown

    // The original tokenizer reads documents in which one of these occurs. All strings here are as
    // `Characters` maps them, without the spaces.
    void add_added_token(const std::string& content) {
        added_.push_back(content);
        begins_added_[static_cast<uint8_t>(content[0])] = true;
    }

    // To be called when all ASCII characters are known.
    void finish() {
        bool folds = true, keeps = true;
        for (int c = 0; c < 128; ++c) {
            Characters::Entry entry = characters.find(c);
            const uint8_t* m = entry.data;
            Kind kind = Kind::kOther;
            if (entry.kind == Characters::kMapped) {
                if (entry.size == 0) kind = Kind::kDropped;
                if (entry.size == 1) kind = m[0] == ' ' ? Kind::kSpace : Kind::kWord;
                if (entry.size == 3 && m[0] == ' ' && m[1] != ' ' && m[2] == ' ') {
                    kind = Kind::kAlone;
                    const int32_t* row = initial.find(make_key(m + 1, 1), m + 1);
                    alone_rows_[c] = row ? *row : unknown_row;
                }
            }
            if (kind != Kind::kOther && kind != Kind::kDropped && entry.size &&
                begins_added_[m[entry.size / 2]])
                kind = Kind::kOther;
            kinds_[c] = kind;
            if (kind == Kind::kWord) mapped_[c] = m[0];
            bool is_upper = c >= 'A' && c <= 'Z';
            if (is_upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
                bool same = kind == Kind::kWord && m[0] == c;
                keeps = keeps && same;
                folds = folds && (is_upper ? kind == Kind::kWord && m[0] == c + 32 : same);
            }
        }
        for (int c = 128; c < 256; ++c) kinds_[c] = Kind::kOther;
        has_fast_words_ = (folds || keeps) && max_characters >= 16;
        fold_ = folds ? 0x2020202020202020u : 0;
    }

    // Adds the rows of a document's tokens to `rows`. Characters not seen before are added to
    // `unknown`, and the document must then be read again.
    Reading read(Text text, size_t max_length, std::vector<int32_t>& rows,
                 std::vector<uint32_t>& unknown) const {
        const uint8_t* p = text.data;
        const uint8_t* end = p + text.size;
        const size_t limit = max_length < SIZE_MAX - rows.size() ? rows.size() + max_length : SIZE_MAX;
        const size_t n_unknown = unknown.size();
        std::vector<uint8_t> word;
        while (p < end && rows.size() < limit) {
            uint8_t c = *p;
            switch (kinds_[c]) {
                case Kind::kSpace:
                case Kind::kDropped:
                    ++p;
                    continue;
                case Kind::kAlone:
                    rows.push_back(alone_rows_[c]);
                    ++p;
                    continue;
                case Kind::kWord:
                    if (has_fast_words_ && read_plain_word(p, end, rows)) continue;
                    break;
                case Kind::kOther:
                    break;
            }
            if (!read_word(p, end, word, rows, unknown)) return Reading::kWholeDocument;
        }
        return unknown.size() == n_unknown ? Reading::kDone : Reading::kUnresolved;
    }

private:
    static constexpr size_t kPadding = 16;
    enum class Kind : uint8_t { kOther, kWord, kSpace, kAlone, kDropped };

    std::array<Kind, 256> kinds_{};
    std::array<int32_t, 128> alone_rows_{};
    std::array<uint8_t, 128> mapped_{};
    bool has_fast_words_ = false;
    uint64_t fold_ = 0;
    std::vector<std::string> added_;
    std::array<bool, 256> begins_added_{};

    // Reads a word of at most 16 ASCII letters and digits, eight at a time; returns false if the
    // next word is not of this kind.
    bool read_plain_word(const uint8_t*& p, const uint8_t* end, std::vector<int32_t>& rows) const {
        uint64_t parts[3] = {0, 0, 0};
        size_t size = 0;
        for (int i = 0; i < 3; ++i) {
            const uint64_t x = load8(p + size, end);
            const uint64_t sevens = 0x7F7F7F7F7F7F7F7Fu, tops = 0x8080808080808080u;
            const uint64_t low = (x | 0x2020202020202020u) & sevens, plain = x & sevens;
            // The top bit of each byte says whether it is in the range.
            const uint64_t letters =
                (low + 0x1F1F1F1F1F1F1F1Fu) & ~(low + 0x0505050505050505u) & ~x & tops;
            const uint64_t digits =
                (plain + 0x5050505050505050u) & ~(plain + 0x4646464646464646u) & ~x & tops;
            const uint64_t others = ~(letters | digits) & tops;
            const size_t n = others ? count_trailing_zeros(others) / 8 : 8;
            parts[i] = first_bytes(x | ((letters >> 2) & fold_), n);
            size += n;
            if (n < 8) break;
        }
        if (size > 16) return false;
        if (p + size < end && kinds_[p[size]] != Kind::kSpace && kinds_[p[size]] != Kind::kAlone)
            return false;
        p += size;
        const Key key{parts[0], parts[1], static_cast<uint32_t>(size)};
        if (const int32_t* row = initial.find(key, nullptr)) {
            rows.push_back(*row);
        } else {
            uint8_t word[16 + kPadding] = {0};
            for (size_t i = 0; i < size; ++i) word[i] = uint8_t(parts[i / 8] >> (8 * (i % 8)));
            add_pieces(word, size, rows);
        }
        return true;
    }

    // Reads any word, character by character; returns false if the original tokenizer must read the
    // document.
    bool read_word(const uint8_t*& p, const uint8_t* end, std::vector<uint8_t>& word,
                   std::vector<int32_t>& rows, std::vector<uint32_t>& unknown) const {
        word.clear();
        while (p < end) {
            const Kind kind = kinds_[*p];
            if (kind == Kind::kSpace || kind == Kind::kAlone) break;
            if (kind == Kind::kWord) {
                word.push_back(mapped_[*p++]);
                continue;
            }
            const uint8_t* before = p;
            const uint32_t character = decode(p);
            const Characters::Entry entry = characters.find(character);
            if (entry.kind == Characters::kContextual) return false;
            if (entry.kind == Characters::kUnknown) unknown.push_back(character);
            for (size_t i = 0; i < entry.size; ++i) {
                const uint8_t byte = entry.data[i];
                if (begins_added_[byte] && is_added_token(before, end, i)) return false;
                if (byte != ' ') {
                    word.push_back(byte);
                } else if (!word.empty()) {
                    add_word(word, rows);
                    word.clear();
                }
            }
            if (word.empty()) return true;
        }
        if (!word.empty()) add_word(word, rows);
        return true;
    }

    void add_word(std::vector<uint8_t>& word, std::vector<int32_t>& rows) const {
        size_t n_characters = 0;
        for (uint8_t byte : word) n_characters += (byte & 0xC0) != 0x80;
        if (n_characters > max_characters) {
            rows.push_back(unknown_row);
        } else if (const int32_t* row =
                       initial.find(make_key(word.data(), word.size()), word.data())) {
            rows.push_back(*row);
        } else {
            word.resize(word.size() + kPadding);
            add_pieces(word.data(), word.size() - kPadding, rows);
        }
    }

    // kPadding more bytes must follow the word.
    void add_pieces(const uint8_t* word, size_t size, std::vector<int32_t>& rows) const {
        const size_t n_before = rows.size();
        size_t start = 0;
        while (start < size) {
            const Tokens& tokens = start ? continuing : initial;
            const uint8_t* rest = word + start;
            // The whole word is not a token, since callers look it up first.
            size_t n = std::min(size - start - (start == 0), tokens.longest(rest[0]));
            const int32_t* row = nullptr;
            for (; n > 0; --n) {
                if (n < size - start && (rest[n] & 0xC0) == 0x80) continue;
                const Key key = n > 16 ? make_key(rest, n) : prefix_key(rest, n);
                if ((row = tokens.find(key, rest))) break;
            }
            if (!row) {
                rows.resize(n_before);
                rows.push_back(unknown_row);
                return;
            }
            rows.push_back(*row);
            start += n;
        }
    }

    // Whether an added token begins at byte `skipped` of what the character at p is mapped to.
    bool is_added_token(const uint8_t* p, const uint8_t* end, size_t skipped) const {
        for (const std::string& content : added_) {
            size_t n_same = 0;
            size_t i = skipped;
            for (const uint8_t* q = p; q < end; i = 0) {
                const Characters::Entry entry = characters.find(decode(q));
                for (; i < entry.size && n_same < content.size(); ++i) {
                    if (entry.data[i] == ' ') continue;
                    if (entry.data[i] != static_cast<uint8_t>(content[n_same])) break;
                    ++n_same;
                }
                if (n_same == content.size()) return true;
                if (i < entry.size) break;
            }
        }
        return false;
    }

    // Decodes the character at p, which is valid UTF-8, and advances p past it.
    static uint32_t decode(const uint8_t*& p) {
        const uint32_t c = *p++;
        if (c < 0x80) return c;
        if (c < 0xE0) {
            const uint32_t second = *p++ & 0x3F;
            return (c & 0x1F) << 6 | second;
        }
        const uint32_t second = *p++ & 0x3F, third = *p++ & 0x3F;
        if (c < 0xF0) return (c & 0x0F) << 12 | second << 6 | third;
        const uint32_t fourth = *p++ & 0x3F;
        return (c & 0x07) << 18 | second << 12 | third << 6 | fourth;
    }
};

}  // namespace sklearn_static
