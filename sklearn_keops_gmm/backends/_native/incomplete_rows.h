// Expected moments of samples that miss features, a few at a time. Lanes of vectors are
// components.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "in_lanes.h"

class IncompleteRows {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;

  public:
    // Rows whose moments are added at once, and so many of them for each load of a sum.
    static constexpr int BATCH = 8, TOGETHER = 4;

    IncompleteRows(const ComponentsInLanes& given, SumsInLanes& sums)
        : M(given.M),
          D(given.D),
          blocks(given.blocks),
          given(given),
          sums(sums),
          upper(D * D),
          units(D),
          compact(2 * D),
          spread(times(BATCH, given.squares)),
          spread_mass(times(BATCH, blocks)),
          peak(times(BATCH, blocks)),
          z(times(BATCH, blocks * D)),
          logits(times(BATCH, blocks)),
          orders(BATCH * D) {
        std::fill(spread_mass + 0, spread_mass + BATCH * blocks, V{});
    }

    // Takes up to a batch of rows of one pattern, (count, D), of which only what is
    // observed is read, later on.
    void add(const uint8_t* observed, const double* given_rows, const double* weights,
             int64_t count) {
        if (n_slots == BATCH || n_rows + count > BATCH) flush();
        begin(observed);
        for (int64_t i = 0; i < count; i++, n_rows++) {
            rows[n_rows] = given_rows + i * D;
            weight[n_rows] = weights ? weights[i] : 1.0;
            slots[n_rows] = n_slots - 1;
        }
    }

    // Adds the moments of the rows that were taken.
    void flush() {
        for (int64_t v = 0; v < blocks; v++)
            for (int64_t s = 0, i = 0; s < n_slots; s++) {
                take_up(s);
                factorise(v);
                for (; i < n_rows && slots[i] == s; i++) complete(v, rows[i], i);
            }
        for (int64_t i = 0; i < n_rows; i++) share(i);
        for (; n_rows % TOGETHER; n_rows++)
            for (int64_t v = 0; v < blocks; v++) {
                logits[n_rows * blocks + v] = V{};
                std::fill_n(z + (n_rows * blocks + v) * D, D, V{});
            }
        for (int64_t v = 0; v < blocks; v++) {
            for (int64_t i = 0; i < n_rows; i += TOGETHER) add_rows(v, i);
            for (int64_t s = 0; s < n_slots; s++) add_spread(v, s);
        }
        n_rows = n_slots = 0;
    }

  private:
    // Notes a pattern, in a slot of its own: what is observed comes first.
    void begin(const uint8_t* observed) {
        int64_t *order = orders + n_slots * D, *last = order + D;
        n_seen[n_slots++] = std::count_if(observed, observed + D, is_set);
        for (int64_t a = 0; a < D; a++)
            if (observed[a]) *order++ = a;
        for (int64_t a = D; a-- > 0;)
            if (!observed[a]) *--last = a;
    }

    static bool is_set(uint8_t observed) { return observed; }

    void take_up(int64_t s) {
        slot = s;
        o = n_seen[s];
        q = D - o;
        seen = orders + s * D;
        m = seen + o;
    }

    V* conditional(int64_t s, int64_t v) const {
        return spread + (s * blocks + v) * D * D;
    }

    // Makes L D L^T of the missing block of the precisions, and its inverse, which is the
    // conditional covariance C.
    void factorise(int64_t v) {
        const V* of = given.precision(v);
        V determinant = all<double>(1.0), log = {};
        Integers<double> sound = ~Integers<double>{};
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = a; b < q; b++) upper[a * q + b] = of[m[a] * D + m[b]];
        for (int64_t k = 0; k < q; k++) {
            V* line = upper + k * q;  // of D L^T first, of L^T then
            const V pivot = line[k], unit = units[k] = 1.0 / pivot;
            sound &= pivot > 0.0;
            determinant *= pivot;
            if (k % 4 == 3 || k == q - 1) {  // before it overflows
                log += log2<double>(determinant);
                determinant = all<double>(1.0);
            }
            for (int64_t a = k + 1; a < q; a++) {
                const V factor = line[a] * unit;
                for (int64_t b = a; b < q; b++) upper[a * q + b] -= factor * line[b];
                line[a] = factor;
            }
        }
        for (int l = 0; l < L; l++) sums.nan |= !sound[l];
        V* C = conditional(slot, v);
        for (int64_t a = q; a-- > 0;) {
            const V* line = upper + a * q;
            for (int64_t b = a + 1; b < q; b++)
                C[a * q + b] = C[b * q + a] = -dot(line, C + b * q, a + 1, q);
            C[a * q + a] = units[a] - dot(line, C + a * q, a + 1, q);
        }
        peak[slot * blocks + v] = 0.5 * LN_2 * log - q * given.height;
    }

    // Writes the differences of a row to the means, with what is missing as expected,
    // and the log-densities.
    void complete(int64_t v, const double* x, int64_t row) {
        const V *of = given.precision(v), *C = conditional(slot, v);
        V *own = compact, *pull = compact + D;
        V *out = z + (row * blocks + v) * D, distance = {};
        for (int64_t a = 0; a < o; a++)
            out[seen[a]] = own[a] = x[seen[a]] - given.means[v * D + seen[a]];
        for (int64_t a = 0; a < o; a++) {
            const V* line = of + seen[a] * D;
            const V half = 0.5 * line[seen[a]] * own[a];
            distance += (half + picked(line, own, a + 1)) * own[a];
        }
        for (int64_t a = 0; a < q; a++) pull[a] = picked(of + m[a] * D, own, 0);
        for (int64_t a = 0; a < q; a++) {
            const V expected = dot(C + a * q, pull, 0, q);
            distance -= 0.5 * pull[a] * expected;
            out[m[a]] = -expected;
        }
        logits[row * blocks + v] = given.offsets[v] - peak[slot * blocks + v] - distance;
    }

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

    V picked(const V* line, const V* own, int64_t from) const {
        V even = {}, odd = {};
        for (; from + 1 < o; from += 2) {
            even += line[seen[from]] * own[from];
            odd += line[seen[from + 1]] * own[from + 1];
        }
        if (from < o) even += line[seen[from]] * own[from];
        return even + odd;
    }

    // Turns log-densities of a row into weighted responsibilities.
    void share(int64_t row) {
        V* own = logits + row * blocks;
        const double none = -std::numeric_limits<double>::infinity();
        V most = all<double>(none), parts = {};
        for (int64_t v = 0; v < blocks; v++) most = largest(own[v], most);
        double maximum = none, total = 0;
        for (int l = 0; l < L; l++) maximum = std::max(maximum, most[l]);
        for (int64_t v = 0; v < blocks; v++)
            parts += own[v] = exp2<double>((own[v] - maximum) * (1 / LN_2));
        for (int l = 0; l < L; l++) total += parts[l];
        // Where nothing is observed, the density is 1.
        const bool empty = n_seen[slots[row]] == 0;
        if (weight[row] > 0 && !empty)
            sums.log_likelihood += weight[row] * (maximum + std::log(total));
        const double scale = total > 0 ? weight[row] / total : 0;
        V* masses = spread_mass + slots[row] * blocks;
        for (int64_t v = 0; v < blocks; v++) {
            sums.mass[v] += own[v] *= scale;
            masses[v] += own[v];
        }
    }

    void add_rows(int64_t v, int64_t row) {
        const V *x[TOGETHER], *share = logits + row * blocks + v;
        UNROLL for (int k = 0; k < TOGETHER; k++) x[k] = z + ((row + k) * blocks + v) * D;
        for (int64_t a = 0; a < D; a++) {
            V weighted[TOGETHER], *to = sums.second + (v * D + a) * D, sum = {};
            UNROLL for (int k = 0; k < TOGETHER; k++)
                sum += weighted[k] = share[k * blocks] * x[k][a];
            sums.first[v * D + a] += sum;
            for (int64_t b = a; b < D; b++) {
                V found = to[b];
                UNROLL for (int k = 0; k < TOGETHER; k++) found += weighted[k] * x[k][b];
                to[b] = found;
            }
        }
    }

    // Adds the conditional covariances of a pattern, by the mass of its rows.
    void add_spread(int64_t v, int64_t s) {
        take_up(s);
        const V *C = conditional(s, v), own = spread_mass[s * blocks + v];
        for (int64_t a = 0; a < q; a++)
            for (int64_t b = a; b < q; b++)
                sums.second[(v * D + m[a]) * D + m[b]] += own * C[a * q + b];
        sums.add_missing(v, own, peak[s * blocks + v] - 0.5 * q);
        spread_mass[s * blocks + v] = V{};
    }

    const int64_t M, D, blocks;
    const ComponentsInLanes& given;
    SumsInLanes& sums;
    // Of the pattern at hand.
    const Array<V> upper, units, compact;
    const int64_t *seen = nullptr, *m = nullptr;
    int64_t o = 0, q = 0, slot = 0;
    // Of the patterns that rows of the batch have, and of these rows.
    const Array<V> spread, spread_mass, peak, z, logits;
    const Array<int64_t> orders;
    const double* rows[BATCH];
    int64_t n_seen[BATCH], slots[BATCH], n_slots = 0, n_rows = 0;
    double weight[BATCH];
};
