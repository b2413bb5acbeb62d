// Pre-tokenization: a sequence of steps, each of which splits the pieces of the one before it.
#pragma once

#include <array>
#include <vector>

#include "buffer.hpp"
#include "pattern.hpp"

namespace sklearn_static {

// What becomes of the matches of a pattern and of what is between them.
enum class Behavior : int { kRemoved, kIsolated, kWithPrevious, kWithNext, kContiguous };

struct SplitStep {
    enum Kind : int { kPattern, kWords, kMetaspace, kPrefixSpace };
    enum Prepend : int { kNever, kFirst, kAlways };

    Kind kind = kPattern;
    // kPattern
    Pattern pattern;
    Behavior behavior = Behavior::kIsolated;
    bool inverts = false;
    // kWords: white space is dropped; some characters are a piece each.
    enum : uint8_t { kWord, kWhite, kAlone };
    CharacterTable<uint8_t> kinds;
    // kMetaspace: a mark replaces each space, may be prepended, and begins a piece.
    View<uint8_t> mark;
    Prepend prepend = kAlways;
    bool splits = true;
};

class Splitter {
public:
    std::vector<SplitStep> steps;

    // Texts that steps rewrite; one for each step.
    using Buffers = std::vector<Buffer>;

    // Calls `piece(begin, end)`, which returns whether to go on, and `flush()` before the memory of
    // earlier pieces is written again. A piece that begins before `first_end` begins with the first
    // character of the original text.
    template <class Piece, class Flush>
    bool split(Text text, const uint8_t* first_end, Buffers& buffers, Piece piece,
               Flush flush) const {
        for (Buffer& buffer : buffers) buffer.reset(kArena);
        return run(0, text.data, text.data + text.size, first_end, buffers, piece, flush);
    }

private:
    static constexpr size_t kArena = 1 << 14;

    // Makes room for a text of n bytes in a buffer of texts that pieces may point to.
    template <class Flush>
    static size_t begin_text(Buffer& out, size_t n, Flush& flush) {
        if (!out.has_room(n + kPadding)) {
            flush();
            out.reset(n > kArena ? n : kArena);
        }
        return out.size();
    }

    template <class Piece, class Flush>
    bool run(size_t i, const uint8_t* p, const uint8_t* end, const uint8_t* first_end,
             Buffers& buffers, Piece& piece, Flush& flush) const {
        if (p == end) return true;
        if (i == steps.size()) return piece(p, end);
        const SplitStep& step = steps[i];
        const auto next = [&](const uint8_t* begin, const uint8_t* stop) {
            return begin == stop || run(i + 1, begin, stop, first_end, buffers, piece, flush);
        };
        switch (step.kind) {
            case SplitStep::kWords:
                return words(step, p, end, next);
            case SplitStep::kPattern:
                return pattern(step, p, end, next);
            case SplitStep::kPrefixSpace: {
                if (*p == ' ') return next(p, end);
                Buffer& out = buffers[i];
                const size_t start = begin_text(out, size_t(end - p) + 1, flush);
                out.append(reinterpret_cast<const uint8_t*>(" "), 1);
                out.append(p, size_t(end - p));
                return next(out.data() + start, out.data() + out.size());
            }
            case SplitStep::kMetaspace:
                break;
        }
        Buffer& out = buffers[i];
        const size_t start = begin_text(out, (size_t(end - p) + 1) * step.mark.size, flush);
        metaspace(step, p, end, p < first_end, out);
        p = out.data() + start;
        end = out.data() + out.size();
        if (!step.splits) return next(p, end);
        const uint8_t* begin = p;
        const size_t n = step.mark.size;
        while (p < end) {
            const uint8_t* q = p + 1;
            while (q < end && !(*q == step.mark[0] && size_t(end - q) >= n &&
                                !std::memcmp(q, step.mark.data, n)))
                ++q;
            p = q;
            if (!next(begin, p)) return false;
            begin = p;
        }
        return true;
    }

    static void metaspace(const SplitStep& step, const uint8_t* p, const uint8_t* end,
                          bool is_first, Buffer& out) {
        const size_t n = step.mark.size;
        const bool begins_with_mark =
            *p == ' ' || (size_t(end - p) >= n && !std::memcmp(p, step.mark.data, n));
        if (!begins_with_mark && (step.prepend == SplitStep::kAlways ||
                                  (step.prepend == SplitStep::kFirst && is_first)))
            out.append(step.mark.data, n);
        while (p < end) {
            const void* space = std::memchr(p, ' ', size_t(end - p));
            const uint8_t* q = space ? static_cast<const uint8_t*>(space) : end;
            out.append(p, size_t(q - p));
            if (q < end) out.append(step.mark.data, n), ++q;
            p = q;
        }
    }

    template <class Next>
    static bool words(const SplitStep& step, const uint8_t* p, const uint8_t* end, Next& next) {
        const uint8_t* ascii = step.kinds.pages.data;
        while (p < end) {
            const uint8_t* q = p;
            uint8_t kind = *p < 0x80 ? ascii[*q++] : step.kinds[decode(q)];
            if (kind != SplitStep::kWord) {
                if (kind == SplitStep::kAlone && !next(p, q)) return false;
                p = q;
                continue;
            }
            const uint8_t* stop = q;
            while (stop < end) {
                if (end - stop >= 8) {
                    stop += n_alphanumeric(load8(stop));
                    if (stop >= end) break;
                }
                q = stop;
                kind = *stop < 0x80 ? ascii[*q++] : step.kinds[decode(q)];
                if (kind != SplitStep::kWord) break;
                stop = q;
            }
            if (!next(p, stop)) return false;
            p = stop;
        }
        return true;
    }

    template <class Next>
    static bool pattern(const SplitStep& step, const uint8_t* p, const uint8_t* end, Next& next) {
        const uint8_t *begin, *stop;
        if (step.behavior == Behavior::kIsolated) {
            for (; step.pattern.find(p, end, begin, stop); p = stop)
                if (!next(p, begin) || !next(begin, stop)) return false;
            return next(p, end);
        }
        if (step.behavior == Behavior::kRemoved) {
            for (; step.pattern.find(p, end, begin, stop); p = stop)
                if (step.inverts ? !next(begin, stop) : !next(p, begin)) return false;
            return step.inverts || next(p, end);
        }
        // The piece that waits for what it is merged with; empty at first.
        const uint8_t *waiting = p, *waiting_stop = p;
        bool previous = false;
        const auto span = [&](const uint8_t* from, const uint8_t* to, bool is_match) {
            if (from == to) return true;
            if (step.inverts) is_match = !is_match;
            const bool is_any = waiting != waiting_stop;
            bool merges = false;
            switch (step.behavior) {
                case Behavior::kWithPrevious:
                    merges = is_match && !previous;
                    break;
                case Behavior::kWithNext:
                    merges = previous && !is_match;
                    break;
                default:
                    merges = is_match == previous;
            }
            previous = is_match;
            if (merges && is_any) {
                waiting_stop = to;
                return true;
            }
            if (is_any && !next(waiting, waiting_stop)) return false;
            waiting = from;
            waiting_stop = to;
            return true;
        };
        for (; step.pattern.find(p, end, begin, stop); p = stop)
            if (!span(p, begin, false) || !span(begin, stop, true)) return false;
        return span(p, end, false) && next(waiting, waiting_stop);
    }
};

}  // namespace sklearn_static
