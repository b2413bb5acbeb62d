// WordPiece (Wu et al., 2016): a word is split greedily into the longest tokens, left to right.
#pragma once

#include "models.hpp"
#include "trie.hpp"

namespace sklearn_static {

class WordPiece : public Model {
public:
    Trie initial, continuing;  // the tokens at the beginning of a word; others, without their prefix
    int32_t unknown_id = -1;
    size_t max_characters = 100;  // of a word; a longer one is unknown

    void split(Text word, Scratch&, std::vector<int32_t>& ids) const override {
        size_t n_characters = 0;
        for (size_t i = 0; i < word.size; ++i) n_characters += (word.data[i] & 0xC0) != 0x80;
        if (n_characters > max_characters) {
            ids.push_back(unknown_id);
            return;
        }
        const size_t n_before = ids.size();
        for (size_t start = 0; start < word.size;) {
            const Trie& tokens = start ? continuing : initial;
            size_t stop = start;
            int32_t id = -1;
            uint32_t node = Trie::kRoot;
            for (size_t i = start; i < word.size; ++i) {
                node = tokens.child(node, word.data[i]);
                if (!node) break;
                if (tokens.nodes[node].is_end()) {
                    stop = i + 1;
                    id = tokens.values[node];
                }
            }
            if (stop == start) {
                ids.resize(n_before);
                ids.push_back(unknown_id);
                return;
            }
            ids.push_back(id);
            start = stop;
        }
    }
};

}  // namespace sklearn_static
