// Memory for the loops, and sizes of it, which do not overflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include <stdlib.h>

// The product of two sizes; where that overflows, the largest number: nothing has so
// many numbers, and there is no memory for them.
inline int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

// Numbers, or vectors of them, that are not set.
template <class Item>
class Array {
  public:
    explicit Array(int64_t size) : data(static_cast<Item*>(allocate(size))) {}
    Array(const Array&) = delete;
    ~Array() { free(data); }

    operator Item*() const { return data; }

  private:
    static constexpr size_t ALIGNMENT = 64;

    // Not a byte more, as others round up to: sanitizers would not see a step too far.
    static void* allocate(int64_t size) {
        constexpr int64_t item = sizeof(Item);
        void* found;
        if (size > PTRDIFF_MAX / item || posix_memalign(&found, ALIGNMENT, size * item))
            throw std::bad_alloc();
        return found;
    }

    Item* const data;
};
