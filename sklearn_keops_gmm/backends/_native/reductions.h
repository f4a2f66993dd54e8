// Reductions over all pairs of some samples and a mixture, tile by tile.
#pragma once

#include <algorithm>
#include <new>

#include "mixture.h"

// What the log-densities of a tile should take of the cache, and bounds of a row of
// them in bytes.
constexpr long TILE_BYTES = 512 * 1024, MIN_ROW = 1024, MAX_ROW = 3072;

template <class T>
struct Samples {
    const T* points;   // (N, D)
    const T* weights;  // (N), or null for ones
    long count;
    const double* centre;  // (D), and scale: of the frame
    double scale;          // a power of two
};

// Memory for vectors.
template <class T>
class Array {
  public:
    explicit Array(long n_vectors)
        : data(static_cast<Vector<T>*>(
              ::operator new(n_vectors * VECTOR_BYTES, alignment))) {}
    Array(const Array&) = delete;
    ~Array() { ::operator delete(data, alignment); }

    operator Vector<T>*() const { return data; }
    T* numbers() const { return reinterpret_cast<T*>(data); }

  private:
    static constexpr std::align_val_t alignment{64};
    Vector<T>* const data;
};

// Some samples at a time, with the log-densities of all components.
template <class T>
class Tiles {
    using V = Vector<T>;

  public:
    long start = 0, count = 0;  // the samples of this tile

    Tiles(const Samples<T>& samples, const Mixture<T>& mixture)
        : samples(samples),
          mixture(mixture),
          rows(mixture.n_features() + MAX_BLOCK),
          most(vectors_of_tile()),
          coordinates(rows * most),
          logits(mixture.count() * most),
          levels(most),
          totals(most),
          weights(most),
          scratch((rows + 2 * MAX_BLOCK) * most),
          tile{0, coordinates, levels, scratch} {}

    // Goes on to the next samples, if there are any.
    bool next() {
        start += count;
        count = std::min(samples.count - start, most * LANES<T>);
        if (count <= 0) return false;
        n = tile.n_vectors = (count - 1) / (GROUP * LANES<T>) * GROUP + GROUP;
        read();
        const V lowest = all<T>(-std::numeric_limits<T>::infinity());
        std::fill(levels + 0, levels + n, lowest);
        mixture.log_densities(tile, logits);
        // A sample infinitely unlikely under every component belongs to none.
        for (int i = 0; i < n; i++)
            levels[i] = levels[i] == lowest ? V{} : levels[i];
        return true;
    }

    // Turns log-densities into shares, which are relative to the largest.
    void share() {
        std::fill(totals + 0, totals + n, V{});
        for (long j = 0; j < mixture.count(); j++)
            for (int i = 0; i < n; i++)
                totals[i] += row(j)[i] = exp2<T>(row(j)[i] - levels[i]);
    }

    // Returns ln p(x) of the samples, (n).
    const T* log_density() {
        for (int i = 0; i < n; i++)
            levels[i] = (levels[i] + log2<T>(totals[i])) * T(std::log(2.0));
        return levels.numbers();
    }

    // Returns the sum of weights times ln p(x).
    double log_likelihood() {
        using Doubles = typename Wide<T>::Vector;
        log_density();
        Doubles sum = {};
        for (int i = 0; i < n; i++) {
            // A sample without weight has no say, however unlikely it is.
            const V term = weights[i] > T(0) ? weights[i] * levels[i] : V{};
            sum += __builtin_convertvector(term, Doubles);
        }
        double total = 0;
        for (int i = 0; i < LANES<T>; i++) total += sum[i];
        return total;
    }

    // Adds the moments of weighted responsibilities.
    void add_moments(double* sums) {
        scale();
        mixture.add_moments(tile, logits, totals, sums);
    }

    // Writes responsibilities, (count, M), of samples without weights.
    void responsibilities(T* out) {
        scale();
        for (long j = 0; j < mixture.count(); j++) {
            const T* shares = reinterpret_cast<const T*>(row(j));
            for (long i = 0; i < count; i++)
                out[i * mixture.count() + j] = shares[i] * totals.numbers()[i];
        }
    }

    // Writes the first component of the largest log-density, (count).
    void labels(int64_t* out) const {
        std::fill(out, out + count, 0);
        for (long j = mixture.count(); j-- > 0;) {
            const T* log_density = reinterpret_cast<const T*>(row(j));
            for (long i = 0; i < count; i++)
                out[i] = log_density[i] == levels.numbers()[i] ? j : out[i];
        }
    }

  private:
    long vectors_of_tile() const {
        const long fit = TILE_BYTES / (mixture.count() + rows);
        const long groups = std::clamp(fit, MIN_ROW, MAX_ROW) / (GROUP * VECTOR_BYTES);
        // Rows that are a power of two apart would compete for the same cache lines.
        return (groups - 1) / 2 * 2 * GROUP + GROUP;
    }

    V* row(long j) const { return logits + j * n; }

    // Reads samples, moves them into the frame, and turns rows into columns.
    void read() {
        const int D = mixture.n_features();
        const T* points = samples.points + start * D;
        const double unit = 1 / samples.scale;
        std::fill(coordinates + 0, coordinates + rows * n, V{});
        for (int a = 0; a < D; a++) {
            T* out = coordinates.numbers() + a * n * LANES<T>;
            for (long i = 0; i < count; i++)
                out[i] = (points[i * D + a] - samples.centre[a]) * unit;
        }
        std::fill(weights + 0, weights + n, V{});
        if (samples.weights)
            std::copy_n(samples.weights + start, count, weights.numbers());
        else
            std::fill_n(weights.numbers(), count, T(1));
    }

    // Turns totals into the factors that make weighted responsibilities of shares.
    void scale() {
        for (int i = 0; i < n; i++)
            totals[i] = totals[i] > T(0) ? weights[i] / totals[i] : V{};
    }

    const Samples<T> samples;
    const Mixture<T>& mixture;
    const int rows;
    const long most;
    const Array<T> coordinates, logits, levels, totals, weights, scratch;
    Tile<T> tile;
    int n = 0;
};

template <class T>
void log_density(const Samples<T>& samples, const Mixture<T>& mixture, T* out) {
    Tiles<T> tiles(samples, mixture);
    while (tiles.next()) {
        tiles.share();
        std::copy_n(tiles.log_density(), tiles.count, out + tiles.start);
    }
}

// Adds to sums, (M, S), and to the log-likelihood that is kept after them.
template <class T>
void moments(const Samples<T>& samples, const Mixture<T>& mixture, double* sums) {
    Tiles<T> tiles(samples, mixture);
    while (tiles.next()) {
        tiles.share();
        sums[mixture.count() * mixture.sums_size()] += tiles.log_likelihood();
        tiles.add_moments(sums);
    }
    mixture.settle(sums);
}

template <class T>
void labels(const Samples<T>& samples, const Mixture<T>& mixture, int64_t* out) {
    Tiles<T> tiles(samples, mixture);
    while (tiles.next()) tiles.labels(out + tiles.start);
}

template <class T>
void responsibilities(const Samples<T>& samples, const Mixture<T>& mixture, T* out) {
    Tiles<T> tiles(samples, mixture);
    while (tiles.next()) {
        tiles.share();
        tiles.responsibilities(out + tiles.start * mixture.count());
    }
}
