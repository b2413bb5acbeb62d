// WordPiece (Wu et al., 2016): a word is split greedily into the longest tokens, left to right.
#pragma once

#include "models.hpp"

namespace sklearn_static {

class WordPiece : public Model {
public:
    Words continuing;               // tokens after the first one of a word, without their prefix
    View<uint8_t> longest_initial;  // number of bytes of the longest token that begins with a byte
    View<uint8_t> longest_continuing;  // 255 stands for any number
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
            const Words& tokens = start ? continuing : words;
            const uint8_t* rest = word.data + start;
            const size_t size = word.size - start;
            const size_t longest = (start ? longest_continuing : longest_initial)[rest[0]];
            // The whole word is not a token, since `read` looks it up first.
            size_t n = size - (start == 0);
            if (longest < 255 && longest < n) n = longest;
            const int32_t* id = nullptr;
            for (; n > 0; --n) {
                if (n < size && (rest[n] & 0xC0) == 0x80) continue;
                if ((id = tokens.find({rest, n}))) break;
            }
            if (!id) {
                ids.resize(n_before);
                ids.push_back(unknown_id);
                return;
            }
            ids.push_back(*id);
            start += n;
        }
    }
};

}  // namespace sklearn_static
