// Unigram language model (Kudo, 2018): the split with the largest sum of token scores.
#pragma once

#include <cmath>

#include "models.hpp"
#include "trie.hpp"

namespace sklearn_static {

class Unigram : public Model {
public:
    Trie trie;                  // token strings, their scores and ids
    View<int32_t> id_of_byte;   // "<0x41>" and so on, -1 if there is none; empty without fallback
    int32_t unknown_id = 0;
    double unknown_score = 0;

    // Viterbi, with the sums and comparisons of the original. Where no token crosses a place, the
    // path before it is final, so that memory does not grow with the text.
    void split(Text piece, Scratch& scratch, std::vector<int32_t>& ids) const override {
        Node on_stack[kOnStack];
        std::vector<Node> on_heap;
        Node* nodes = on_stack;
        size_t n_nodes = kOnStack;
        size_t base = 0;      // the place of nodes[0]
        size_t furthest = 0;  // the last place that has been reached
        Text unknown{piece.data, 0};
        nodes[0] = {0, 0, 0};
        for (size_t start = 0; start < piece.size;) {
            if (start == furthest && start > base) {
                add_path(piece, nodes, base, start, unknown, scratch.symbols, ids);
                nodes[0] = {nodes[start - base].score, 0, 0};
                base = start;
            }
            const uint8_t* p = piece.data + start;
            const size_t size = size_of_character(*p);
            const double score = nodes[start - base].score;
            bool has_character = false;
            const auto reach = [&](size_t end, double sum, int32_t id) {
                while (furthest < end) {
                    ++furthest;
                    if (furthest - base >= n_nodes) {
                        if (on_heap.empty()) on_heap.assign(nodes, nodes + n_nodes);
                        on_heap.resize(n_nodes = 2 * n_nodes);
                        nodes = on_heap.data();
                    }
                    nodes[furthest - base] = {0, -1, 0};
                }
                Node& node = nodes[end - base];
                if (node.id < 0 || sum > node.score)
                    node = {sum, id, static_cast<uint32_t>(end - start)};
            };
            uint32_t node = Trie::kRoot;
            for (size_t n = 0; n < piece.size - start;) {
                node = trie.child(node, p[n++]);
                if (!node) break;
                const TrieNode& found = trie.nodes[node];
                if (!found.is_end()) continue;
                reach(start + n, found.score + score, trie.values[node]);
                has_character |= n == size;
            }
            if (!has_character) reach(start + size, unknown_score + score, unknown_id);
            start += size;
        }
        add_path(piece, nodes, base, piece.size, unknown, scratch.symbols, ids);
        add_unknown(unknown, ids);
    }

private:
    static constexpr size_t kOnStack = 256;

    struct Node {
        double score;
        int32_t id;     // of the token that ends here; -1: not reached
        uint32_t size;  // of that token
    };

    // Adds the tokens between two places. Adjacent unknown characters are one token.
    void add_path(Text piece, const Node* nodes, size_t base, size_t end, Text& unknown,
                  std::vector<int32_t>& sizes, std::vector<int32_t>& ids) const {
        sizes.clear();
        for (size_t i = end; i > base; i -= nodes[i - base].size)
            sizes.push_back(static_cast<int32_t>(nodes[i - base].size));
        size_t place = base;
        for (size_t i = sizes.size(); i-- > 0;) {
            const size_t size = size_t(sizes[i]);
            place += size;
            const int32_t id = nodes[place - base].id;
            if (id == unknown_id) {
                if (!unknown.size) unknown.data = piece.data + place - size;
                unknown.size += size;
            } else {
                add_unknown(unknown, ids);
                ids.push_back(id);
            }
        }
    }

    void add_unknown(Text& unknown, std::vector<int32_t>& ids) const {
        if (!unknown.size) return;
        uint32_t node = Trie::kRoot;
        for (size_t i = 0; node && i < unknown.size; ++i) node = trie.child(node, unknown.data[i]);
        bool has_bytes = id_of_byte.size > 0;
        for (size_t i = 0; has_bytes && i < unknown.size; ++i)
            has_bytes = id_of_byte[unknown.data[i]] >= 0;
        if (node && trie.nodes[node].is_end())
            ids.push_back(trie.values[node]);
        else if (!has_bytes)
            ids.push_back(unknown_id);
        else
            for (size_t i = 0; i < unknown.size; ++i)
                ids.push_back(id_of_byte[unknown.data[i]]);
        unknown.size = 0;
    }
};

}  // namespace sklearn_static
