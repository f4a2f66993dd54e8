// What sums over a few samples and components at a time need of each structure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "memory.h"
#include "mixture.h"
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

// How many samples at a time are added to moments.
constexpr int AT_ONCE = 4;

// Adds weighted products of numbers of some samples, `stride` apart.
inline void add_products(const double* factors, const Doubles* z, int64_t stride,
                         Doubles& sum) {
    UNROLL for (int i = 0; i < AT_ONCE; i++) sum += factors[i] * z[i * stride];
}

// Each keeps a component as offset, mean and factor, and gives log-densities to base 2:
// for COUNT vectors of samples, in columns, of a component whose mean is another one
// here; where these must be below a floor for all, only a guess that is below, too; and
// for one sample. Each adds the second moments of AT_ONCE samples, and writes what there
// is of a sum of these.
template <class T>
struct OfMatrices {
    template <class Other>
    using Of = OfMatrices<Other>;
    static constexpr int BLOCK = 4;
    typedef T Block __attribute__((vector_size(BLOCK * sizeof(T))));
    // Where it lies in memory, anywhere.
    typedef T Lying
        __attribute__((vector_size(BLOCK * sizeof(T)), aligned(alignof(T)), may_alias));
    const int64_t D;

    // The factor is cut into bands of columns, with zeros beyond the last, each down to
    // the diagonal.
    int64_t width() const {
        int64_t size = 1 + D;
        for (int64_t b = 0; b < D; b += BLOCK) size += BLOCK * std::min(b + BLOCK, D);
        return size;
    }
    int64_t factor_size() const { return D * D; }
    int64_t n_sums() const { return 1 + D + D * (D + 1) / 2; }

    void pack(const double* factor, double scale, T* out) const {
        for (int64_t start = 0; start < D; start += BLOCK)
            for (int64_t a = 0; a < std::min(start + BLOCK, D); a++)
                for (int64_t b = start; b < start + BLOCK; b++)
                    *out++ = b < D ? scale * factor[a * D + b] : 0.0;
    }

    // With memory for D numbers.
    T of_one(const T* packed, const T* x, T* z) const {
        const T *mean = packed + 1, *factor = mean + D;
        for (int64_t a = 0; a < D; a++) z[a] = x[a] - mean[a];
        Block squares = {};
        for (int64_t start = 0; start < D; start += BLOCK) {
            const int64_t end = std::min(start + BLOCK, D);
            Block y = {};
            for (int64_t a = 0; a < end; a++, factor += BLOCK)
                y += *reinterpret_cast<const Lying*>(factor) * z[a];
            squares += y * y;
        }
        return packed[0] - ((squares[0] + squares[1]) + (squares[2] + squares[3]));
    }

    template <int COUNT>
    void operator()(const T* packed, const T* mean, const Vector<T>* x,
                    const Vector<T>* floor, Vector<T>* z, Vector<T>* out) const {
        using V = Vector<T>;
        const T* factor = packed + 1 + D;
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
    static void add(const double* weights, const Doubles* z, int64_t D,
                    Doubles* second) {
        const int64_t n = vectors_of(D);
        const double* numbers = reinterpret_cast<const double*>(z);
        for (int64_t a = 0; a < D; a++, second += n) {
            double weighted[AT_ONCE];
            UNROLL for (int i = 0; i < AT_ONCE; i++)
                weighted[i] = weights[i] * numbers[i * n * LANES<double> + a];
            for (int64_t v = a / LANES<double>; v < n; v++)
                add_products(weighted, z + v, n, second[v]);
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
    template <class Other>
    using Of = OfDiagonals<Other>;
    const int64_t D;

    int64_t width() const { return 1 + 2 * D; }
    int64_t factor_size() const { return D; }
    int64_t n_sums() const { return 1 + 2 * D; }

    void pack(const double* factor, double scale, T* out) const {
        for (int64_t a = 0; a < D; a++) out[a] = scale * factor[a];
    }

    T of_one(const T* packed, const T* x, T*) const {
        const T *mean = packed + 1, *factor = mean + D;
        T found = packed[0];
        for (int64_t a = 0; a < D; a++) {
            const T y = (x[a] - mean[a]) * factor[a];
            found -= y * y;
        }
        return found;
    }

    template <int COUNT>
    void operator()(const T* packed, const T* mean, const Vector<T>* x,
                    const Vector<T>*, Vector<T>*, Vector<T>* out) const {
        using V = Vector<T>;
        const T* factor = packed + 1 + D;
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
    static void add(const double* weights, const Doubles* z, int64_t D,
                    Doubles* second) {
        const int64_t n = vectors_of(D);
        for (int64_t v = 0; v < n; v++)
            for (int i = 0; i < AT_ONCE; i++)
                second[v] += weights[i] * z[i * n + v] * z[i * n + v];
    }
    static void write(const Doubles* second, int64_t D, double* out) {
        std::copy_n(reinterpret_cast<const double*>(second), D, out);
    }
};

template <class T>
struct OfNumbers {
    template <class Other>
    using Of = OfNumbers<Other>;
    const int64_t D;

    int64_t width() const { return 2 + D; }
    int64_t factor_size() const { return 1; }
    int64_t n_sums() const { return 2 + D; }

    void pack(const double* factor, double scale, T* out) const {
        *out = scale * *factor;
    }

    T of_one(const T* packed, const T* x, T*) const {
        const T *mean = packed + 1, factor = packed[1 + D];
        T found = 0;
        for (int64_t a = 0; a < D; a++) found += (x[a] - mean[a]) * (x[a] - mean[a]);
        return packed[0] - found * (factor * factor);
    }

    template <int COUNT>
    void operator()(const T* packed, const T* mean, const Vector<T>* x,
                    const Vector<T>*, Vector<T>*, Vector<T>* out) const {
        using V = Vector<T>;
        const T factor = packed[1 + D];
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
    static void add(const double* weights, const Doubles* z, int64_t D,
                    Doubles* second) {
        OfDiagonals<T>::add(weights, z, D, second);
    }
    static void write(const Doubles* second, int64_t D, double* out) {
        const double* squares = reinterpret_cast<const double*>(second);
        *out = std::accumulate(squares, squares + D, 0.0);
    }
};

// Writes components in an order, as the loops read them, one after the other.
template <class T, class Kind>
void pack(const Kind& kind, const Components& of, const int64_t* order, T* out) {
    for (int64_t i = 0; i < of.count; i++, out += kind.width()) {
        const int64_t j = order[i];
        out[0] = of.offsets[j] * to_base_2();
        std::copy_n(of.mean(j), of.n_features, out + 1);
        kind.pack(of.factor(j), unit_of_base_2(), out + 1 + of.n_features);
    }
}

// Samples with shares, by component: item i is one of sample i / K.
template <class T>
struct Shares {
    int64_t D, K;
    const T* rows;                  // (N, D)
    const T* shares;                // (N, K)
    const int64_t *order, *bounds;  // of the items; (M + 1)
    const double* means;            // (M, D), each at its place
    const int64_t* places;          // (M)

    const T* row(int64_t item) const { return rows + item / K * D; }

    // Asks for an item that is soon read, for each is somewhere else.
    void fetch(int64_t item) const {
        const char* first = reinterpret_cast<const char*>(row(item));
        for (size_t byte = 0; byte < D * sizeof(T); byte += 64)
            __builtin_prefetch(first + byte);
        __builtin_prefetch(shares + item);
    }
};

// How many items before they are read these are asked for.
constexpr int64_t AHEAD = 16;

// Writes the moments of each component from `begin` to `end`, at its place: its mass, the
// first and the second moment, about its mean.
template <class T, class Kind>
void add_moments(const Kind& kind, const Shares<T>& of, int64_t begin, int64_t end,
                 double* out) {
    const int64_t D = of.D, n = vectors_of(D), size = kind.n_rows(D) * n;
    const Array<Doubles> z(AT_ONCE * n), first(n), second(size);
    double* numbers = reinterpret_cast<double*>(z + 0);
    std::fill_n(z + 0, AT_ONCE * n, Doubles{});
    for (int64_t j = begin; j < end; j++) {
        double mass = 0;
        const double* mean = of.means + of.places[j] * D;
        std::fill_n(first + 0, n, Doubles{});
        std::fill_n(second + 0, size, Doubles{});
        const int64_t last = of.bounds[j + 1];
        for (int64_t at = of.bounds[j]; at < last; at += AT_ONCE) {
            double weights[AT_ONCE];
            for (int64_t i = 0; i < AT_ONCE; i++) {
                if (at + i + AHEAD < of.bounds[end]) of.fetch(of.order[at + i + AHEAD]);
                // Beyond the last one this once more, of no weight.
                const int64_t item = of.order[std::min(at + i, last - 1)];
                const T* row = of.row(item);
                weights[i] = at + i < last ? of.shares[item] : 0;
                mass += weights[i];
                double* own = numbers + i * n * LANES<double>;
                for (int64_t a = 0; a < D; a++) own[a] = row[a] - mean[a];
            }
            for (int64_t v = 0; v < n; v++) add_products(weights, z + v, n, first[v]);
            kind.add(weights, z, D, second);
        }
        double* sums = out + of.places[j] * kind.n_sums();
        sums[0] = mass;
        std::copy_n(reinterpret_cast<const double*>(first + 0), D, sums + 1);
        kind.write(second, D, sums + 1 + D);
    }
}
