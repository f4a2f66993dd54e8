// Spherical covariances: one scale for all features.
#pragma once

#include <algorithm>

#include "products.h"
#include "structures.h"

// Blocks of B features, of which a padded number is kept.
template <class T, int B>
class Spherical final : public Structure<T> {
    static_assert(B <= MAX_BLOCK);
    using V = Vector<T>;
    using Structure<T>::D;
    // Components for which registers hold means and first moments of a block.
    static constexpr int SOME = GROUP == 4 ? 3 : 1;

  public:
    explicit Spherical(int64_t n_features)
        : Structure<T>(n_features), rows(padded(n_features, B)) {}

    int64_t width() const override { return 2 + rows; }
    int64_t sums_size() const override { return 2 + D; }
    // One block is read once, and needs none.
    bool keeps_squares() const override { return D > B; }

    void pack(double offset, const double* mean, const double* factor, double unit,
              T* packed) const override {
        *packed++ = offset;
        for (int64_t a = 0; a < rows; a++) *packed++ = a < D ? mean[a] : 0.0;
        *packed = *factor * unit;
    }

    Ranges ranges(const T* packed, const Boxes& boxes) const override {
        const T* mean = packed + 1;
        const double factor = mean[rows];
        RangesOfSquares found;
        for (int64_t a = 0; a < D; a++)
            found.add(factor * (boxes.middle[a] - double(mean[a])),
                      std::fabs(factor) * boxes.half[a]);
        return found.below(packed[0]);
    }

    // All components of some samples, whose coordinates stay in the nearest cache.
    void log_densities(const T* packed, int64_t count, const Tile<T>& tile,
                       V* out) const override {
        for (int64_t i = 0; i < tile.n_vectors; i += GROUP) {
            int64_t j = 0;
            for (; j + SQUARE <= count; j += SQUARE)
                log_density<SQUARE>(packed, tile, i, j, out);
            for (; j < count; j++) log_density<1>(packed, tile, i, j, out);
        }
    }

    void add_moments(const T* packed, int64_t count, const Tile<T>& tile, V* unscaled,
                     const V* scale, double* sums) const override {
        const int64_t n = tile.n_vectors;
        if (!keeps_squares())
            return add_small(packed, count, tile, unscaled, scale, sums);
        for (int64_t j = 0; j < count; j++)
            weigh(unscaled + j * n, scale, tile.squares + j * n, n,
                  sums + j * sums_size());
        for (int64_t a = 0; a < D; a += B) {
            int64_t j = 0;
            for (; j + SOME <= count; j += SOME)
                add_first<SOME>(packed, tile, a, j, unscaled, sums);
            for (; j < count; j++) add_first<1>(packed, tile, a, j, unscaled, sums);
        }
    }

    void move(const double* shift, double* sums) const override {
        double *first = sums + 1, *trace = first + D;
        for (int64_t a = 0; a < D; a++) {
            *trace += shift[a] * (2 * first[a] + sums[0] * shift[a]);
            first[a] += sums[0] * shift[a];
        }
    }

  private:
    template <int COUNT>
    void log_density(const T* packed, const Tile<T>& tile, int64_t i, int64_t j,
                     V* out) const {
        const int64_t n = tile.n_vectors;
        packed += j * width();
        V squares[COUNT][GROUP];
        squared_distances<T>(tile.coordinates + i, n, packed + 1, width(), D, squares);
        UNROLL for (int k = 0; k < COUNT; k++) {
            const T *own = packed + k * width(), factor = own[1 + rows];
            UNROLL for (int v = 0; v < GROUP; v++) {
                const int64_t at = (j + k) * n + i + v;
                out[at] = own[0] - squares[k][v] * factor * factor;
                if (tile.squares) tile.squares[at] = squares[k][v];
                tile.maximum[i + v] = largest(out[at], tile.maximum[i + v]);
            }
        }
    }

    // Scales responsibilities, and adds the mass and the trace of the second moment.
    void weigh(V* responsibilities, const V* scale, const V* squares, int64_t n,
               double* sums) const {
        V found[2] = {};
        for (int64_t i = 0; i < n; i++) {
            const V weight = responsibilities[i] *= scale[i];
            found[0] += weight;
            // Squares may be infinite where responsibilities are 0.
            found[1] += weight > T(0) ? weight * squares[i] : V{};
        }
        double added[2];
        sum_each<T>(found, added);
        sums[0] += added[0];
        sums[1 + D] += added[1];
    }

    // Everything at once, of one block of features.
    void add_small(const T* packed, int64_t count, const Tile<T>& tile,
                   const V* unscaled, const V* scale, double* sums) const {
        const int64_t n = tile.n_vectors;
        for (int64_t j = 0; j < count; j++) {
            const T* mean = packed + j * width() + 1;
            V found[2 + B] = {};
            for (int64_t i = 0; i < n; i++) {
                const V weight = unscaled[j * n + i] * scale[i];
                V squares = {};
                UNROLL for (int l = 0; l < B; l++) {
                    const V z = tile.coordinates[l * n + i] - mean[l];
                    found[1 + l] += weight * z;
                    squares += z * z;
                }
                found[0] += weight;
                found[1 + B] += weight > T(0) ? weight * squares : V{};
            }
            double added[2 + B];
            sum_each<T>(found, added);
            double* own = sums + j * sums_size();
            for (int64_t k = 0; k < 1 + D; k++) own[k] += added[k];
            own[1 + D] += added[1 + B];
        }
    }

    // First moments of features a to a + B.
    template <int COUNT>
    void add_first(const T* packed, const Tile<T>& tile, int64_t a, int64_t j,
                   const V* weights, double* sums) const {
        const int64_t n = tile.n_vectors;
        const V *x = tile.coordinates + a * n, *weight = weights + j * n;
        const T* mean = packed + j * width() + 1 + a;
        V found[COUNT * B] = {};
        for (int64_t i = 0; i < n; i++)
            UNROLL for (int k = 0; k < COUNT; k++) {
                const V own = weight[k * n + i];
                UNROLL for (int l = 0; l < B; l++)
                    found[k * B + l] += own * (x[l * n + i] - mean[k * width() + l]);
            }
        double added[COUNT * B];
        sum_each<T>(found, added);
        for (int k = 0; k < COUNT; k++)
            for (int64_t l = 0; l < std::min<int64_t>(B, D - a); l++)
                sums[(j + k) * sums_size() + 1 + a + l] += added[k * B + l];
    }

    const int64_t rows;
};
