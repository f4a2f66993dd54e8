// Seeds of clusters by greedy k-means++: samples drawn in proportion to how far they
// are, squared, from all seeds until then, of which the best of some is kept.
//
// Draws and trials are those of scikit-learn's `kmeans_plusplus`. Blocks that a trial is
// too far from to change anything in are left out.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "blocks.h"
#include "memory.h"

template <class T>
class Seeding {
    using V = Vector<double>;
    static constexpr int L = LANES<double>;
    static constexpr int64_t RUN = 128;  // samples that are summed apart

  public:
    // Samples are columns in blocks, (blocks, D, BLOCK), of which the last one may be
    // repeated; `order`, (blocks, BLOCK), says where each is among all N. Weights, (N).
    Seeding(const T* columns, const int64_t* order, const double* weights,
            int64_t n_blocks, int64_t D, int64_t N)
        : columns(columns),
          order(order),
          weights(weights),
          n_blocks(n_blocks),
          D(D),
          N(N),
          n_runs((N + RUN - 1) / RUN),
          point(D),
          middles(n_blocks * D),
          radii(n_blocks),
          reaches(n_blocks),
          apart(n_blocks),
          closest(n_blocks * BLOCK),
          shares(n_blocks * BLOCK),
          charges(n_runs * RUN),
          runs(n_runs),
          places(N) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        for (int64_t i = n_blocks * BLOCK; i-- > 0;) places[order[i]] = i;
        for (int64_t i = 0; i < n_blocks * BLOCK; i++)
            shares[i] = places[order[i]] == i ? weights[order[i]] : 0.0;
        
        for (int64_t b = 0; b < n_blocks; b++) {
            radii[b] = enclose(block(b), D, point);
            for (int64_t a = 0; a < D; a++) middles[a * n_blocks + b] = point[a];
        }
        std::fill_n(closest + 0, n_blocks * BLOCK, infinity);
        std::fill_n(charges + 0, n_runs * RUN, 0.0);
        std::fill_n(reaches + 0, n_blocks, infinity);
    }

    // Writes K seeds, of which the first is given, with uniform numbers, (K - 1, trials).
    void draw(int64_t first, const double* uniform, int64_t trials, int64_t K,
              int64_t* seeds) {
        keep(seeds[0] = first);
        for (int64_t k = 1; k < K; k++, uniform += trials) {
            const double total = sum_runs();
            int64_t best = 0;
            double most = -1;
            for (int64_t t = 0; t < trials; t++) {
                const int64_t trial = find(uniform[t] * total);
                const double gain = gain_of(trial);
                if (gain <= most) continue;
                most = gain;
                best = trial;
            }
            keep(seeds[k] = best);
        }
    }

  private:
    const T* block(int64_t b) const { return columns + b * D * BLOCK; }

    double sum_runs() {
        double total = 0;
        for (int64_t r = 0; r < n_runs; r++) {
            V sums[4] = {};
            const V* from = reinterpret_cast<const V*>(charges + r * RUN);
            for (int64_t i = 0; i < RUN / L; i += 4)
                UNROLL for (int k = 0; k < 4; k++) sums[k] += from[i + k];
            total += runs[r] = sum<double>((sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
        return total;
    }

    // Returns the first sample up to which charges sum to so much.
    int64_t find(double sought) const {
        double before = 0;
        int64_t r = 0;
        while (r < n_runs - 1 && before + runs[r] < sought) before += runs[r++];
        for (int64_t i = r * RUN; i < N; i++)
            if ((before += charges[i]) >= sought) return i;
        return N - 1;
    }

    // Returns by how much a seed there lowers the sum of charges.
    double gain_of(int64_t sample) {
        V gains = {};
        visit(sample, [&](int64_t b, const V* squares) {
            const V* before = reinterpret_cast<const V*>(closest + b * BLOCK);
            const V* share = reinterpret_cast<const V*>(shares + b * BLOCK);
            UNROLL for (int64_t i = 0; i < BLOCK / L; i++)
                gains += share[i] * largest(before[i] - squares[i], V{});
        });
        return sum<double>(gains);
    }

    // Makes a sample a seed.
    void keep(int64_t sample) {
        visit(sample, [&](int64_t b, const V* found) {
            const double* squares = reinterpret_cast<const double*>(found);
            double* least = closest + b * BLOCK;
            for (int64_t i = 0; i < BLOCK; i++) {
                if (!(squares[i] < least[i])) continue;
                const int64_t row = order[b * BLOCK + i];
                least[i] = squares[i];
                charges[row] = weights[row] * squares[i];
            }
            const double reach = std::sqrt(*std::max_element(least, least + BLOCK));
            reaches[b] = (radii[b] + reach) * (1 + slack<double>(D));
        });
    }

    // Calls a function with each block in which distances from a sample may be smaller
    // than those from all seeds, and with their squares.
    template <class Function>
    void visit(int64_t sample, Function function) {
        const int64_t place = places[sample];
        const T* from = block(place / BLOCK) + place % BLOCK;
        for (int64_t a = 0; a < D; a++) point[a] = from[a * BLOCK];
        std::fill_n(apart + 0, n_blocks, 0.0);
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = 0; b < n_blocks; b++) {
                const double z = middles[a * n_blocks + b] - point[a];
                apart[b] += z * z;
            }
        for (int64_t b = 0; b < n_blocks; b++) {
            if (apart[b] > reaches[b] * reaches[b]) continue;
            V squares[BLOCK / L];
            squared_distances<double>(block(b), D, point + 0, squares);
            function(b, squares);
        }
    }

    const T* const columns;
    const int64_t* const order;
    const double* const weights;
    const int64_t n_blocks, D, N, n_runs;
    const Array<double> point;           // the seed, or trial, that is looked at
    const Array<double> middles, radii;  // of blocks: (D, blocks), (blocks)
    const Array<double> reaches;  // how far from their middles new seeds matter
    const Array<double> apart;    // how far these are from a sample, squared
    const Array<double> closest;  // squared distances to the closest seeds, by blocks
    const Array<double> shares;   // weights, by blocks, and zero where one is repeated
    const Array<double> charges;  // squared distances, weighed, in the order of samples
    const Array<double> runs;     // and sums of them
    const Array<int64_t> places;  // where a sample is in the blocks
};
