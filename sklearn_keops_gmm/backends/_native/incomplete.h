// Expected moments of samples of which some features are missing. Lanes of vectors are
// components; the samples come pattern by pattern, in double precision and in the frame.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "memory.h"
#include "vectors.h"

// Rows whose moments are added at once, and so many of them for each load of a sum.
constexpr int BATCH = 8, TOGETHER = 4;
// From so many rows on a pattern is worth the matrices that make a row cheap.
constexpr int64_t SEVERAL = 4;

struct Patterns {
    int64_t count;
    const uint8_t* observed;  // (P, D)
    const int64_t* sizes;     // (P): how many rows each has
    const double* points;     // (N, D): zero where a feature is missing
    const double* weights;    // (N), or null for ones
};

// M components in the frame, by their precisions.
struct Precisions {
    int64_t count, n_features;
    const double* offsets;     // (M)
    const double* means;       // (M, D)
    const double* precisions;  // (M, D, D), or (D, D)
    int64_t stride;            // from one to the next; 0 if all share one
    double log_unit;           // the logarithm of the frame's unit
};

class IncompleteSums {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;

  public:
    explicit IncompleteSums(const Precisions& given)
        : M(given.count),
          D(given.n_features),
          blocks((M + L - 1) / L),
          squares(times(blocks, D * D)),
          height(given.log_unit + HALF_LOG_TAU),
          offset(blocks),
          mean(blocks * D),
          precision(squares),
          mass(blocks),
          first(blocks * D),
          second(squares),
          marginal(squares),
          slopes(squares),
          lower(D * D),
          inverse(D * D),
          pivots(D),
          compact(2 * D),
          spread(times(BATCH, squares)),
          spread_mass(times(BATCH, blocks)),
          peak(times(BATCH, blocks)),
          z(times(BATCH, blocks * D)),
          logits(times(BATCH, blocks)),
          seen(D),
          unseen(BATCH * D) {
        for (int64_t v = 0; v < blocks; v++)
            for (int l = 0; l < L; l++) {
                // Lanes that are left over repeat the last component, without weight.
                const bool some = v * L + l < M;
                const int64_t j = some ? v * L + l : M - 1;
                offset[v][l] = some ? given.offsets[j]
                                    : -std::numeric_limits<double>::infinity();
                for (int64_t a = 0; a < D; a++)
                    mean[v * D + a][l] = given.means[j * D + a];
                const double* of = given.precisions + j * given.stride;
                for (int64_t k = 0; k < D * D; k++) precision[v * D * D + k][l] = of[k];
                for (int64_t k = 0; k < D * D; k++) nan |= std::isnan(of[k]);
                for (int64_t a = 0; a < D; a++) nan |= std::isnan(given.means[j * D + a]);
                nan |= std::isnan(given.offsets[j]);
            }
        std::fill(mass + 0, mass + blocks, V{});
        std::fill(first + 0, first + blocks * D, V{});
        std::fill(second + 0, second + squares, V{});
        std::fill(spread_mass + 0, spread_mass + BATCH * blocks, V{});
    }

    void add(const Patterns& given) {
        const double *x = given.points, *weights = given.weights;
        for (int64_t p = 0; p < given.count; p++) {
            const int64_t size = given.sizes[p];
            if (n_slots == BATCH || n_rows + std::min(size, SEVERAL) > BATCH) flush(false);
            begin(given.observed + p * D);
            if (size < SEVERAL)
                few(x, weights, size);
            else
                several(x, weights, size);
            x += size * D;
            if (weights) weights += size;
        }
        flush(false);
    }

    // Adds to mass, first and second moments, those an upper triangle, of each
    // component, (M, S); then come the log-likelihood, and the expected log-density of
    // what is missing.
    void write(double* sums) const {
        const int64_t S = 1 + D + D * (D + 1) / 2;
        if (nan) {
            std::fill_n(sums, M * S + 2, std::numeric_limits<double>::quiet_NaN());
            return;
        }
        for (int64_t j = 0; j < M; j++) {
            const int64_t v = j / L, l = j % L;
            *sums++ += mass[v][l];
            for (int64_t a = 0; a < D; a++) *sums++ += first[v * D + a][l];
            for (int64_t a = 0; a < D; a++)
                for (int64_t b = a; b < D; b++)
                    *sums++ += second[(v * D + a) * D + b][l];
        }
        *sums++ += log_likelihood;
        *sums += missing;
    }

  private:
    static constexpr double HALF_LOG_TAU = 0.91893853320467274178;
    static constexpr double LN_2 = 0.69314718055994530942;

    // Takes up a pattern, in a slot of its own.
    void begin(const uint8_t* observed) {
        slot = n_slots++;
        int64_t* missing_ones = unseen + slot * D;
        o = q = 0;
        for (int64_t a = 0; a < D; a++)
            if (observed[a])
                seen[o++] = a;
            else
                missing_ones[q++] = a;
        n_unseen[slot] = q;
    }

    // Rows of a pattern that has few: each block is factorised once, for all of them.
    void few(const double* x, const double* given, int64_t size) {
        for (int64_t v = 0; v < blocks; v++) {
            factorise(v);
            for (int64_t i = 0; i < size; i++) complete_alone(v, x + i * D, n_rows + i);
        }
        for (int64_t i = 0; i < size; i++) count(given ? given[i] : 1.0);
    }

    void several(const double* x, const double* given, int64_t size) {
        for (int64_t v = 0; v < blocks; v++) {
            factorise(v);
            marginalise(v);
        }
        for (int64_t i = 0; i < size; i++) {
            if (n_rows == BATCH) flush(true);
            for (int64_t v = 0; v < blocks; v++) complete(v, x + i * D, n_rows);
            count(given ? given[i] : 1.0);
        }
    }

    void count(double weight) {
        weights[n_rows] = weight;
        slots[n_rows++] = slot;
    }

    const V* precisions(int64_t v) const { return precision + v * D * D; }
    V* conditional(int64_t s, int64_t v) const {
        return spread + (s * blocks + v) * D * D;
    }

    // Makes L D L^T of the missing block of the precisions, the inverse of L, and the
    // conditional covariance C, an upper triangle.
    void factorise(int64_t v) {
        const V* given = precisions(v);
        const int64_t* m = unseen + slot * D;
        V *column = compact, determinant = all<double>(1.0), log = {};
        Integers<double> sound = ~Integers<double>{};
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = 0; b <= a; b++)
                lower[a * D + b] = given[m[a] * D + m[b]];
        for (int64_t k = 0; k < q; k++) {
            const V pivot = lower[k * D + k];
            sound &= pivot > 0.0;
            pivots[k] = 1.0 / pivot;
            determinant *= pivot;
            if (k % 4 == 3 || k == q - 1) {  // before it overflows
                log += log2<double>(determinant);
                determinant = all<double>(1.0);
            }
            for (int64_t a = k + 1; a < q; a++) column[a] = lower[a * D + k];
            for (int64_t a = k + 1; a < q; a++) {
                const V factor = lower[a * D + k] = column[a] * pivots[k];
                for (int64_t b = k + 1; b <= a; b++)
                    lower[a * D + b] -= factor * column[b];
            }
        }
        for (int l = 0; l < L; l++) nan |= !sound[l];
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = 0; b < a; b++) {
                V found = lower[a * D + b];
                for (int64_t k = b + 1; k < a; k++)
                    found += lower[a * D + k] * inverse[k * D + b];
                inverse[a * D + b] = -found;
            }
        V* C = conditional(slot, v);
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = a; b < q; b++) {
                V found = pivots[b] * (a == b ? all<double>(1.0) : inverse[b * D + a]);
                for (int64_t k = b + 1; k < q; k++)
                    found += inverse[k * D + a] * pivots[k] * inverse[k * D + b];
                C[a * D + b] = found;
            }
        peak[slot * blocks + v] = 0.5 * LN_2 * log - q * height;
    }

    // Makes the slopes -C L_mo, (q, o), and the precision of what is observed alone, an
    // upper triangle with half of the diagonal.
    void marginalise(int64_t v) {
        const V *given = precisions(v), *C = conditional(slot, v);
        const int64_t* m = unseen + slot * D;
        V *B = slopes + v * D * D, *out = marginal + v * D * D;
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = 0; b < o; b++) {
                V found = {};
                for (int64_t k = 0; k < q; k++)
                    found -= C[std::min(a, k) * D + std::max(a, k)] *
                             given[m[k] * D + seen[b]];
                B[a * D + b] = found;
            }
        for (int64_t a = 0; a < o; a++)
            for (int64_t b = a; b < o; b++) {
                V found = given[seen[a] * D + seen[b]];
                for (int64_t k = 0; k < q; k++)
                    found += given[seen[a] * D + m[k]] * B[k * D + b];
                out[a * D + b] = a == b ? 0.5 * found : found;
            }
    }

    // Writes the differences of a row to the means, with what is missing as expected,
    // and the log-densities.
    void complete(int64_t v, const double* x, int64_t row) {
        const V *B = slopes + v * D * D, *of = marginal + v * D * D;
        const int64_t* m = unseen + slot * D;
        V *given = compact, *out = z + (row * blocks + v) * D, distance = {};
        for (int64_t a = 0; a < o; a++)
            out[seen[a]] = given[a] = x[seen[a]] - mean[v * D + seen[a]];
        for (int64_t a = 0; a < o; a++)
            distance += dot(of + a * D, given, a, o) * given[a];
        for (int64_t a = 0; a < q; a++) out[m[a]] = dot(B + a * D, given, 0, o);
        logits[row * blocks + v] = density(v) - distance;
    }

    // The same by the factors that are there for one block.
    void complete_alone(int64_t v, const double* x, int64_t row) {
        const V* of = precisions(v);
        const int64_t* m = unseen + slot * D;
        V *given = compact, *t = compact + D;
        V *out = z + (row * blocks + v) * D, distance = {};
        for (int64_t a = 0; a < o; a++)
            out[seen[a]] = given[a] = x[seen[a]] - mean[v * D + seen[a]];
        for (int64_t a = 0; a < o; a++) {
            const V* line = of + seen[a] * D;
            const V half = 0.5 * line[seen[a]] * given[a];
            distance += (half + picked(line, given, a + 1)) * given[a];
        }
        for (int64_t a = 0; a < q; a++) {
            t[a] = picked(of + m[a] * D, given, 0) - dot(lower + a * D, t, 0, a);
            distance -= 0.5 * t[a] * t[a] * pivots[a];
        }
        for (int64_t a = 0; a < q; a++) {
            V found = t[a] * pivots[a];
            for (int64_t k = a + 1; k < q; k++)
                found += inverse[k * D + a] * (t[k] * pivots[k]);
            out[m[a]] = -found;
        }
        logits[row * blocks + v] = density(v) - distance;
    }

    V density(int64_t v) const { return offset[v] - peak[slot * blocks + v]; }

    // Two sums at a time do not wait for each other.
    static V dot(const V* a, const V* b, int64_t from, int64_t to) {
        V even = {}, odd = {};
        for (; from + 1 < to; from += 2) {
            even += a[from] * b[from];
            odd += a[from + 1] * b[from + 1];
        }
        if (from < to) even += a[from] * b[from];
        return even + odd;
    }

    V picked(const V* line, const V* given, int64_t from) const {
        V even = {}, odd = {};
        for (; from + 1 < o; from += 2) {
            even += line[seen[from]] * given[from];
            odd += line[seen[from + 1]] * given[from + 1];
        }
        if (from < o) even += line[seen[from]] * given[from];
        return even + odd;
    }

    // Turns log-densities of a row into weighted responsibilities.
    void share(int64_t row) {
        V* own = logits + row * blocks;
        const double none = -std::numeric_limits<double>::infinity();
        V most = all<double>(none), sums = {};
        for (int64_t v = 0; v < blocks; v++) most = largest(own[v], most);
        double maximum = none, total = 0;
        for (int l = 0; l < L; l++) maximum = std::max(maximum, most[l]);
        for (int64_t v = 0; v < blocks; v++)
            sums += own[v] = exp2<double>((own[v] - maximum) * (1 / LN_2));
        for (int l = 0; l < L; l++) total += sums[l];
        // Where nothing is observed, the density is 1.
        const bool empty = n_unseen[slots[row]] == D;
        if (weights[row] > 0 && !empty)
            log_likelihood += weights[row] * (maximum + std::log(total));
        const double scale = total > 0 ? weights[row] / total : 0;
        V* masses = spread_mass + slots[row] * blocks;
        for (int64_t v = 0; v < blocks; v++) {
            mass[v] += own[v] *= scale;
            masses[v] += own[v];
        }
    }

    // Adds the moments of the rows, and of all patterns but that which continues.
    void flush(bool continues) {
        for (int64_t i = 0; i < n_rows; i++) share(i);
        for (; n_rows % TOGETHER; n_rows++)
            for (int64_t v = 0; v < blocks; v++) {
                logits[n_rows * blocks + v] = V{};
                std::fill_n(z + (n_rows * blocks + v) * D, D, V{});
            }
        for (int64_t v = 0; v < blocks; v++)
            for (int64_t i = 0; i < n_rows; i += TOGETHER) add_rows(v, i);
        n_rows = 0;
        const int64_t done = n_slots - continues;
        for (int64_t s = 0; s < done; s++) add_spread(s);
        if (continues && done > 0) move_to_front();
        n_slots = continues;
        if (continues) slot = 0;
    }

    void add_rows(int64_t v, int64_t row) {
        const V *x[TOGETHER], *share = logits + row * blocks + v;
        UNROLL for (int k = 0; k < TOGETHER; k++) x[k] = z + ((row + k) * blocks + v) * D;
        for (int64_t a = 0; a < D; a++) {
            V weighted[TOGETHER], *to = second + (v * D + a) * D, sum = {};
            UNROLL for (int k = 0; k < TOGETHER; k++)
                sum += weighted[k] = share[k * blocks] * x[k][a];
            first[v * D + a] += sum;
            for (int64_t b = a; b < D; b++) {
                V found = to[b];
                UNROLL for (int k = 0; k < TOGETHER; k++) found += weighted[k] * x[k][b];
                to[b] = found;
            }
        }
    }

    // Adds the conditional covariances of a pattern, by the mass of its rows.
    void add_spread(int64_t s) {
        const int64_t *m = unseen + s * D, q = n_unseen[s];
        for (int64_t v = 0; v < blocks; v++) {
            const V *C = conditional(s, v), own = spread_mass[s * blocks + v];
            for (int64_t a = 0; a < q; a++)
                for (int64_t b = a; b < q; b++)
                    second[(v * D + m[a]) * D + m[b]] += own * C[a * D + b];
            const V term = own * (peak[s * blocks + v] - 0.5 * q);
            for (int l = 0; l < L && v * L + l < M; l++) missing += term[l];
            spread_mass[s * blocks + v] = V{};
        }
    }

    void move_to_front() {
        std::copy_n(conditional(slot, 0), blocks * D * D, conditional(0, 0));
        std::copy_n(spread_mass + slot * blocks, blocks, spread_mass + 0);
        std::copy_n(peak + slot * blocks, blocks, peak + 0);
        std::copy_n(unseen + slot * D, D, unseen + 0);
        std::fill_n(spread_mass + slot * blocks, blocks, V{});
        n_unseen[0] = n_unseen[slot];
    }

    const int64_t M, D, blocks, squares;
    const double height;
    const Array<V> offset, mean, precision, mass, first, second;
    // Of the pattern at hand.
    const Array<V> marginal, slopes, lower, inverse, pivots, compact;
    // Of the patterns that rows of the batch have, and of these rows.
    const Array<V> spread, spread_mass, peak, z, logits;
    const Array<int64_t> seen, unseen;
    int64_t n_unseen[BATCH], slots[BATCH];
    double weights[BATCH];
    int64_t o = 0, q = 0, slot = 0, n_slots = 0, n_rows = 0;
    double log_likelihood = 0, missing = 0;
    bool nan = false;
};
