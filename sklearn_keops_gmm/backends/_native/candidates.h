// Sums in which each sample has few components, its candidates, and all others none.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "few.h"
#include "memory.h"

// What log-densities are of: samples, N of D numbers with or without weights, and M
// components as a kind packs them.
template <class T>
struct Operands {
    int64_t D;
    const T *rows, *weights, *packed;
};

// The best few of some components for a sample, by their log-densities to base 2.
template <class T, class Kind>
class Best {
  public:
    Best(const Kind& kind, const Operands<T>& of, int64_t K)
        : kind(kind), of(of), z(of.D), levels(K), ids(K) {}

    // At most so many.
    void begin(int64_t sample, int64_t most) {
        row = of.rows + sample * of.D;
        count = 0;
        K = most;
    }

    // A component, or none, -1.
    void add(int32_t j) {
        if (j < 0) return;
        const T level = kind.of_one(of.packed + j * kind.width(), row, z);
        if (!(level > -std::numeric_limits<T>::infinity())) return;
        if (count == K && !(level > levels[K - 1])) return;
        int64_t at = count < K ? count++ : K - 1;
        for (; at > 0 && level > levels[at - 1]; at--) {
            levels[at] = levels[at - 1];
            ids[at] = ids[at - 1];
        }
        levels[at] = level;
        ids[at] = j;
    }

    // Writes them, the best first, and -1 where there are no more. Where there is none at
    // all those that are held stay.
    void write(int32_t* held) const {
        if (count == 0) return;
        std::copy_n(ids + 0, count, held);
        std::fill(held + count, held + K, -1);
    }

    // Writes what the best `n` have of the sum of their densities, and returns that as a
    // logarithm.
    double share(int64_t n, T* shares) const {
        const int64_t known = std::min(n, count);
        std::fill(shares, shares + n, T(0));
        if (known == 0) return -std::numeric_limits<double>::infinity();
        const double top = levels[0];
        if (!std::isfinite(top)) return top;
        double sum = 0;
        for (int64_t c = 0; c < known; c++) sum += shares[c] = std::exp2(levels[c] - top);
        for (int64_t c = 0; c < known; c++) shares[c] /= sum;
        return top * std::log(2.0) + std::log(sum);
    }

  private:
    const Kind& kind;
    const Operands<T>& of;
    const Array<T> z, levels;
    const Array<int32_t> ids;
    const T* row = nullptr;
    int64_t K = 0, count = 0;
};

// Sorts numbers of items by their keys, which are below `n_groups`; those with a
// negative one are left out.
inline void group(const int32_t* keys, int64_t count, int64_t n_groups, int64_t* bounds,
                  int64_t* order) {
    std::fill_n(bounds, n_groups + 1, int64_t(0));
    for (int64_t i = 0; i < count; i++)
        if (keys[i] >= 0) bounds[keys[i] + 1]++;
    for (int64_t j = 0; j < n_groups; j++) bounds[j + 1] += bounds[j];
    std::vector<int64_t> next(bounds, bounds + n_groups);
    for (int64_t i = 0; i < count; i++)
        if (keys[i] >= 0) order[next[keys[i]]++] = i;
}

// A candidate whose share of a sample is below is none: far below the rounding of sums.
constexpr double NO_SHARE = 0x1p-44;

// Writes the weighted shares of the candidates of `count` samples, (count, K), which are
// sorted, the best first, and says in `keys` which have one. Returns the log-likelihood.
template <class T, class Kind>
double share(const Kind& kind, const Operands<T>& of, int64_t count, int64_t K,
             int32_t* candidates, T* shares, int32_t* keys) {
    double total = 0;
    Best<T, Kind> best(kind, of, K);
    for (int64_t i = 0; i < count; i++, shares += K, candidates += K, keys += K) {
        best.begin(i, K);
        for (int64_t c = 0; c < K; c++) best.add(candidates[c]);
        best.write(candidates);
        const double weight = of.weights ? of.weights[i] : 1.0;
        const double log_density = best.share(K, shares);
        std::fill_n(keys, K, -1);
        if (weight == 0) continue;
        total += weight * log_density;
        for (int64_t c = 0; c < K; c++) {
            if (shares[c] > NO_SHARE) keys[c] = candidates[c];
            shares[c] *= weight;
        }
    }
    return total;
}
