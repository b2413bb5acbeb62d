// A tokenizer as a composition: added tokens, a normalizer, a splitter and a model.
//
// All of it is constant after construction. What a call writes is in a Reader, which serves one call
// at a time.
#pragma once

#include <memory>
#include <vector>

#include "added.hpp"
#include "models.hpp"
#include "normalizer.hpp"
#include "splitter.hpp"

namespace sklearn_static {

struct Reader {
    Scratch scratch;
    Buffer document, normalized, other;
    Splitter::Buffers buffers;

    Reader(size_t n_entries, size_t n_steps) : scratch(n_entries), buffers(n_steps) {}

    // Keeps no more memory than usual documents need.
    void shrink() {
        static constexpr size_t kLargest = 1 << 20;
        for (Buffer* buffer : {&document, &normalized, &other}) buffer->shrink(kLargest);
        for (Buffer& buffer : buffers) buffer.shrink(kLargest);
        if (scratch.symbols.capacity() > kLargest) std::vector<int32_t>().swap(scratch.symbols);
    }
};

class Composition {
public:
    AddedTokens added;             // found in the text as it is
    AddedTokens added_normalized;  // found in the normalized text
    std::vector<std::unique_ptr<Pass>> passes;
    Splitter splitter;
    std::unique_ptr<Model> model;

    // Adds the ids of a document's tokens, at least max_length of them if it has so many; returns
    // false, and adds none, if the original tokenizer must read it.
    bool read(Text document, size_t max_length, Reader& reader, std::vector<int32_t>& ids) const {
        const size_t n_before = ids.size();
        const size_t limit = max_length < SIZE_MAX - n_before ? n_before + max_length : SIZE_MAX;
        reader.scratch.n_pending = 0;
        reader.document.reset(document.size);
        reader.document.append(document);
        reader.document.finish();
        bool is_exact = true;
        const Text text = reader.document.text();
        const auto piece = [&](const uint8_t* p, const uint8_t* end) {
            model->add({p, size_t(end - p)}, reader.scratch, ids);
            return ids.size() < limit;
        };
        // Before a buffer is written again, no piece in it may wait.
        const auto flush = [&] { model->flush(reader.scratch, ids); };
        const auto token = [&](int32_t id) {
            flush();
            ids.push_back(id);
            return ids.size() < limit;
        };
        added_split(added, text, token, [&](const uint8_t* p, const uint8_t* end) {
            const bool is_first = p == text.data;
            size_t first = is_first ? size_of_character(*p) : 0;
            Text normalized{p, size_t(end - p)};
            if (!passes.empty()) {
                flush();
                if (!normalize(normalized, first, reader)) return is_exact = false;
            }
            const uint8_t* first_end = normalized.data + first;
            return added_split(added_normalized, normalized, token,
                               [&](const uint8_t* begin, const uint8_t* stop) {
                                   return splitter.split({begin, size_t(stop - begin)}, first_end,
                                                         reader.buffers, piece, flush);
                               });
        });
        flush();
        if (!is_exact) ids.resize(n_before);
        return is_exact;
    }

private:
    template <class Token, class Between>
    static bool added_split(const AddedTokens& added, Text text, Token token, Between between) {
        if (!text.size) return true;
        if (added.is_empty()) return between(text.data, text.data + text.size);
        return added.split(text, between, token);
    }

    // Normalizes a text, if there is anything to do into `reader.normalized`.
    bool normalize(Text& text, size_t& first, Reader& reader) const {
        for (const auto& pass : passes) {
            if (pass->keeps(text)) continue;
            reader.other.reset(text.size);
            if (!pass->run(text, reader.other, first)) return false;
            reader.other.finish();
            reader.normalized.swap(reader.other);
            text = reader.normalized.text();
        }
        return true;
    }
};

}  // namespace sklearn_static
