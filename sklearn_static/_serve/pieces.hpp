// Tokenizers whose tokens never cross certain places in a document. The characters between two such
// places are a piece; each distinct piece is tokenized once and cached.
#pragma once

#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <memory>
#include <new>
#include <vector>

#include "key.hpp"
#include "subwords.hpp"

namespace sklearn_static {

// Maps pieces to the rows of their tokens. Written under the GIL, read by others without it: an
// entry is complete before its size is set, and never changes afterward.
class PieceTable {
public:
    struct Entry {
        uint64_t a, b;
        std::atomic<uint32_t> size_and_1;  // 0: free
        int32_t n_rows;                    // -1: not tokenized yet
        const int32_t* rows;
        const uint8_t* data;
    };

    explicit PieceTable(size_t n_slots) { allocate(n_slots); }

    const Entry* find(const Key& key, const uint8_t* data) const {
        size_t slot = key.hash() & (n_slots_ - 1);
        for (;; slot = (slot + 1) & (n_slots_ - 1)) {
            const Entry& entry = slots_[slot];
            const uint32_t size_and_1 = entry.size_and_1.load(std::memory_order_acquire);
            if (!size_and_1) return nullptr;
            if (entry.a == key.a && entry.b == key.b && size_and_1 == key.size + 1 &&
                (key.is_whole() || !std::memcmp(entry.data, data, key.size)))
                return &entry;
        }
    }

    // To be called for a piece that is not in the table; null rows mean "not tokenized yet".
    void insert(const Key& key, const uint8_t* data, const int32_t* rows, int32_t n_rows) {
        if (2 * ++n_entries_ > n_slots_) grow();
        n_bytes_ += key.size + 4 * (n_rows > 0 ? n_rows : 0);
        data = key.is_whole() ? nullptr : keep(data, key.size);
        place(key, data, rows ? keep(rows, n_rows) : nullptr, rows ? n_rows : -1);
    }

    void set_rows(const Key& key, const uint8_t* data, const int32_t* rows, int32_t n_rows) {
        Entry* entry = const_cast<Entry*>(find(key, data));
        entry->rows = keep(rows, n_rows);
        entry->n_rows = n_rows;
    }

    template <class Function>
    void for_each(Function function) const {
        for (size_t i = 0; i < n_slots_; ++i) {
            const Entry& entry = slots_[i];
            if (const uint32_t size_and_1 = entry.size_and_1.load(std::memory_order_relaxed))
                function(Key{entry.a, entry.b, size_and_1 - 1}, entry);
        }
    }

    size_t n_entries() const { return n_entries_; }
    size_t n_bytes() const { return n_bytes_; }

private:
    static constexpr size_t kBlock = 1024;
    struct Free {
        void operator()(Entry* slots) const { std::free(slots); }
    };
    std::unique_ptr<Entry[], Free> slots_;
    size_t n_slots_ = 0, n_entries_ = 0, n_bytes_ = 0;
    std::deque<std::vector<int32_t>> blocks_;  // a deque does not move its elements
    size_t n_left_ = 0;                        // free entries of the last block

    void allocate(size_t n_slots) {
        n_slots_ = n_slots;
        // calloc: zeros take no memory before they are written.
        slots_.reset(static_cast<Entry*>(std::calloc(n_slots, sizeof(Entry))));
        if (!slots_) throw std::bad_alloc();
    }

    template <class Value>
    const Value* keep(const Value* values, size_t n_values) {
        const size_t n = (n_values * sizeof(Value) + 3) / 4;
        if (n > n_left_ || blocks_.empty()) {
            n_left_ = n > kBlock ? n : kBlock;
            blocks_.emplace_back(n_left_);
        }
        int32_t* place = blocks_.back().data() + blocks_.back().size() - n_left_;
        n_left_ -= n;
        if (n_values) std::memcpy(place, values, n_values * sizeof(Value));
        return reinterpret_cast<const Value*>(place);
    }

    void place(const Key& key, const uint8_t* data, const int32_t* rows, int32_t n_rows) {
        size_t slot = key.hash() & (n_slots_ - 1);
        while (slots_[slot].size_and_1.load(std::memory_order_relaxed))
            slot = (slot + 1) & (n_slots_ - 1);
        Entry& entry = slots_[slot];
        entry.a = key.a;
        entry.b = key.b;
        entry.n_rows = n_rows;
        entry.rows = rows;
        entry.data = data;
        entry.size_and_1.store(key.size + 1, std::memory_order_release);
    }

    void grow() {
        std::unique_ptr<Entry[], Free> before = std::move(slots_);
        const size_t n_before = n_slots_;
        allocate(2 * n_slots_);
        for (size_t i = 0; i < n_before; ++i) {
            const Entry& entry = before[i];
            if (const uint32_t size_and_1 = entry.size_and_1.load(std::memory_order_relaxed))
                place({entry.a, entry.b, size_and_1 - 1}, entry.data, entry.rows, entry.n_rows);
        }
    }
};

// The pieces known to one batch: the shared tables at its start, and the pieces it adds.
struct PieceBatch {
    std::shared_ptr<const PieceTable> young, old;
    const Subwords* subwords = nullptr;
    PieceTable own{256};
    std::vector<Text> missing;
    std::vector<int32_t> rows;

    // Returns null for a piece that is not tokenized yet.
    const PieceTable::Entry* find(Text piece) {
        const Key key = make_key(piece.data, piece.size);
        if (const PieceTable::Entry* entry = young->find(key, piece.data)) return entry;
        if (const PieceTable::Entry* entry = own.find(key, piece.data))
            return entry->n_rows < 0 ? nullptr : entry;
        if (const PieceTable::Entry* entry = old->find(key, piece.data)) {
            own.insert(key, piece.data, entry->rows, entry->n_rows);
            return entry;
        }
        rows.clear();
        if (subwords && subwords->read(piece, rows)) {
            own.insert(key, piece.data, rows.data(), static_cast<int32_t>(rows.size()));
            return own.find(key, piece.data);
        }
        own.insert(key, piece.data, nullptr, 0);
        missing.push_back(piece);
        return nullptr;
    }

    void set_rows(size_t i, const int32_t* rows, int32_t n_rows) {
        own.set_rows(make_key(missing[i].data, missing[i].size), missing[i].data, rows, n_rows);
    }
};

class Pieces {
public:
    // Two generations bound the memory and evict pieces that no longer occur: when the young table
    // is full it becomes the old one, and pieces found in the old table move to the new young one.
    static constexpr size_t kSlots = size_t(1) << 18;
    static constexpr size_t kMaxEntries = kSlots / 2;
    static constexpr size_t kMaxBytes = 8000000;
    static constexpr size_t kMaxPieceBytes = 256;  // longer ones rarely occur twice

    // Whether to cut at whitespace and drop it, instead of before a space between plain characters.
    bool drops_spaces = false;
    // Splits plain pieces; null if the model is unsupported.
    std::unique_ptr<Subwords> subwords;

    Pieces() : young_(std::make_shared<PieceTable>(kSlots)), old_(std::make_shared<PieceTable>(1)) {}

    // Also cuts between these two ASCII characters.
    void cut(uint8_t first, uint8_t second) { cuts_[first][second] = true; }

    void begin(PieceBatch& batch) const {
        batch.subwords = subwords.get();
        batch.young = young_;
        batch.old = old_;
    }

    // Adds the pieces of a batch to the shared tables.
    void end(const PieceBatch& batch) {
        batch.own.for_each([&](const Key& key, const PieceTable::Entry& entry) {
            if (entry.n_rows < 0 || key.size > kMaxPieceBytes || young_->find(key, entry.data))
                return;
            if (young_->n_entries() + 1 >= kMaxEntries || young_->n_bytes() >= kMaxBytes) {
                old_ = young_;
                young_ = std::make_shared<PieceTable>(kSlots);
            }
            young_->insert(key, entry.data, entry.rows, entry.n_rows);
        });
    }

    size_t n_entries() const { return young_->n_entries() + old_->n_entries(); }

    // Adds the rows of a document's tokens to `rows`.
    Reading read(Text text, size_t max_length, PieceBatch& batch, std::vector<int32_t>& rows) const {
        const size_t n_before = rows.size();
        bool is_complete = true;
        size_t i = 0;
        while (i < text.size && (!is_complete || rows.size() - n_before < max_length)) {
            const size_t start = i;
            i = drops_spaces ? end_of_word(text, i) : end_of_piece(text, i);
            if (i > start) {
                if (const PieceTable::Entry* entry = batch.find({text.data + start, i - start}))
                    rows.insert(rows.end(), entry->rows, entry->rows + entry->n_rows);
                else
                    is_complete = false;
            }
            if (drops_spaces && i < text.size) ++i;
        }
        return is_complete ? Reading::kDone : Reading::kUnresolved;
    }

private:
    std::shared_ptr<PieceTable> young_, old_;
    std::array<std::array<bool, 128>, 128> cuts_{};

    static size_t end_of_word(Text text, size_t i) {
        while (i < text.size && !is_white(text.data[i])) ++i;
        return i;
    }

    static bool is_white(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

    size_t end_of_piece(Text text, size_t i) const {
        const uint8_t* p = text.data;
        const size_t start = i;
        while (++i < text.size) {
            if (p[i] == ' ') {
                if (i + 1 < text.size && plain_size(p[i + 1]) && ends_plain(p + start, p + i)) break;
            } else if (p[i] < 128 && p[i - 1] < 128 && cuts_[p[i - 1]][p[i]]) {
                break;
            }
        }
        return i;
    }

    // The number of bytes of a plain character that begins with this byte, 0 for other characters.
    // Plain characters are printable ASCII, and letters and ideographs of blocks without combining
    // marks and without characters that represent a space with a mark: U+00C0 to U+02BF, U+03C0 to
    // U+047F, U+4000 to U+9FFF, U+B000 to U+CFFF.
    static int plain_size(uint8_t first) {
        if (first < 0x80) return first > 0x20 && first < 0x7F;
        if ((first >= 0xC3 && first <= 0xCA) || (first >= 0xCF && first <= 0xD1)) return 2;
        return (first >= 0xE4 && first <= 0xE9) || first == 0xEB || first == 0xEC ? 3 : 0;
    }

    static bool ends_plain(const uint8_t* begin, const uint8_t* end) {
        for (int size = 1; size <= 3 && end - begin >= size; ++size)
            if (plain_size(end[-size]) == size) return true;
        return false;
    }
};

}  // namespace sklearn_static
