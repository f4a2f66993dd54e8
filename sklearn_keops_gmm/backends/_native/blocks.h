// Samples in blocks of those that lie near each other: the leaves of a k-d tree.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "vectors.h"

constexpr int64_t BLOCK = 64;

// Finds an order of rows, (N, D), in which each BLOCK of them is a leaf. NaN comes first.
template <class T>
class KDOrder {
  public:
    KDOrder(const T* points, int64_t n_features, int64_t count)
        : points(points), D(n_features), keyed(count), low(D), high(D) {}

    void write(int64_t* rows) {
        std::iota(rows, rows + keyed.size(), int64_t(0));
        split(rows, keyed.size());
    }

  private:
    // Halves some rows, in whole blocks, where they are the widest.
    void split(int64_t* rows, int64_t count) {
        if (count <= BLOCK) return;
        const int64_t feature = widest(rows, count);
        for (int64_t i = 0; i < count; i++) {
            const T key = points[rows[i] * D + feature];
            keyed[i] = {key == key ? key : std::numeric_limits<T>::lowest(), rows[i]};
        }
        const int64_t n_blocks = (count + BLOCK - 1) / BLOCK;
        const int64_t half = n_blocks / 2 * BLOCK;
        const auto begin = keyed.begin();
        std::nth_element(begin, begin + half, begin + count);
        for (int64_t i = 0; i < count; i++) rows[i] = keyed[i].second;
        split(rows, half);
        split(rows + half, count - half);
    }

    int64_t widest(const int64_t* rows, int64_t count) {
        std::fill(low.begin(), low.end(), std::numeric_limits<T>::max());
        std::fill(high.begin(), high.end(), std::numeric_limits<T>::lowest());
        for (int64_t i = 0; i < count; i++)
            for (int64_t a = 0; a < D; a++) {
                const T x = points[rows[i] * D + a];
                low[a] = std::min(low[a], x);
                high[a] = std::max(high[a], x);
            }
        int64_t found = 0;
        for (int64_t a = 1; a < D; a++)
            if (double(high[a]) - low[a] > double(high[found]) - low[found]) found = a;
        return found;
    }

    const T* const points;
    const int64_t D;
    std::vector<std::pair<T, int64_t>> keyed;
    std::vector<T> low, high;
};

// What is added to bounds, of this many roundings of numbers so large.
template <class T>
inline double slack(int64_t roundings) {
    return 4.0 * (roundings + 4) * std::numeric_limits<T>::epsilon();
}

// Writes the middle, (D), of a block of columns, (D, BLOCK); returns how far from it
// samples are at most.
template <class T>
double enclose(const T* columns, int64_t D, double* middle) {
    double squares[BLOCK] = {};
    for (int64_t a = 0; a < D; a++, columns += BLOCK) {
        const auto ends = std::minmax_element(columns, columns + BLOCK);
        middle[a] = 0.5 * (double(*ends.first) + *ends.second);
        for (int64_t i = 0; i < BLOCK; i++) {
            const double z = columns[i] - middle[a];
            squares[i] += z * z;
        }
    }
    const double farthest = *std::max_element(squares, squares + BLOCK);
    return std::sqrt(farthest) * (1 + slack<double>(D));
}

// Returns as many numbers as a vector of type A has, of this or another type.
template <class A, class T>
inline Vector<A> load(const T* numbers) {
    typedef T Numbers __attribute__((vector_size(LANES<A> * sizeof(T))));
    Numbers found;
    std::memcpy(&found, numbers, sizeof(found));
    return __builtin_convertvector(found, Vector<A>);
}

// Writes the squared distances, (BLOCK), of a block of columns from a point.
template <class A, class T>
void squared_distances(const T* columns, int64_t D, const A* point, Vector<A>* out) {
    constexpr int N = BLOCK / LANES<A>, STEP = N < 8 ? N : 8;
    for (int at = 0; at < N; at += STEP) {
        const T* column = columns + at * LANES<A>;
        Vector<A> sums[STEP] = {};
        for (int64_t a = 0; a < D; a++, column += BLOCK) {
            const A x = point[a];
            UNROLL for (int v = 0; v < STEP; v++) {
                const Vector<A> z = load<A>(column + v * LANES<A>) - x;
                sums[v] += z * z;
            }
        }
        UNROLL for (int v = 0; v < STEP; v++) out[at + v] = sums[v];
    }
}
