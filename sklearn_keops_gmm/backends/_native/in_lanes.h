// Components whose numbers are in the lanes of vectors, and sums over samples for each.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "memory.h"
#include "vectors.h"

constexpr double HALF_LOG_TAU = 0.91893853320467274178, LN_2 = 0.69314718055994530942;

// M components in the frame, by their precisions.
struct Precisions {
    int64_t count, n_features;
    const double* offsets;     // (M)
    const double* means;       // (M, D)
    const double* precisions;  // (M, D, D), or (D, D)
    int64_t stride;            // from one to the next; 0 if all share one
    double log_unit;           // the logarithm of the frame's unit
};

// The same, a block of as many components as there are lanes at a time.
struct ComponentsInLanes {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;

    explicit ComponentsInLanes(const Precisions& given)
        : M(given.count),
          D(given.n_features),
          blocks((M + L - 1) / L),
          squares(times(blocks, D * D)),
          height(given.log_unit + HALF_LOG_TAU),
          offsets(blocks),
          means(blocks * D),
          precisions(squares) {
        for (int64_t v = 0; v < blocks; v++)
            for (int l = 0; l < L; l++) {
                // Lanes that are left over repeat the last component, without weight.
                const bool some = v * L + l < M;
                const int64_t j = some ? v * L + l : M - 1;
                offsets[v][l] = some ? given.offsets[j]
                                     : -std::numeric_limits<double>::infinity();
                for (int64_t a = 0; a < D; a++)
                    means[v * D + a][l] = given.means[j * D + a];
                const double* of = given.precisions + j * given.stride;
                for (int64_t k = 0; k < D * D; k++) precision(v)[k][l] = of[k];
                for (int64_t k = 0; k < D * D; k++) nan |= std::isnan(of[k]);
                for (int64_t a = 0; a < D; a++) nan |= std::isnan(given.means[j * D + a]);
                nan |= std::isnan(given.offsets[j]);
            }
    }

    V* precision(int64_t v) const { return precisions + v * D * D; }

    const int64_t M, D, blocks, squares;
    // What the logarithm of a density's peak loses with a feature.
    const double height;
    const Array<V> offsets, means, precisions;
    bool nan = false;
};

// Moments of each component; the log-likelihood; and the expected log-density of what is
// missing.
struct SumsInLanes {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;

    explicit SumsInLanes(const ComponentsInLanes& of)
        : M(of.M), D(of.D), mass(of.blocks), first(of.blocks * D), second(of.squares) {
        std::fill(mass + 0, mass + of.blocks, V{});
        std::fill(first + 0, first + of.blocks * D, V{});
        std::fill(second + 0, second + of.squares, V{});
    }

    // Adds to the mass, the first and the second moments, those an upper triangle, of
    // each component, (M, S), and to what comes after them.
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

    // Adds masses times what the log-density of missing features is expected to be.
    void add_missing(int64_t v, V masses, V expected) {
        const V term = masses * expected;
        for (int l = 0; l < L && v * L + l < M; l++) missing += term[l];
    }

    const int64_t M, D;
    const Array<V> mass, first, second;
    double log_likelihood = 0, missing = 0;
    bool nan = false;  // whether all of them are
};
