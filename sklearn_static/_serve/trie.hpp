// A trie of byte strings as a double array (Aoe, 1989): the child of a node for a byte is at
// `base ^ byte`, and belongs to the node if its `parent` says so.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "text.hpp"

namespace sklearn_static {

struct TrieNode {
    uint32_t base, parent;
    double score;  // of the string that ends here; NaN if none does

    bool is_end() const { return score == score; }
};

struct Trie {
    static constexpr uint32_t kRoot = 1, kNone = 0;

    View<TrieNode> nodes;
    View<int32_t> values;  // of the strings that end at each node

    uint32_t child(uint32_t node, uint8_t byte) const {
        const uint32_t next = nodes[node].base ^ byte;
        return nodes[next].parent == node ? next : kNone;
    }
};

// Builds the arrays of a trie. Of equal strings, the last one counts.
class TrieBuilder {
public:
    std::vector<TrieNode> nodes;
    std::vector<int32_t> values;

    void build(std::vector<Text> keys, const double* scores, const int32_t* key_values) {
        std::vector<size_t> order(keys.size());
        for (size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::stable_sort(order.begin(), order.end(), [&](size_t i, size_t j) {
            const size_t n = std::min(keys[i].size, keys[j].size);
            const int difference = n ? std::memcmp(keys[i].data, keys[j].data, n) : 0;
            return difference ? difference < 0 : keys[i].size < keys[j].size;
        });
        grow();
        take(Trie::kNone);
        take(Trie::kRoot);
        std::vector<Part> parts{{0, order.size(), 0, Trie::kRoot}};
        std::vector<uint8_t> labels;
        std::vector<size_t> starts;
        while (!parts.empty()) {
            const Part part = parts.back();
            parts.pop_back();
            size_t i = part.begin;
            for (; i < part.end && keys[order[i]].size == part.depth; ++i) {
                if (part.node == Trie::kRoot) continue;  // the empty string
                nodes[part.node].score = scores ? scores[order[i]] : 0;
                values[part.node] = key_values[order[i]];
            }
            labels.clear();
            starts.clear();
            for (; i < part.end; ++i) {
                const uint8_t label = keys[order[i]].data[part.depth];
                if (labels.empty() || labels.back() != label) {
                    labels.push_back(label);
                    starts.push_back(i);
                }
            }
            if (labels.empty()) continue;
            starts.push_back(part.end);
            const uint32_t base = find_base(labels);
            nodes[part.node].base = base;
            for (size_t k = 0; k < labels.size(); ++k) {
                const uint32_t next = base ^ labels[k];
                take(next);
                nodes[next].parent = part.node;
                parts.push_back({starts[k], starts[k + 1], part.depth + 1, next});
            }
        }
    }

private:
    struct Part {
        size_t begin, end, depth;
        uint32_t node;
    };
    // Free nodes form a ring, by `next_` and `previous_`; 0 is its head.
    std::vector<uint32_t> next_, previous_;
    std::vector<bool> is_free_;

    void grow() {
        const uint32_t n = static_cast<uint32_t>(nodes.size());
        nodes.resize(n + 256, {0, 0, std::numeric_limits<double>::quiet_NaN()});
        values.resize(n + 256, -1);
        is_free_.resize(n + 256, true);
        next_.resize(n + 256);
        previous_.resize(n + 256);
        for (uint32_t i = n; i < n + 256; ++i) {
            if (i == 0) continue;
            const uint32_t last = previous_[0];
            next_[last] = i;
            previous_[i] = last;
            next_[i] = 0;
            previous_[0] = i;
        }
    }

    void take(uint32_t i) {
        is_free_[i] = false;
        if (i == 0) return;
        next_[previous_[i]] = next_[i];
        previous_[next_[i]] = previous_[i];
    }

    uint32_t find_base(const std::vector<uint8_t>& labels) {
        int n_tries = 0;
        for (uint32_t i = next_[0]; i && n_tries < 64; i = next_[i], ++n_tries) {
            const uint32_t base = i ^ labels[0];
            if (base == 0) continue;  // a node without children has base 0
            bool fits = true;
            for (size_t k = 1; fits && k < labels.size(); ++k) fits = is_free_[base ^ labels[k]];
            if (fits) return base;
        }
        const uint32_t base = static_cast<uint32_t>(nodes.size());
        grow();
        return base;
    }
};

}  // namespace sklearn_static
