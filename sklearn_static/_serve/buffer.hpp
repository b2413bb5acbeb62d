// Text that is being written: bytes that grow without being initialized.
#pragma once

#include <cstdlib>
#include <new>

#include "text.hpp"

namespace sklearn_static {

class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    Text text() const { return {data_, size_}; }

    // Empties the buffer and makes room for a text.
    void reset(size_t capacity) {
        size_ = 0;
        reserve(capacity);
    }

    // Returns where to write up to n further bytes (and padding after them).
    uint8_t* reserve(size_t n) {
        const size_t needed = size_ + n + kPadding;
        if (needed > capacity_) {
            const size_t larger = needed + needed / 2;
            void* moved = std::realloc(data_, larger);
            if (!moved) throw std::bad_alloc();
            data_ = static_cast<uint8_t*>(moved);
            capacity_ = larger;
        }
        return data_ + size_;
    }

    bool has_room(size_t n) const { return size_ + n + kPadding <= capacity_; }

    void append(const uint8_t* p, size_t n) {
        uint8_t* out = reserve(n);
        if (n) std::memcpy(out, p, n);
        size_ += n;
    }

    void append(Text text) { append(text.data, text.size); }

    void resize(size_t size) { size_ = size; }
    void end_at(const uint8_t* end) { size_ = size_t(end - data_); }

    // Zeros after the end, so that what is read there does not vary.
    void finish() { std::memset(reserve(0), 0, kPadding); }

    void swap(Buffer& other) {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
    }

    // Gives back the memory of an unusually long text.
    void shrink(size_t largest) {
        if (capacity_ <= largest) return;
        std::free(data_);
        data_ = nullptr;
        size_ = capacity_ = 0;
    }

private:
    uint8_t* data_ = nullptr;
    size_t size_ = 0, capacity_ = 0;
};

}  // namespace sklearn_static
