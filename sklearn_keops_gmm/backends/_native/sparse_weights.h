// Weights W_j where their roots have a price: what lowers
// -sum_j r_j log W_j + price sum_j sqrt(W_j) over the simplex, for parts of the mass r_j
// above 0. Both ways are told, and argued for, in _model/_sparse_weights.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "memory.h"
#include "vectors.h"

class SparseWeights {
  public:
    // Parts of the mass that are 0 have no weight, and are not looked at again.
    SparseWeights(const double* mass, int64_t size, double price)
        : mass(mass), size(size), price(price), count(n_above_0(mass, size)),
          n_vectors((count + L - 1) / L), parts(n_vectors), weights(n_vectors),
          slopes(n_vectors) {
        gather(mass, parts);
    }

    // Writes the weights of all; where several are minima, one that is no higher than
    // `start`.
    void find(const double* start, double* found) {
        const V squares = over_all([&](int64_t v) { return parts[v] * parts[v]; });
        if (2 * std::sqrt(sum<double>(squares)) >= price) {
            minimise();
        } else {
            gather(start, weights);
            lower_by_tangents();
        }
        const double* next = reinterpret_cast<const double*>(&weights[0]);
        for (int64_t j = 0; j < size; j++) found[j] = mass[j] > 0 ? *next++ : 0.0;
    }

  private:
    using V = Vector<double>;
    static constexpr int L = LANES<double>, MOST_TANGENTS = 30, MOST_NEWTON = 60;
    static constexpr double LEAST_STEP = 1e-15, LEAST_CHANGE = 1e-12;
    // So that zeros after the last part stay zeros where the price is next to nothing.
    const V NOT_0 = all<double>(std::numeric_limits<double>::min());

    static int64_t n_above_0(const double* numbers, int64_t size) {
        return std::count_if(numbers, numbers + size, [](double x) { return x > 0; });
    }

    // Copies what belongs to parts above 0; after the last of them there are zeros.
    void gather(const double* from, V* to) const {
        if (n_vectors > 0) to[n_vectors - 1] = V{};
        double* next = reinterpret_cast<double*>(to);
        for (int64_t j = 0; j < size; j++)
            if (mass[j] > 0) *next++ = from[j];
    }

    template <class Term>
    V over_all(Term term) const {
        V total{};
        for (int64_t v = 0; v < n_vectors; v++) total += term(v);
        return total;
    }

    void scale_weights() {
        const double total =
            sum<double>(over_all([&](int64_t v) { return weights[v]; }));
        for (int64_t v = 0; v < n_vectors; v++) weights[v] /= total;
    }

    // Where the problem is convex in the roots: Newton's method for the multiplier.
    void minimise() {
        const double half = 0.5 * price;
        double multiplier = std::max(0.0, 1 - half * std::sqrt(double(count)));
        for (int i = 0; i < MOST_NEWTON; i++) {
            V squares{}, slope{};
            for (int64_t v = 0; v < n_vectors; v++) {
                const V square_root = root(
                    largest(half * half + 4 * multiplier * parts[v], NOT_0));
                const V found = 2 * parts[v] / (half + square_root);
                weights[v] = found * found;
                squares += weights[v];
                slope += weights[v] * found / square_root;
            }
            const double square = sum<double>(squares), norm = std::sqrt(square);
            const double step = (norm - 1) * square / sum<double>(slope);
            multiplier += step;
            if (!(step > LEAST_STEP)) break;
        }
        scale_weights();
    }

    // Elsewhere: the minimum under tangents of the roots, again and again.
    void lower_by_tangents() {
        scale_weights();
        for (int i = 0; i < MOST_TANGENTS; i++)
            if (follow_tangents() < LEAST_CHANGE) break;
    }

    // Goes to the minimum under the tangents at the weights; returns by how much one of
    // these changes at most.
    double follow_tangents() {
        // All that counts is how much steeper they are than the least steep.
        V least = all<double>(std::numeric_limits<double>::infinity());
        for (int64_t v = 0; v < n_vectors; v++) {
            slopes[v] = price / (2 * root(weights[v]));  // infinite for what is gone
            least = slopes[v] < least ? slopes[v] : least;
        }
        const double flat = lowest<double>(least, std::make_index_sequence<L>());
        V most = all<double>(-std::numeric_limits<double>::infinity());
        for (int64_t v = 0; v < n_vectors; v++) {
            slopes[v] -= flat;
            most = largest(parts[v] - slopes[v], most);
        }
        const double multiplier =
            newton(-lowest<double>(-most, std::make_index_sequence<L>()));
        const double total =
            sum<double>(over_all([&](int64_t v) { return share(v, multiplier); }));
        V changes{};
        for (int64_t v = 0; v < n_vectors; v++) {
            const V found = share(v, multiplier) / total, change = found - weights[v];
            weights[v] = found;
            changes = largest(largest(change, -change), changes);
        }
        return -lowest<double>(-changes, std::make_index_sequence<L>());
    }

    // Returns where all shares sum to 1, from a multiplier that is not above.
    double newton(double multiplier) const {
        for (int i = 0; i < MOST_NEWTON; i++) {
            V shares{}, slope{};
            for (int64_t v = 0; v < n_vectors; v++) {
                const V found = share(v, multiplier);
                shares += found;
                slope += found / (multiplier + slopes[v]);
            }
            const double total = sum<double>(shares);
            const double step = (total - 1) * total / sum<double>(slope);
            multiplier += step;
            if (!(step > LEAST_STEP)) break;
        }
        return multiplier;
    }

    V share(int64_t v, double multiplier) const {
        return parts[v] / (multiplier + slopes[v]);
    }

    const double* const mass;
    const int64_t size;
    const double price;
    const int64_t count, n_vectors;
    const Array<V> parts, weights, slopes;
};
