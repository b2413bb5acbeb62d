// Normalization: a sequence of passes over the text between two added tokens.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "buffer.hpp"
#include "pattern.hpp"

namespace sklearn_static {

// One pass. `first` is the number of bytes that stem from the first character of the original text,
// which matters to Metaspace with the scheme "first"; a pass updates it.
class Pass {
public:
    virtual ~Pass() {}
    // Whether the pass certainly leaves a text as it is.
    virtual bool keeps(Text) const { return false; }
    // Appends the normalized text; returns false if only the original tokenizer can do it.
    virtual bool run(Text text, Buffer& out, size_t& first) const = 0;
};

// Replaces each character by a string of its own.
class MapPass : public Pass {
public:
    static constexpr uint32_t kKeep = 0, kContextual = 0xFFFFFFFF, kSpaced = 0xFFFFFF00;

    // For each character kKeep, kContextual, kSpaced (between spaces, as BERT does with ideographs),
    // or where its string begins << 8, and 1 + its size.
    CharacterTable<uint32_t> entries;
    View<uint8_t> bytes;

    // To be called when the tables are set.
    void finish() {
        bool keeps = true, folds = true;
        for (int c = 0; c < 128; ++c) {
            const uint32_t entry = entries[c];
            bytes_of_ascii_[c] = uint8_t(c);
            if (entry != kKeep)
                bytes_of_ascii_[c] = entry < kSpaced && (entry & 0xFF) == 2 ? bytes[entry >> 8] : 0;
            if (c < 0x20 || c == 0x7F) continue;
            const bool is_upper = c >= 'A' && c <= 'Z';
            keeps = keeps && bytes_of_ascii_[c] == c;
            folds = folds && bytes_of_ascii_[c] == (is_upper ? c | 0x20 : c);
        }
        has_plain_ = keeps || folds;
        fold_ = folds ? 0x2020202020202020u : 0;
    }

    bool run(Text text, Buffer& out, size_t& first) const override {
        const uint8_t* middle = text.data + std::min(first, text.size);
        const size_t before = out.size();
        if (!map(text.data, middle, out)) return false;
        first = out.size() - before;
        return map(middle, text.data + text.size, out);
    }

private:
    std::array<uint8_t, 128> bytes_of_ascii_{};  // 0 if it is not replaced by one byte
    bool has_plain_ = false;
    uint64_t fold_ = 0;

    bool map(const uint8_t* p, const uint8_t* end, Buffer& out) const {
        uint8_t* o = out.reserve(size_t(end - p) + 8);
        while (p < end) {
            if (has_plain_ && end - p >= 8) {
                // Eight bytes of printable ASCII: the top bit of each byte says whether it is in a
                // range.
                const uint64_t x = load8(p), tops = 0x8080808080808080u;
                const uint64_t is_printable =
                    ((x | tops) - 0x2020202020202020u) & ~((x & ~tops) + 0x0101010101010101u) & ~x;
                if ((is_printable & tops) == tops) {
                    const uint64_t is_upper =
                        ((x + 0x3F3F3F3F3F3F3F3Fu) & ~(x + 0x2525252525252525u)) & tops;
                    store8(x | ((is_upper >> 2) & fold_), o);
                    o += 8;
                    p += 8;
                    continue;
                }
            }
            if (*p < 0x80 && bytes_of_ascii_[*p]) {
                *o++ = bytes_of_ascii_[*p++];
                continue;
            }
            const uint8_t* q = p;
            const uint32_t entry = entries[decode(q)];
            if (entry == kKeep) {
                while (p < q) *o++ = *p++;
            } else if (entry == kContextual) {
                return false;
            } else if (entry == kSpaced) {
                out.end_at(o);
                o = out.reserve(2 + size_t(end - p) + 8);
                *o++ = ' ';
                while (p < q) *o++ = *p++;
                *o++ = ' ';
            } else {
                const size_t size = (entry & 0xFF) - 1;
                if (size > size_t(q - p)) {
                    out.end_at(o);
                    o = out.reserve(size + size_t(end - q) + 8);
                }
                std::memcpy(o, bytes.data + (entry >> 8), size);
                o += size;
                p = q;
            }
        }
        out.end_at(o);
        return true;
    }
};

// Passes of which only the first one is needed, but for texts with characters whose replacement
// depends on others.
class FusedPass : public Pass {
public:
    std::unique_ptr<MapPass> fast;
    std::vector<std::unique_ptr<Pass>> slow;

    bool run(Text text, Buffer& out, size_t& first) const override {
        const size_t first_before = first, size_before = out.size();
        if (fast->run(text, out, first)) return true;
        first = first_before;
        out.resize(size_before);
        Buffer from, to;
        from.append(text);
        for (const auto& pass : slow) {
            from.finish();
            to.reset(from.size());
            if (!pass->run(from.text(), to, first)) return false;
            from.swap(to);
        }
        out.append(from.text());
        return true;
    }
};

// The Unicode normalization forms (UAX #15).
class CanonicalPass : public Pass {
public:
    // Of each character: where its decomposition begins << 8, its size << 2, and these flags.
    static constexpr uint32_t kChanges = 1;   // without it, the character is inert
    static constexpr uint32_t kBoundary = 2;  // it never combines with what is before it
    static constexpr uint32_t kHangul = 0xFC;  // decomposed by formula
    CharacterTable<uint32_t> entries;
    CharacterTable<uint8_t> combining_classes;
    View<uint32_t> decompositions;  // the number of code points in bits 2 to 7 of the entry
    View<uint64_t> pairs;           // sorted: two code points that are composed
    View<uint32_t> composed;
    bool composes = false;

    bool keeps(Text text) const override { return is_ascii(text); }

    bool run(Text text, Buffer& out, size_t& first) const override {
        const uint8_t* p = text.data;
        const uint8_t* const end = p + text.size;
        const uint8_t* const middle = p + std::min(first, text.size);
        const uint8_t* copied = p;    // what is before it has been written
        const uint8_t* boundary = p;  // the last character that may combine with the next one
        const size_t size_before = out.size();
        bool has_first = false;
        const auto copy_until = [&](const uint8_t* q) {
            if (!has_first && q >= middle) {
                first = out.size() - size_before + size_t(middle - copied);
                has_first = true;
            }
            out.append(copied, size_t(q - copied));
            copied = q;
        };
        std::vector<uint32_t> cluster;
        while (p < end) {
            if (*p < 0x80) {
                boundary = p++;
                while (end - p >= 8 && !(load8(p) & 0x8080808080808080u)) p += 8, boundary = p - 1;
                continue;
            }
            const uint8_t* q = p;
            uint32_t entry = entries[decode(q)];
            if (!(entry & kChanges)) {
                boundary = p;
                p = q;
                continue;
            }
            const uint8_t* const begin = entry & kBoundary ? p : boundary;
            while (q < end) {
                const uint8_t* r = q;
                entry = *r < 0x80 ? 0 : entries[decode(r)];
                if (!(entry & kChanges) || (entry & kBoundary)) break;
                q = r;
            }
            copy_until(begin);
            cluster.clear();
            for (const uint8_t* r = begin; r < q;) decompose(decode(r), cluster);
            order(cluster);
            if (composes) compose(cluster);
            const size_t before = out.size();
            uint8_t* o = out.reserve(4 * cluster.size());
            for (uint32_t c : cluster) o = encode(c, o);
            out.end_at(o);
            if (!has_first && q >= middle) {
                first = before - size_before;
                if (begin < middle)
                    first += cluster.empty() ? 0
                             : middle == q   ? out.size() - before
                                             : size_of_character(out.data()[before]);
                has_first = true;
            }
            copied = p = boundary = q;
        }
        copy_until(end);
        return true;
    }

private:
    static constexpr uint32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;

    void decompose(uint32_t c, std::vector<uint32_t>& out) const {
        const uint32_t entry = entries[c];
        const uint32_t n = (entry & 0xFC) >> 2;
        if ((entry & 0xFC) == kHangul) {
            const uint32_t i = c - kS;
            out.push_back(kL + i / 588);
            out.push_back(kV + i % 588 / 28);
            if (i % 28) out.push_back(kT + i % 28);
        } else if (n == 0) {
            out.push_back(c);
        } else {
            for (uint32_t i = 0; i < n; ++i) out.push_back(decompositions[(entry >> 8) + i]);
        }
    }

    // Sorts each run of marks by their classes.
    void order(std::vector<uint32_t>& c) const {
        for (size_t i = 0; i < c.size(); ++i) {
            if (!combining_classes[c[i]]) continue;
            size_t j = i + 1;
            while (j < c.size() && combining_classes[c[j]]) ++j;
            std::stable_sort(c.begin() + i, c.begin() + j, [&](uint32_t x, uint32_t y) {
                return combining_classes[x] < combining_classes[y];
            });
            i = j - 1;
        }
    }

    void compose(std::vector<uint32_t>& c) const {
        size_t n = 0, starter = SIZE_MAX;
        int last_class = -1;  // of the character written last, if it is after the starter
        for (size_t i = 0; i < c.size(); ++i) {
            const int its_class = combining_classes[c[i]];
            uint32_t both = 0;
            if (starter != SIZE_MAX && (last_class < its_class || last_class == -1))
                both = pair(c[starter], c[i]);
            if (both) {
                c[starter] = both;
                continue;
            }
            if (its_class == 0) {
                starter = n;
                last_class = -1;
            } else {
                last_class = its_class;
            }
            c[n++] = c[i];
        }
        c.resize(n);
    }

    uint32_t pair(uint32_t x, uint32_t y) const {
        if (x - kL < 19 && y - kV < 21) return kS + ((x - kL) * 21 + (y - kV)) * 28;
        if (x - kS < 11172 && (x - kS) % 28 == 0 && y - kT - 1 < 27) return x + (y - kT);
        const uint64_t key = uint64_t(x) << 32 | y;
        const uint64_t* found = std::lower_bound(pairs.data, pairs.data + pairs.size, key);
        return found < pairs.data + pairs.size && *found == key ? composed[size_t(found - pairs.data)]
                                                               : 0;
    }
};

// SentencePiece's normalization by a precompiled map, which the tokenizers library applies to each
// grapheme cluster of less than six bytes as a whole, and to the characters of others.
class CharsmapPass : public Pass {
public:
    // Of each character, bits 0 to 7: 0, or 1 + the size of its replacement, which begins at bits
    // 12 and up.
    static constexpr uint32_t kJoins = 1 << 8, kPrepends = 1 << 9, kControl = 1 << 10,
                              kPicture = 1 << 11;
    CharacterTable<uint32_t> entries;
    View<uint8_t> bytes;
    View<uint32_t> units;  // the map's trie (Darts)
    View<uint8_t> strings;

    bool run(Text text, Buffer& out, size_t& first) const override {
        const uint8_t* p = text.data;
        const uint8_t* const end = p + text.size;
        First mark{text.data + std::min(first, text.size), end, out.size(), 0, first == 0};
        out.reserve(text.size);
        while (p < end) {
            const uint8_t* q = p;
            const uint32_t entry = entries[decode(q)];
            if ((entry & (kJoins | kPrepends)) || (*p == '\r' && q < end && *q == '\n')) {
                const uint8_t* begin = p;
                if ((entry & kJoins) && p > text.data) {
                    const uint8_t* base = before(p);
                    const uint8_t* r = base;
                    const uint32_t base_entry = entries[decode(r)];
                    if (!(base_entry & kControl)) {
                        begin = base;
                        out.resize(out.size() - (base_entry & 0xFF ? (base_entry & 0xFF) - 1 : p - base));
                    }
                }
                p = end_of_cluster(begin, end);
                add_cluster({begin, size_t(p - begin)}, out, mark);
            } else {
                add(p, q, entry, out);
                p = q;
                // What joins this character adds it once more.
                if ((entry & kControl) || p == end || !(entries[peek(p)] & kJoins))
                    mark.added(1, p, out.size());
            }
        }
        first = mark.is_known ? mark.size : out.size() - mark.begin;
        return true;
    }

private:
    // How much stems from what is before `middle`. Characters that are removed before there is any
    // other leave their places to the next ones.
    struct First {
        const uint8_t* middle;
        const uint8_t* end;
        size_t begin, size;
        bool is_known;

        // After n characters, the last one of which ends at p.
        void added(size_t n, const uint8_t* p, size_t out_size) {
            if (is_known) return;
            if (out_size == begin) {
                for (; n && middle < end; --n) middle += size_of_character(*middle);
            } else if (p >= middle) {
                size = out_size - begin;
                is_known = true;
            }
        }
    };

    static uint32_t peek(const uint8_t* p) { return decode(p); }

    static size_t n_characters(const uint8_t* p, const uint8_t* end) {
        size_t n = 0;
        for (; p < end; ++p) n += (*p & 0xC0) != 0x80;
        return n;
    }

    const uint8_t* end_of_cluster(const uint8_t* p, const uint8_t* end) const {
        const uint8_t* q = p;
        uint32_t entry = entries[decode(q)];
        if (*p == '\r' && q < end && *q == '\n') return q + 1;
        while ((entry & kPrepends) && q < end && !(entries[peek(q)] & (kControl | kJoins)))
            entry = entries[decode(q)];
        if (entry & kControl) return q;
        const bool is_picture = entry & kPicture;
        for (;;) {
            uint32_t last = 0;
            while (q < end && (entries[peek(q)] & kJoins)) last = decode(q);
            // A zero-width joiner between two pictures joins them.
            if (!is_picture || last != 0x200D || q == end || !(entries[peek(q)] & kPicture))
                return q;
            decode(q);
        }
    }

    void add_cluster(Text cluster, Buffer& out, First& mark) const {
        const uint8_t* p = cluster.data;
        const uint8_t* const stop = p + cluster.size;
        if (cluster.size < 6) {
            const uint8_t* string = transform(cluster);
            if (string) {
                const size_t size = std::strlen(reinterpret_cast<const char*>(string));
                if (!mark.is_known && size && p < mark.middle && mark.middle < stop) {
                    size_t n = n_characters(p, mark.middle), i = 0;
                    for (; n && i < size; --n) i += size_of_character(string[i]);
                    mark.size = out.size() - mark.begin + i;
                    mark.is_known = true;
                }
                out.append(string, size);
                mark.added(n_characters(p, stop), stop, out.size());
                return;
            }
        }
        while (p < stop) {
            const uint8_t* q = p;
            const uint32_t entry = entries[decode(q)];
            add(p, q, entry, out);
            p = q;
            mark.added(1, p, out.size());
        }
    }

    void add(const uint8_t* p, const uint8_t* q, uint32_t entry, Buffer& out) const {
        if (entry & 0xFF)
            out.append(bytes.data + (entry >> 12), (entry & 0xFF) - 1);
        else
            out.append(p, size_t(q - p));
    }

    // The string of the shortest key that the text begins with.
    const uint8_t* transform(Text text) const {
        size_t node = offset(units[0]);
        for (size_t i = 0; i < text.size && text.data[i]; ++i) {
            node ^= text.data[i];
            if (node >= units.size) return nullptr;
            const uint32_t unit = units[node];
            if ((unit & 0x800000FF) != text.data[i]) return nullptr;
            node ^= offset(unit);
            if (unit >> 8 & 1) {
                if (node >= units.size) return nullptr;
                const size_t place = units[node] & 0x7FFFFFFF;
                return place < strings.size ? strings.data + place : nullptr;
            }
        }
        return nullptr;
    }

    static size_t offset(uint32_t unit) { return size_t(unit >> 10) << ((unit & 0x200) >> 6); }
};

// Replaces each match of a pattern.
class ReplacePass : public Pass {
public:
    Pattern pattern;
    View<uint8_t> content;

    bool run(Text text, Buffer& out, size_t& first) const override {
        const uint8_t* p = text.data;
        const uint8_t* const end = p + text.size;
        const uint8_t* const middle = p + std::min(first, text.size);
        const size_t size_before = out.size();
        bool has_first = false;
        const uint8_t *begin, *stop;
        out.reserve(text.size);
        for (; pattern.find(p, end, begin, stop); p = stop) {
            if (!has_first && stop > middle) {
                first = out.size() - size_before + size_t(std::min(begin, middle) - p);
                has_first = true;
            }
            out.append(p, size_t(begin - p));
            out.append(content.data, content.size);
        }
        if (!has_first) first = out.size() - size_before + size_t(middle > p ? middle - p : 0);
        out.append(p, size_t(end - p));
        return true;
    }
};

// Removes white space at the ends.
class StripPass : public Pass {
public:
    CharacterTable<uint8_t> is_white;
    bool left = false, right = false;

    bool run(Text text, Buffer& out, size_t& first) const override {
        const uint8_t* p = text.data;
        const uint8_t* end = p + text.size;
        while (left && p < end) {
            const uint8_t* q = p;
            if (!is_white[decode(q)]) break;
            p = q;
        }
        while (right && p < end) {
            const uint8_t* q = before(end);
            const uint8_t* r = q;
            if (!is_white[decode(r)]) break;
            end = q;
        }
        const size_t n_removed = size_t(p - text.data);
        first = first > n_removed ? first - n_removed : 0;
        out.append(p, size_t(end - p));
        return true;
    }
};

// Puts a string before the text, unless it is empty.
class PrependPass : public Pass {
public:
    View<uint8_t> content;

    bool run(Text text, Buffer& out, size_t& first) const override {
        if (text.size) {
            out.append(content.data, content.size);
            if (first) first += content.size;
        }
        out.append(text);
        return true;
    }
};

}  // namespace sklearn_static
