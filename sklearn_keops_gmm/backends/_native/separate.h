// Components that have a factor each.
#pragma once

#include <algorithm>
#include <memory>

#include "mixture.h"

template <class T>
class Separate final : public Mixture<T> {
  public:
    using Mixture<T>::M;
    using Mixture<T>::D;

    Separate(std::unique_ptr<const Structure<T>> of, const Components& given)
        : Mixture<T>(given.count, given.n_features),
          structure(std::move(of)),
          packed(times(M, structure->width())),
          components{*structure, packed},
          shifts(M * D) {
        for (int64_t j = 0; j < M; j++) {
            T* component = packed + j * structure->width();
            structure->pack(given.offsets[j] * to_base_2(), given.mean(j),
                            given.factor(j), unit_of_base_2(), component);
            for (int64_t a = 0; a < D; a++)
                shifts[j * D + a] = component[1 + a] - given.mean(j)[a];
        }
        nan = first_with_nan<T>(packed, M, structure->width());
    }

    const SeparateComponents<T>* separate() const override { return &components; }
    int64_t first_nan() const override { return nan; }
    int64_t sums_size() const override { return M * structure->sums_size(); }

    bool keeps_squares() const override { return structure->keeps_squares(); }

    int64_t at_a_time() const override { return SOME_COMPONENTS; }
    double cut() const override {
        return M > SOME_COMPONENTS ? negligible(M) : Mixture<T>::cut();
    }

    void log_densities(Part part, const Tile<T>& tile, Vector<T>* out) const override {
        structure->log_densities(components.component(part.first), part.count,
                                 tile.from(part.first), out);
    }

    // About the means as they were rounded.
    void add_moments(Part part, const Tile<T>& tile, Vector<T>* unscaled,
                     const Vector<T>* scale, double* sums) const override {
        structure->add_moments(components.component(part.first), part.count,
                               tile.from(part.first), unscaled, scale,
                               sums + part.first * structure->sums_size());
    }

    void settle(double* sums) const override {
        for (int64_t j = 0; j < M; j++)
            structure->move(shifts + j * D, sums + j * structure->sums_size());
    }

    int64_t second_size() const override { return M * (is_matrix() ? D * D : seconds()); }

    void write(const double* sums, const WrittenMoments& out) const override {
        double* second = out.second;
        for (int64_t j = 0; j < M; j++, sums += structure->sums_size()) {
            out.mass[j] = sums[0];
            std::copy_n(sums + 1, D, out.first + j * D);
            const double* entry = sums + 1 + D;
            if (!is_matrix()) {
                second = std::copy_n(entry, seconds(), second);
                continue;
            }
            for (int64_t a = 0; a < D; a++)
                for (int64_t b = a; b < D; b++)
                    second[a * D + b] = second[b * D + a] = *entry++;
            second += D * D;
        }
    }

  private:
    int64_t seconds() const { return structure->sums_size() - 1 - D; }
    // Then they are an upper triangle.
    bool is_matrix() const { return seconds() == D * (D + 1) / 2; }

    const std::unique_ptr<const Structure<T>> structure;
    const Array<T> packed;
    const SeparateComponents<T> components;
    const Array<double> shifts;  // (M, D): from the means as given to the rounded ones
    int64_t nan;
};
