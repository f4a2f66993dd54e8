// Reductions over all pairs of some samples and a mixture, tile by tile.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "memory.h"
#include "mixture.h"
#include "samples.h"

// What the log-densities of a tile should take of the cache, and bounds of a row of
// them, in bytes: of components with so many sums, which leave the cache, the upper one.
constexpr int64_t TILE_BYTES = 512 * 1024, MIN_ROW = 1024, MAX_ROW = 3072;
constexpr int64_t MANY_SUMS = 512;
constexpr int64_t TERMS = 32;

// Some samples at a time, with the log-densities of all components.
template <class T>
class Tiles {
    using V = Vector<T>;
    using Doubles = typename Wide<T>::Vector;

  public:
    int64_t start = 0, count = 0;  // the samples of this tile

    // A tile has at least a group of vectors, whatever is `fit` for it in bytes.
    Tiles(const Samples<T>& samples, const Mixture<T>& mixture, int64_t fit,
          bool for_moments)
        : samples(samples),
          mixture(mixture),
          columns(samples, mixture.D),
          has_rest(samples.rests ||
                   samples.rest > -std::numeric_limits<double>::infinity()),
          rest(all<T>(samples.rest * to_base_2())),
          rows(mixture.D + MAX_BLOCK),
          kept(for_moments && mixture.keeps_squares() ? mixture.M : 0),
          some(std::min(mixture.at_a_time(), mixture.M)),
          leaves_out(for_moments && std::isfinite(mixture.cut())),
          above(for_moments ? std::max<T>(3 * LEAST / 4, T(-mixture.cut())) : LEAST),
          n_levels(some < mixture.M ? (mixture.M - 1) / some + 1 : 0),
          most(std::min(vectors_of_tile(fit), vectors_of(samples.count))),
          coordinates(rows * most),
          logits(mixture.M * most),
          maxima(most),
          totals(most),
          weights(most),
          others(has_rest ? most : 0),
          scratch((rows + 2 * MAX_BLOCK) * most),
          group(rows * GROUP),
          squares(kept * most),
          levels(n_levels * most),
          is_left_out(mixture.M),
          tile{0, coordinates, maxima, scratch, group, kept ? squares + 0 : nullptr} {}

    // Continues with the next samples, if there are any.
    bool next() {
        start += count;
        count = std::min(samples.count - start, most * LANES<T>);
        if (count <= 0) return false;
        n = tile.n_vectors = vectors_of(count);
        read();
        read_rest();
        return true;
    }

    // Finds the log-densities of all components.
    void log_densities() {
        for_parts([&](Part part, V*) { log_densities(part); });
    }

    // Finds unscaled responsibilities: exponentials relative to the maximum of each
    // sample, with that of the rest. They are 0 of one that is infinitely unlikely under
    // every component. Of many components some are finished at a time, while the cache
    // holds them: relative to the maximum so far, and then the maxima so far are turned
    // into what is missing.
    void exponentiate() {
        std::fill(totals + 0, totals + n, V{});
        for_parts([&](Part part, V* level) {
            if (part.first) std::copy_n(maxima + 0, n, level);
            log_densities(part);
            if (part.first)
                for (int64_t i = 0; i < n; i++)
                    totals[i] *= exp2<T>(level[i] - maxima[i]);
            for (int64_t j = 0; j < part.count; j += TERMS)
                add_exponentials(part.first + j, std::min(part.count - j, TERMS));
            if (n_levels) std::copy_n(maxima + 0, n, level);
        });
        for (int64_t i = 0; i < n_levels * n; i++)
            levels[i] = exp2<T>(levels[i] - maxima[i % n]);
        for (int64_t i = 0; has_rest && i < n; i++)
            totals[i] += others[i] = exp2<T>(others[i] - maxima[i]);
    }

    // Returns ln p(x) of the samples, (n); -inf where the maximum is.
    const T* log_density() {
        for (int64_t i = 0; i < n; i++)
            maxima[i] = (maxima[i] + log2<T>(totals[i])) * T(std::log(2.0));
        return numbers(maxima);
    }

    // Returns the sum of weights times ln p(x).
    double log_likelihood() {
        log_density();
        Doubles sum = {};
        for (int64_t i = 0; i < n; i++) {
            // A sample without weight has no say, however unlikely it is.
            const V term = weights[i] > T(0) ? weights[i] * maxima[i] : V{};
            sum += __builtin_convertvector(term, Doubles);
        }
        return total_of(sum);
    }

    // Adds the moments of weighted responsibilities; returns what the rest has of the
    // weights.
    double add_moments(double* sums) {
        scale();
        for_parts([&](Part part, const V* level) {
            const int64_t end = part.first + part.count;
            for (int64_t j = part.first, first; j < end; j++) {
                for (first = j; j < end && !is_left_out[j]; j++) {}
                if (j > first)
                    mixture.add_moments({first, j - first}, tile, row(first),
                                        n_levels ? level : totals, sums);
            }
        });
        Doubles sum = {};
        for (int64_t i = 0; has_rest && i < n; i++)
            sum += __builtin_convertvector(others[i] * totals[i], Doubles);
        return total_of(sum);
    }

    // Writes responsibilities, (count, M), of samples without weights.
    void responsibilities(T* out) {
        scale();
        for_parts([&](Part part, V* level) {
            const T* scales = numbers(n_levels ? level : totals);
            for (int64_t j = part.first; j < part.first + part.count; j++) {
                const T* unscaled = numbers(row(j));
                for (int64_t i = 0; i < count; i++)
                    out[i * mixture.M + j] = unscaled[i] * scales[i];
            }
        });
    }

    // Writes the first component of the largest log-density, (count).
    void labels(int64_t* out) {
        Integers<T>* best = reinterpret_cast<Integers<T>*>(totals + 0);
        std::fill(best, best + n, Integers<T>{});
        for (int64_t j = mixture.M; j-- > 0;) {
            const Integers<T> label = Integers<T>{} + static_cast<Integer<T>>(j);
            for (int64_t i = 0; i < n; i++)
                best[i] = row(j)[i] == maxima[i] ? label : best[i];
        }
        std::copy_n(reinterpret_cast<const Integer<T>*>(best), count, out);
    }

  private:
    static constexpr T LEAST = Format<T>::lowest_exponent;

    // Returns in how many vectors, a multiple of GROUP, so many samples go.
    static int64_t vectors_of(int64_t count) {
        return (count - 1) / (GROUP * LANES<T>) * GROUP + GROUP;
    }

    int64_t vectors_of_tile(int64_t fit) const {
        const int64_t wide = mixture.M + rows;
        const int64_t best = mixture.sums_size() / mixture.M >= MANY_SUMS
                                 ? MAX_ROW
                                 : std::clamp(TILE_BYTES / wide, MIN_ROW, MAX_ROW);
        // All the arrays below: coordinates are there twice.
        const int64_t all = wide + kept + n_levels + rows + 2 * MAX_BLOCK + 4;
        const int64_t row = std::min(best, fit / all);
        const int64_t groups = std::max<int64_t>(row / (GROUP * VECTOR_BYTES), 1);
        // Rows that are a power of two apart would compete for the same cache lines.
        return (groups - 1) / 2 * 2 * GROUP + GROUP;
    }

    V* row(int64_t j) const { return logits + j * n; }

    static double total_of(const Doubles& sum) {
        double total = 0;
        for (int i = 0; i < LANES<T>; i++) total += sum[i];
        return total;
    }

    static T* numbers(V* vectors) { return reinterpret_cast<T*>(vectors); }

    // Calls a function with each part, and what is kept of it for the samples.
    template <class Function>
    void for_parts(Function function) {
        V* level = levels;
        for (int64_t j = 0; j < mixture.M; j += some, level += n)
            function({j, std::min(some, mixture.M - j)}, level);
    }

    void log_densities(Part part) {
        mixture.log_densities(part, tile, row(part.first));
    }

    // Of few terms, for the rounding of a sum of many.
    void add_exponentials(int64_t first, int64_t terms) {
        V* part = scratch;
        std::fill(part, part + n, V{});
        for (int64_t j = first; j < first + terms; j++) {
            is_left_out[j] = leaves_out && is_below(row(j));
            if (is_left_out[j]) continue;
            for (int64_t i = 0; i < n; i++)
                part[i] += row(j)[i] = exp2<T>(row(j)[i] - maxima[i], above);
        }
        for (int64_t i = 0; i < n; i++) totals[i] += part[i];
    }

    // Tells whether no log-density is so much.
    bool is_below(const V* log_densities) const {
        Integers<T> any = {};
        for (int64_t i = 0; i < n; i++) any |= log_densities[i] - maxima[i] > above;
        const auto* found = reinterpret_cast<const Integer<T>*>(&any);
        return std::all_of(found, found + LANES<T>, [](Integer<T> x) { return x == 0; });
    }

    // Reads samples as columns, and their weights.
    void read() {
        columns.read(start, count, n, coordinates);
        std::fill(coordinates + mixture.D * n, coordinates + rows * n, V{});
        std::fill(weights + 0, weights + n, V{});
        if (samples.weights)
            std::copy_n(samples.weights + start, count, numbers(weights));
        else
            std::fill_n(numbers(weights), count, T(1));
    }

    // The maxima so far are those of what else explains the samples.
    void read_rest() {
        std::fill(maxima + 0, maxima + n, rest);
        if (samples.rests)
            for (int64_t i = 0; i < count; i++)
                numbers(maxima)[i] = samples.rests[start + i] * T(to_base_2());
        if (has_rest) std::copy_n(maxima + 0, n, others + 0);
    }

    // Turns totals into the factors that scale responsibilities, and weigh them.
    void scale() {
        for (int64_t i = 0; i < n; i++)
            totals[i] = totals[i] > T(0) ? weights[i] / totals[i] : V{};
        for (int64_t i = 0; i < n_levels * n; i++) levels[i] *= totals[i % n];
    }

    const Samples<T> samples;
    const Mixture<T>& mixture;
    const Columns<T> columns;
    const bool has_rest;
    const V rest;
    const int64_t rows, kept;
    const int64_t some;      // components at a time
    const bool leaves_out;   // of them those that no sample of a tile needs
    // Which they must be, beside the maxima, to have moments: products of numbers that
    // are smaller still are no normal ones, which are slow.
    const T above;
    const int64_t n_levels;  // parts, if there are more than one
    const int64_t most;
    const Array<V> coordinates, logits, maxima, totals, weights, others, scratch, group;
    const Array<V> squares;
    const Array<V> levels;  // (n_levels, n)
    const Array<bool> is_left_out;
    Tile<T> tile;
    int64_t n = 0;
};

// What reductions to one result for each sample, or one for each pair, have in common.
struct OfSamples {
    static constexpr bool for_moments = false, pruned = false;
    template <class T>
    using Result = T;
    static int64_t size(int64_t n_samples, int64_t, int64_t) {
        return n_samples;
    }
};

struct LogDensity : OfSamples {
    template <class T>
    static void add(Tiles<T>& tile, const Mixture<T>&, T* out) {
        tile.exponentiate();
        std::copy_n(tile.log_density(), tile.count, out + tile.start);
    }
};

struct Labels : OfSamples {
    template <class T>
    using Result = int64_t;
    template <class T>
    static void add(Tiles<T>& tile, const Mixture<T>&, int64_t* out) {
        tile.log_densities();
        tile.labels(out + tile.start);
    }
};

struct Responsibilities : OfSamples {
    static int64_t size(int64_t n_samples, int64_t n_components, int64_t) {
        return times(n_samples, n_components);
    }
    template <class T>
    static void add(Tiles<T>& tile, const Mixture<T>& mixture, T* out) {
        tile.exponentiate();
        tile.responsibilities(out + tile.start * mixture.M);
    }
};

// Adds to the sums for the moments; to the log-likelihood and to the weight of the rest,
// which are kept after them.
struct Sums {
    static constexpr bool for_moments = true, pruned = false;
    template <class T>
    using Result = double;
    // Does not overflow: the mixture has as many numbers.
    static int64_t size(int64_t, int64_t, int64_t n_sums) {
        return n_sums + 2;
    }
    template <class T>
    static void add(Tiles<T>& tile, const Mixture<T>& mixture, double* sums) {
        tile.exponentiate();
        double* after = sums + mixture.sums_size();
        after[0] += tile.log_likelihood();
        after[1] += tile.add_moments(sums);
    }
};

// Returns what all results are where a component is NaN.
template <class Result>
Result of_nan(int64_t component) {
    if constexpr (std::is_integral_v<Result>) return component;
    return std::numeric_limits<Result>::quiet_NaN();
}

// Reduces samples to `size` results, in tiles for which so many bytes are `fit`.
template <class Reduction, class T, class Result>
void reduce(const Samples<T>& samples, const Mixture<T>& mixture, int64_t fit,
            int64_t size, Result* out) {
    if (mixture.first_nan() < mixture.M) {
        std::fill_n(out, size, of_nan<Result>(mixture.first_nan()));
        return;
    }
    Tiles<T> tiles(samples, mixture, fit, Reduction::for_moments);
    while (tiles.next()) Reduction::add(tiles, mixture, out);
}
