// Diagonal covariances: a scale for each feature.
#pragma once

#include <algorithm>

#include "structures.h"

// Blocks of B features, of which a padded number is kept.
template <class T, int B>
class Scales final : public Structure<T> {
    static_assert(B <= MAX_BLOCK);
    using V = Vector<T>;
    using Structure<T>::D;

  public:
    explicit Scales(int64_t n_features)
        : Structure<T>(n_features), rows(padded(n_features, B)) {}

    int64_t width() const override { return 1 + 2 * rows; }
    int64_t sums_size() const override { return 1 + 2 * D; }

    void pack(double offset, const double* mean, const double* factor, double unit,
              T* packed) const override {
        packed[0] = offset;
        for (int64_t a = 0; a < rows; a++) {
            packed[1 + a] = a < D ? mean[a] : 0.0;
            packed[1 + rows + a] = factor[std::min(a, D - 1)] * unit;
        }
    }

    Ranges ranges(const T* packed, const Boxes& boxes) const override {
        const T *mean = packed + 1, *factor = mean + rows;
        RangesOfSquares found;
        for (int64_t a = 0; a < D; a++)
            found.add(double(factor[a]) * (boxes.middle[a] - double(mean[a])),
                      std::fabs(double(factor[a])) * boxes.half[a]);
        return found.below(packed[0]);
    }

    // All components of some samples, whose coordinates stay in the nearest cache.
    void log_densities(const T* packed, int64_t count, const Tile<T>& tile,
                       V* out) const override {
        const int64_t n = tile.n_vectors;
        for (int64_t i = 0; i < n; i += GROUP) {
            int64_t j = 0;
            for (; j + 2 <= count; j += 2)
                log_density<2>(packed + j * width(), tile, i, out + j * n);
            for (; j < count; j++)
                log_density<1>(packed + j * width(), tile, i, out + j * n);
        }
    }

    // All components for some features, for the same reason.
    void add_moments(const T* packed, int64_t count, const Tile<T>& tile,
                     V* unscaled, const V* scale, double* sums) const override {
        const int64_t n = tile.n_vectors;
        for (int64_t j = 0; j < count; j++)
            sums[j * sums_size()] += weigh(unscaled + j * n, scale, n);
        for (int64_t a = 0; a < D; a += B)
            for (int64_t j = 0; j < count; j++)
                add_moments(packed + j * width(), tile, a, unscaled + j * n,
                            sums + j * sums_size());
    }

    void move(const double* shift, double* sums) const override {
        double *first = sums + 1, *second = first + D;
        for (int64_t a = 0; a < D; a++) {
            second[a] += shift[a] * (2 * first[a] + sums[0] * shift[a]);
            first[a] += sums[0] * shift[a];
        }
    }

  private:
    // Of COUNT components: more sums at a time than one of them has wait less.
    template <int COUNT>
    void log_density(const T* packed, const Tile<T>& tile, int64_t i, V* out) const {
        const int64_t n = tile.n_vectors;
        V squares[COUNT][GROUP] = {};
        for (int64_t a = 0; a < D; a++) {
            const V* x = tile.coordinates + a * n + i;
            const T *mean = packed + 1 + a, *factor = mean + rows;
            UNROLL for (int k = 0; k < COUNT; k++)
                UNROLL for (int v = 0; v < GROUP; v++) {
                    const V z = x[v] - mean[k * width()], y = z * factor[k * width()];
                    squares[k][v] += y * y;
                }
        }
        UNROLL for (int k = 0; k < COUNT; k++, out += n)
            UNROLL for (int v = 0; v < GROUP; v++) {
                out[i + v] = packed[k * width()] - squares[k][v];
                tile.maximum[i + v] = largest(out[i + v], tile.maximum[i + v]);
            }
    }

    // Scales responsibilities; returns their sum.
    static double weigh(V* responsibilities, const V* scale, int64_t n) {
        V mass = {};
        for (int64_t i = 0; i < n; i++) mass += responsibilities[i] *= scale[i];
        return sum<T>(mass);
    }

    // Of features a to a + B.
    void add_moments(const T* packed, const Tile<T>& tile, int64_t a, const V* weights,
                     double* sums) const {
        const int64_t n = tile.n_vectors;
        const V* x = tile.coordinates + a * n;
        V found[2 * B] = {};
        for (int64_t i = 0; i < n; i++)
            UNROLL for (int k = 0; k < B; k++) {
                const V z = x[k * n + i] - packed[1 + a + k], weighted = weights[i] * z;
                found[k] += weighted;
                found[B + k] += weighted * z;
            }
        double added[2 * B];
        sum_each<T>(found, added);
        for (int64_t k = 0; k < std::min<int64_t>(B, D - a); k++) {
            sums[1 + a + k] += added[k];
            sums[1 + D + a + k] += added[B + k];
        }
    }

    const int64_t rows;
};
