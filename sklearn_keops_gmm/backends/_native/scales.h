// Diagonal and spherical covariances: a scale for each feature, or one for all.
#pragma once

#include <algorithm>

#include "structures.h"

// Blocks of B features, of which a padded number is kept.
template <class T, int B, bool spherical>
class Scales final : public Structure<T> {
    using V = Vector<T>;

  public:
    explicit Scales(int n_features)
        : D(n_features), rows(padded(n_features, B)) {}

    int width() const override { return 1 + 2 * rows; }
    int factor_size() const override { return spherical ? 1 : D; }
    int sums_size() const override { return 1 + D + factor_size(); }

    void pack(double offset, const double* mean, const double* factor, double unit,
              T* packed) const override {
        packed[0] = offset;
        for (int a = 0; a < rows; a++) {
            packed[1 + a] = a < D ? mean[a] : 0.0;
            packed[1 + rows + a] = factor[spherical ? 0 : std::min(a, D - 1)] * unit;
        }
    }

    void log_densities(const T* packed, const Tile<T>& tile, V* out) const override {
        const int n = tile.n_vectors;
        const T *mean = packed + 1, *factor = mean + rows;
        for (int i = 0; i < n; i += GROUP) {
            V log_density[GROUP];
            UNROLL for (int v = 0; v < GROUP; v++) log_density[v] = all<T>(packed[0]);
            for (int a = 0; a < D; a++) {
                const V* x = tile.coordinates + a * n + i;
                UNROLL for (int v = 0; v < GROUP; v++) {
                    const V y = (x[v] - mean[a]) * factor[a];
                    log_density[v] -= y * y;
                }
            }
            UNROLL for (int v = 0; v < GROUP; v++) {
                out[i + v] = log_density[v];
                tile.level[i + v] = largest(log_density[v], tile.level[i + v]);
            }
        }
    }

    void add_moments(const T* packed, const Tile<T>& tile, const V* shares,
                     const V* scale, double* sums) const override {
        const int n = tile.n_vectors;
        V *share = tile.scratch, mass = {};
        for (int i = 0; i < n; i++) mass += share[i] = shares[i] * scale[i];
        sums[0] += sum<T>(mass);
        for (int a = 0; a < D; a += B) {
            const V* x = tile.coordinates + a * n;
            V found[2 * B] = {};  // first and second moments
            for (int i = 0; i < n; i++)
                UNROLL for (int k = 0; k < B; k++) {
                    const V z = x[k * n + i] - packed[1 + a + k];
                    const V weighted = share[i] * z;
                    found[k] += weighted;
                    found[B + k] += weighted * z;
                }
            double added[2 * B];
            sum_each<T>(found, added);
            for (int k = 0; k < std::min(B, D - a); k++) {
                sums[1 + a + k] += added[k];
                sums[1 + D + (spherical ? 0 : a + k)] += added[B + k];
            }
        }
    }

    void move(const double* shift, double* sums) const override {
        double *first = sums + 1, *second = first + D;
        for (int a = 0; a < D; a++) {
            second[spherical ? 0 : a] +=
                shift[a] * (2 * first[a] + sums[0] * shift[a]);
            first[a] += sums[0] * shift[a];
        }
    }

  private:
    const int D, rows;
};
