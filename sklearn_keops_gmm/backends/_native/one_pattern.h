// Expected moments of many samples that miss the same features: those of samples with
// fewer features, which each component completes once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "in_lanes.h"
#include "kinds.h"
#include "reductions.h"

class OnePattern {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;
    // Room for a tile, in bytes; and rows whose features are picked at once.
    static constexpr int64_t TILE = 1 << 22, ROWS = 1024;

  public:
    OnePattern(const ComponentsInLanes& given, SumsInLanes& sums)
        : M(given.M),
          D(given.D),
          given(given),
          sums(sums),
          factors(given.squares),
          slopes(D * D),
          inverse(D * D),
          first(D),
          second(D * D),
          product(D),
          peaks(given.blocks),
          offsets(M),
          means(times(M, D)),
          packed(times(M, D * D)),
          found(times(M, 1 + D + D * (D + 1) / 2) + 2),
          origin(D),
          kept(times(ROWS, D)),
          order(D) {
        std::fill_n(origin + 0, D, 0.0);
    }

    // Adds the moments of rows, (count, D), of which only what is observed is read; tells
    // whether it could: not if nothing is, or a precision is too near to singular.
    bool add(const uint8_t* observed, const double* rows, const double* weights,
             int64_t count) {
        o = 0;
        for (int64_t a = 0; a < D; a++)
            if (observed[a]) order[o++] = a;
        for (int64_t a = 0, at = o; a < D; a++)
            if (!observed[a]) order[at++] = a;
        q = D - o;
        for (int64_t v = 0; v < given.blocks; v++)
            if (o == 0 || !factorise(v)) return false;
        for (int64_t v = 0; v < given.blocks; v++) unpack(v);
        const Separate<double> marginals(
            full<double>(o), {M, o, offsets, means, packed, o * o});
        const int64_t size = marginals.sums_size() + 2;
        std::fill_n(found + 0, size, 0.0);
        for (int64_t i = 0; i < count; i += ROWS) {
            const int64_t n = std::min(ROWS, count - i);
            pick(rows + i * D, n);
            reduce<Sums>(Samples<double>{kept, weights ? weights + i : nullptr, n, origin,
                                         1.0},
                         marginals, TILE, size, found + 0);
        }
        sums.log_likelihood += found[size - 2];
        for (int64_t v = 0; v < given.blocks; v++) complete(v);
        return true;
    }

  private:
    V* factor(int64_t v) const { return factors + v * D * D; }

    // Makes U U^T of the precisions, U upper triangular, with what is missing last: its
    // first rows and columns are the factor of what is observed alone. The diagonal is
    // that of the inverse.
    bool factorise(int64_t v) {
        const V* of = given.precision(v);
        V *U = factor(v), determinant = all<double>(1.0), log = {};
        Integers<double> sound = ~Integers<double>{};
        for (int64_t k = D; k-- > 0;) {
            const V *row = U + k * D, *line = of + order[k] * D;
            V pivot = line[order[k]];
            for (int64_t l = k + 1; l < D; l++) pivot -= row[l] * row[l];
            sound &= pivot > 0.0;
            const V unit = U[k * D + k] = 1.0 / root(pivot);
            if (k >= o) determinant *= pivot;
            if (k >= o && (k % 4 == 0 || k == o)) {  // before it overflows
                log += log2<double>(determinant);
                determinant = all<double>(1.0);
            }
            for (int64_t a = 0; a < k; a++) {
                V* to = U + a * D;
                V even = line[order[a]], odd = {};
                int64_t l = k + 1;
                for (; l + 1 < D; l += 2) {
                    even -= to[l] * row[l];
                    odd -= to[l + 1] * row[l + 1];
                }
                if (l < D) even -= to[l] * row[l];
                to[k] = (even + odd) * unit;
            }
        }
        peaks[v] = 0.5 * LN_2 * log - q * given.height;
        for (int l = 0; l < L; l++)
            if (!sound[l]) return false;
        return true;
    }

    // Writes what a block has of what is observed, component by component.
    void unpack(int64_t v) {
        const V offset = given.offsets[v] - peaks[v], *U = factor(v);
        for (int l = 0; l < L && v * L + l < M; l++) {
            const int64_t j = v * L + l;
            double *mean = means + j * o, *to = packed + j * o * o;
            offsets[j] = offset[l];
            for (int64_t a = 0; a < o; a++) mean[a] = given.means[v * D + order[a]][l];
            for (int64_t a = 0; a < o; a++)
                for (int64_t b = a; b < o; b++)
                    to[a * o + b] = a == b ? 1 / U[a * D + a][l] : U[a * D + b][l];
        }
    }

    void pick(const double* rows, int64_t count) {
        double* to = kept;
        for (int64_t i = 0; i < count; i++, rows += D)
            for (int64_t a = 0; a < o; a++) *to++ = rows[order[a]];
    }

    // Adds the moments of a block: what is missing has the expectation B z, with slopes B,
    // and the covariance C.
    void complete(int64_t v) {
        const V mass = read(v);
        solve(v);
        sums.mass[v] += mass;
        for (int64_t a = 0; a < o; a++) {
            sums.first[v * D + order[a]] += first[a];
            for (int64_t b = a; b < o; b++) at(v, a, b) += second[a * D + b];
        }
        for (int64_t a = 0; a < q; a++) {
            const V* slope = slopes + a * D;
            sums.first[v * D + order[o + a]] += dot(slope, first, o);
            for (int64_t b = 0; b < o; b++) {
                product[b] = dot(slope, second + b * D, o);
                at(v, o + a, b) += product[b];
            }
            for (int64_t b = 0; b <= a; b++) {
                const V C = dot(inverse + a * D, inverse + b * D, b + 1);
                at(v, o + a, o + b) += dot(slopes + b * D, product, o) + mass * C;
            }
        }
        sums.add_missing(v, mass, peaks[v] - 0.5 * q);
    }

    // Reads the moments of what is observed, and returns the masses.
    V read(int64_t v) {
        const int64_t S = 1 + o + o * (o + 1) / 2;
        const int n = std::min<int64_t>(L, M - v * L);
        const double* of = found + v * L * S;
        auto gather = [&](int64_t at) {
            V gathered = {};
            for (int l = 0; l < n; l++) gathered[l] = of[l * S + at];
            return gathered;
        };
        int64_t from = 1;
        for (int64_t a = 0; a < o; a++) first[a] = gather(from++);
        for (int64_t a = 0; a < o; a++)
            for (int64_t b = a; b < o; b++)
                second[a * D + b] = second[b * D + a] = gather(from++);
        return gather(0);
    }

    // Makes slopes, (q, o), and the inverse of the factor of what is missing, transposed.
    void solve(int64_t v) {
        const V* U = factor(v);
        for (int64_t a = 0; a < q; a++) {
            const V unit = U[(o + a) * D + o + a];
            for (int64_t b = 0; b < o; b++) {
                V sum = U[b * D + o + a];
                for (int64_t k = 0; k < a; k++)
                    sum += U[(o + k) * D + o + a] * slopes[k * D + b];
                slopes[a * D + b] = -sum * unit;
            }
            for (int64_t b = 0; b < a; b++) {
                V sum = {};
                for (int64_t k = b; k < a; k++)
                    sum += U[(o + k) * D + o + a] * inverse[k * D + b];
                inverse[a * D + b] = -sum * unit;
            }
            inverse[a * D + a] = unit;
        }
    }

    static V dot(const V* a, const V* b, int64_t count) {
        V even = {}, odd = {};
        int64_t k = 0;
        for (; k + 1 < count; k += 2) {
            even += a[k] * b[k];
            odd += a[k + 1] * b[k + 1];
        }
        if (k < count) even += a[k] * b[k];
        return even + odd;
    }

    // The second moment of two features, by their places in the order.
    V& at(int64_t v, int64_t a, int64_t b) const {
        const auto [low, high] = std::minmax(order[a], order[b]);
        return sums.second[(v * D + low) * D + high];
    }

    const int64_t M, D;
    const ComponentsInLanes& given;
    SumsInLanes& sums;
    // Of all blocks, and of one.
    const Array<V> factors, slopes, inverse, first, second, product, peaks;
    // Of the components of what is observed.
    const Array<double> offsets, means, packed, found, origin;
    const Array<double> kept;    // what rows have of the features that are observed
    const Array<int64_t> order;  // what is observed comes first
    int64_t o = 0, q = 0;
};
