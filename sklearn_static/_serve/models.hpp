// What splits a piece of text into tokens: one class for each kind of model.
#pragma once

#include <memory>
#include <vector>

#include "pieces.hpp"
#include "words.hpp"

namespace sklearn_static {

// What a call needs to write: nothing in it outlives the call but cached pieces.
struct Scratch {
    Pieces pieces;
    std::vector<int32_t> symbols;

    Scratch(uint64_t seed, size_t n_entries) : pieces(seed, n_entries) {}
};

class Model {
public:
    // Strings that are one token, and their ids.
    Words words;

    virtual ~Model() {}

    // Adds the ids of a piece's tokens. At least kPadding bytes must be readable after the piece.
    void read(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const {
        if (const int32_t* id = words.find(piece)) {
            ids.push_back(*id);
            return;
        }
        if (piece.size > Pieces::kMaxBytes) return split(piece, scratch, ids);
        const Pieces::Probe probe = scratch.pieces.probe(piece.data, piece.size);
        size_t n_ids;
        if (const int32_t* found = scratch.pieces.find(probe, n_ids)) {
            ids.insert(ids.end(), found, found + n_ids);
            return;
        }
        const size_t n_before = ids.size();
        split(piece, scratch, ids);
        scratch.pieces.put(probe, ids.data() + n_before, ids.size() - n_before);
    }

    // Likewise, without a look at `words` and the cache.
    virtual void split(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const = 0;
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
