// Components that share a factor, of a few features.
#pragma once

#include <algorithm>

#include "separate.h"

// As if each had its own factor, with sums over the components at the end.
template <class T>
class PairwiseTied final : public Mixture<T> {
  public:
    using Mixture<T>::M;
    using Mixture<T>::D;

    PairwiseTied(std::unique_ptr<const Structure<T>> full, const Components& given)
        : Mixture<T>(given.count, given.n_features),
          of_each(full->sums_size()),
          each(std::move(full), given) {}

    const SeparateComponents<T>* separate() const override { return each.separate(); }
    int64_t first_nan() const override { return each.first_nan(); }
    // First sums of each component, then what `settle` writes.
    int64_t sums_size() const override {
        return std::max(each.sums_size(), M + M * D + D * D);
    }

    int64_t at_a_time() const override { return each.at_a_time(); }
    double cut() const override { return each.cut(); }

    void log_densities(Part part, const Tile<T>& tile, Vector<T>* out) const override {
        each.log_densities(part, tile, out);
    }

    void add_moments(Part part, const Tile<T>& tile, Vector<T>* unscaled,
                     const Vector<T>* scale, double* sums) const override {
        each.add_moments(part, tile, unscaled, scale, sums);
    }

    // Writes the masses of all, the first moments, and one second moment, (D, D).
    void settle(double* sums) const override {
        each.settle(sums);
        const Array<double> parts(each.sums_size()), pooled(of_each - 1 - D);
        std::copy_n(sums, each.sums_size(), parts + 0);
        std::fill_n(pooled + 0, of_each - 1 - D, 0.0);
        double *mass = sums, *first = mass + M, *second = first + M * D;
        for (const double* own = parts; own < parts + M * of_each; own += of_each) {
            *mass++ = own[0];
            first = std::copy_n(own + 1, D, first);
            for (int64_t k = 0; k < of_each - 1 - D; k++) pooled[k] += own[1 + D + k];
        }
        const double* entry = pooled;
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++)
                second[a * D + b] = second[b * D + a] = *entry++;
    }

    int64_t second_size() const override { return D * D; }
    void write(const double* sums, const WrittenMoments& out) const override {
        write_pooled(sums, M, D, out);
    }

  private:
    const int64_t of_each;
    const Separate<T> each;
};
