// What sums over a few samples and components at a time need of each structure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "memory.h"
#include "structures.h"

using Doubles = Vector<double>;

// In how many vectors so many features go, where these are in the lanes.
inline int64_t vectors_of(int64_t D) { return padded(D, LANES<double>) / LANES<double>; }

// Tells whether none of some numbers is above its floor.
template <class T, int COUNT>
inline bool is_below(const Vector<T>* numbers, const Vector<T>* floor) {
    Integers<T> above = {};
    UNROLL for (int v = 0; v < COUNT; v++) above |= numbers[v] > floor[v];
    return !any<T>(above);
}

// Each gives log-densities to base 2 of a component, kept as offset, mean and factor, for
// COUNT vectors of samples, in columns; where these must be below a floor for all, only a
// guess that is below, too. Each adds the second moment of one sample, and writes what
// there is of a sum of these.
template <class T>
struct OfMatrices {
    static constexpr int BLOCK = 4;
    const int64_t D;

    // The factor is cut into bands of columns, with zeros beyond the last, each down to
    // the diagonal.
    int64_t width() const {
        int64_t size = 1 + D;
        for (int64_t b = 0; b < D; b += BLOCK) size += BLOCK * std::min(b + BLOCK, D);
        return size;
    }
    int64_t n_sums() const { return 1 + D + D * (D + 1) / 2; }

    template <int COUNT>
    void operator()(const T* packed, const Vector<T>* x, const Vector<T>* floor,
                    Vector<T>* z, Vector<T>* out) const {
        using V = Vector<T>;
        const T *mean = packed + 1, *factor = mean + D;
        V found[COUNT];
        UNROLL for (int v = 0; v < COUNT; v++) found[v] = all<T>(packed[0]);
        int64_t end = 0;
        while (end < D) {
            const int64_t start = end;
            end = std::min(start + BLOCK, D);
            for (int64_t a = start; a < end; a++)
                UNROLL for (int v = 0; v < COUNT; v++)
                    z[a * COUNT + v] = x[a * COUNT + v] - mean[a];
            V y[BLOCK][COUNT] = {};
            for (int64_t a = 0; a < end; a++, factor += BLOCK)
                UNROLL for (int k = 0; k < BLOCK; k++)
                    UNROLL for (int v = 0; v < COUNT; v++)
                        y[k][v] += factor[k] * z[a * COUNT + v];
            UNROLL for (int k = 0; k < BLOCK; k++)
                UNROLL for (int v = 0; v < COUNT; v++) found[v] -= y[k][v] * y[k][v];
            if (is_below<T, COUNT>(found, floor)) break;
        }
        const T more = T(D) / T(end);
        UNROLL for (int v = 0; v < COUNT; v++)
            out[v] = end < D ? packed[0] + more * (found[v] - packed[0]) : found[v];
    }

    static int64_t n_rows(int64_t D) { return D; }
    static void add(double weight, const Doubles* z, int64_t D, Doubles* second) {
        const int64_t n = vectors_of(D);
        const double* numbers = reinterpret_cast<const double*>(z);
        for (int64_t a = 0; a < D; a++, second += n) {
            const double weighted = weight * numbers[a];
            for (int64_t v = a / LANES<double>; v < n; v++) second[v] += weighted * z[v];
        }
    }
    static void write(const Doubles* second, int64_t D, double* out) {
        for (int64_t a = 0; a < D; a++, second += vectors_of(D)) {
            const double* row = reinterpret_cast<const double*>(second);
            out = std::copy(row + a, row + D, out);
        }
    }
};

template <class T>
struct OfDiagonals {
    const int64_t D;

    int64_t width() const { return 1 + 2 * D; }
    int64_t n_sums() const { return 1 + 2 * D; }

    template <int COUNT>
    void operator()(const T* packed, const Vector<T>* x, const Vector<T>*, Vector<T>*,
                    Vector<T>* out) const {
        using V = Vector<T>;
        const T *mean = packed + 1, *factor = mean + D;
        V found[COUNT];
        UNROLL for (int v = 0; v < COUNT; v++) found[v] = all<T>(packed[0]);
        for (int64_t a = 0; a < D; a++)
            UNROLL for (int v = 0; v < COUNT; v++) {
                const V y = (x[a * COUNT + v] - mean[a]) * factor[a];
                found[v] -= y * y;
            }
        UNROLL for (int v = 0; v < COUNT; v++) out[v] = found[v];
    }

    static int64_t n_rows(int64_t) { return 1; }
    static void add(double weight, const Doubles* z, int64_t D, Doubles* second) {
        for (int64_t v = 0; v < vectors_of(D); v++) second[v] += weight * z[v] * z[v];
    }
    static void write(const Doubles* second, int64_t D, double* out) {
        std::copy_n(reinterpret_cast<const double*>(second), D, out);
    }
};

template <class T>
struct OfNumbers {
    const int64_t D;

    int64_t width() const { return 2 + D; }
    int64_t n_sums() const { return 2 + D; }

    template <int COUNT>
    void operator()(const T* packed, const Vector<T>* x, const Vector<T>*, Vector<T>*,
                    Vector<T>* out) const {
        using V = Vector<T>;
        const T *mean = packed + 1, factor = packed[1 + D];
        V found[COUNT] = {};
        for (int64_t a = 0; a < D; a++)
            UNROLL for (int v = 0; v < COUNT; v++) {
                const V z = x[a * COUNT + v] - mean[a];
                found[v] += z * z;
            }
        UNROLL for (int v = 0; v < COUNT; v++)
            out[v] = packed[0] - found[v] * (factor * factor);
    }
    static int64_t n_rows(int64_t) { return 1; }
    static void add(double weight, const Doubles* z, int64_t D, Doubles* second) {
        OfDiagonals<T>::add(weight, z, D, second);
    }
    static void write(const Doubles* second, int64_t D, double* out) {
        const double* squares = reinterpret_cast<const double*>(second);
        *out = std::accumulate(squares, squares + D, 0.0);
    }
};

// Samples with shares, by component: item i is one of sample i / K.
template <class T>
struct Shares {
    int64_t D, K;
    const T* rows;                  // (N, D)
    const T* shares;                // (N, K)
    const int64_t *order, *bounds;  // of the items; (M + 1)
    const double* means;            // (M, D)
};

// Writes the moments of each component from `begin` to `end`: its mass, the first and the
// second moment, about its mean.
template <class T, class Kind>
void add_moments(const Kind& kind, const Shares<T>& of, int64_t begin, int64_t end,
                 double* sums) {
    const int64_t D = of.D, n = vectors_of(D), size = kind.n_rows(D) * n;
    const Array<Doubles> z(n), first(n), second(size);
    double* numbers = reinterpret_cast<double*>(z + 0);
    std::fill_n(z + 0, n, Doubles{});
    for (int64_t j = begin; j < end; j++, sums += kind.n_sums()) {
        double mass = 0;
        std::fill_n(first + 0, n, Doubles{});
        std::fill_n(second + 0, size, Doubles{});
        for (int64_t at = of.bounds[j]; at < of.bounds[j + 1]; at++) {
            const int64_t item = of.order[at];
            const T* row = of.rows + item / of.K * D;
            const double weight = of.shares[item];
            for (int64_t a = 0; a < D; a++) numbers[a] = row[a] - of.means[j * D + a];
            for (int64_t v = 0; v < n; v++) first[v] += weight * z[v];
            kind.add(weight, z, D, second);
            mass += weight;
        }
        sums[0] = mass;
        std::copy_n(reinterpret_cast<const double*>(first + 0), D, sums + 1);
        kind.write(second, D, sums + 1 + D);
    }
}
