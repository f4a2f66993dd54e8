// Components as the loops over a tile read them.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "full.h"
#include "memory.h"
#include "scales.h"
#include "structures.h"

template <class T>
std::unique_ptr<Structure<T>> small_full(int64_t n_features) {
    switch (n_features) {
        case 1: return std::make_unique<SmallFull<T, 1>>();
        case 2: return std::make_unique<SmallFull<T, 2>>();
        case 3: return std::make_unique<SmallFull<T, 3>>();
        case 4: return std::make_unique<SmallFull<T, 4>>();
        case 5: return std::make_unique<SmallFull<T, 5>>();
        case 6: return std::make_unique<SmallFull<T, 6>>();
        case 7: return std::make_unique<SmallFull<T, 7>>();
        default: return std::make_unique<SmallFull<T, 8>>();
    }
}

template <class T, bool spherical>
std::unique_ptr<Structure<T>> scales(int64_t n_features) {
    switch (n_features) {
        case 1: return std::make_unique<Scales<T, 1, spherical>>(n_features);
        case 2: return std::make_unique<Scales<T, 2, spherical>>(n_features);
        case 3: return std::make_unique<Scales<T, 3, spherical>>(n_features);
        default: return std::make_unique<Scales<T, 4, spherical>>(n_features);
    }
}

template <class T>
std::unique_ptr<Structure<T>> make_structure(const std::string& name,
                                             int64_t n_features) {
    if (name == "diag") return scales<T, false>(n_features);
    if (name == "spherical") return scales<T, true>(n_features);
    if (name != "full" && name != "tied")
        throw std::invalid_argument(
            "structure: expected 'full', 'tied', 'diag' or 'spherical', got '" + name +
            "'");
    if (n_features <= 8) return small_full<T>(n_features);
    if (padded(n_features, 5) < padded(n_features, 4))
        return std::make_unique<BlockedFull<T, 5>>(n_features);
    return std::make_unique<BlockedFull<T, 4>>(n_features);
}

// M components in the frame, with log-densities offset - 0.5 ||factor^T (x - mean)||^2.
struct Components {
    int64_t count;
    const double* offsets;  // (M)
    const double* means;    // (M, D)
    const double* factors;  // (M, D, D), (M, D) or (M)
    int64_t stride;            // from one factor to the next; 0 if all share one
};

// The same in the precision of the samples, and to base 2.
template <class T>
class Mixture {
  public:
    Mixture(std::unique_ptr<const Structure<T>> of, const Components& given)
        : structure(std::move(of)),
          M(given.count),
          packed(times(M, structure->width())),
          shifts(M * n_features()) {
        const double to_base_2 = 1 / std::log(2.0), unit = std::sqrt(0.5 * to_base_2);
        for (int64_t j = 0; j < M; j++) {
            const double* mean = given.means + j * n_features();
            T* component = packed + j * structure->width();
            structure->pack(given.offsets[j] * to_base_2, mean,
                            given.factors + j * given.stride, unit, component);
            for (int64_t a = 0; a < n_features(); a++)
                shifts[j * n_features() + a] = component[1 + a] - mean[a];
        }
        const auto is_nan = [](T x) { return std::isnan(x); };
        const T *begin = packed, *end = begin + M * structure->width();
        nan = (std::find_if(begin, end, is_nan) - begin) / structure->width();
    }

    int64_t count() const { return M; }
    int64_t n_features() const { return structure->D; }
    int64_t sums_size() const { return structure->sums_size(); }
    // The first component of which a number is NaN, or M if there is none.
    int64_t first_nan() const { return nan; }

    // Writes the log-densities of a tile, (M, n), and raises its maximum.
    void log_densities(const Tile<T>& tile, Vector<T>* out) const {
        structure->log_densities(packed, M, tile, out);
    }

    // Adds to sums, (M, S), moments about the means as they were rounded.
    void add_moments(const Tile<T>& tile, const Vector<T>* unscaled,
                     const Vector<T>* scale, double* sums) const {
        structure->add_moments(packed, M, tile, unscaled, scale, sums);
    }

    // Moves them to the means that were given.
    void settle(double* sums) const {
        for (int64_t j = 0; j < M; j++)
            structure->move(shifts + j * n_features(), sums + j * sums_size());
    }

  private:
    const std::unique_ptr<const Structure<T>> structure;
    const int64_t M;
    const Array<T> packed;
    const Array<double> shifts;  // (M, D): from the means as given to the rounded ones
    int64_t nan;
};
