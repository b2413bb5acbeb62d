// What splits a piece of text into tokens: one class for each kind of model.
#pragma once

#include <memory>
#include <vector>

#include "pieces.hpp"
#include "words.hpp"

namespace sklearn_static {

// A piece that waits to be looked up.
struct Pending {
    const uint8_t* data;
    Key key;
    uint64_t hash;
};

// What a call needs to write: nothing in it outlives the call but cached pieces.
struct Scratch {
    static constexpr size_t kPending = 32;

    Pieces pieces;
    std::vector<int32_t> symbols;
    Pending pending[kPending];
    size_t n_pending = 0;

    explicit Scratch(size_t n_entries) : pieces(n_entries) {}
};

class Model {
public:
    // Strings that are one token, and their ids.
    Words words;

    virtual ~Model() {}

    // Adds the ids of a piece's tokens, after those of pieces that were added before. The piece waits
    // while its places in the tables are fetched from memory; `flush` adds the ids of all pieces that
    // wait. At least kPadding bytes must be readable after the piece.
    void add(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        if (scratch.n_pending == Scratch::kPending) flush(scratch, ids);
        Pending& pending = scratch.pending[scratch.n_pending++];
        pending.data = piece.data;
        pending.key = Key::of(piece.data, piece.size);
        pending.hash = pending.key.hash();
        words.prefetch(pending.hash);
    }

    void flush(Scratch& scratch, std::vector<int32_t>& ids) const {
        const int32_t* found[Scratch::kPending];
        const size_t n = scratch.n_pending;
        for (size_t i = 0; i < n; ++i) {
            const Pending& piece = scratch.pending[i];
            found[i] = words.find(piece.key, piece.hash, piece.data);
            if (!found[i]) scratch.pieces.prefetch(piece.hash);
        }
        for (size_t i = 0; i < n; ++i) {
            if (found[i])
                ids.push_back(*found[i]);
            else
                add_split(scratch.pending[i], scratch, ids);
        }
        scratch.n_pending = 0;
    }

    // Adds the ids of a piece at once.
    void read(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        const Key key = Key::of(piece.data, piece.size);
        const Pending pending{piece.data, key, key.hash()};
        if (const int32_t* id = words.find(key, pending.hash, piece.data))
            ids.push_back(*id);
        else
            add_split(pending, scratch, ids);
    }

    // Likewise, without a look at `words` and the cache.
    virtual void split(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const = 0;

protected:
    void add_split(const Pending& piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        add_cached(piece, scratch, ids, [&](Text text) { split(text, scratch, ids); });
    }

    // Finds a piece in the cache, or has it split by a function, which adds its ids.
    template <class Split>
    static void add_cached(const Pending& piece, Scratch& scratch, std::vector<int32_t>& ids,
                           Split split) {
        const Text text{piece.data, piece.key.size};
        if (text.size > Pieces::kMaxBytes) return split(text);
        const Pieces::Probe probe = scratch.pieces.probe(text.data, text.size, piece.hash);
        size_t n_ids;
        if (const int32_t* found = scratch.pieces.find(probe, n_ids)) {
            ids.insert(ids.end(), found, found + n_ids);
            return;
        }
        const size_t n_before = ids.size();
        split(text);
        scratch.pieces.put(probe, ids.data() + n_before, ids.size() - n_before);
    }
};

// Each piece is a token, or the unknown one.
class WordLevel : public Model {
public:
    int32_t unknown_id = -1;

    void split(Text, Scratch&, std::vector<int32_t>& ids) const override {
        ids.push_back(unknown_id);
    }
};

}  // namespace sklearn_static
