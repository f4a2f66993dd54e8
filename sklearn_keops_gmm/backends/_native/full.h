// Matrices: the factor is upper triangular, second moments are an upper triangle.
#pragma once

#include <algorithm>

#include "structures.h"

// Shared by the two below: how many sums, and how they move.
template <class T>
class Full : public Structure<T> {
  public:
    using Structure<T>::Structure;
    using Structure<T>::D;

    int64_t sums_size() const override { return 1 + D + D * (D + 1) / 2; }

    void move(const double* shift, double* sums) const override {
        const double mass = sums[0];
        double *first = sums + 1, *second = first + D;
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++)
                *second++ += first[a] * shift[b] + shift[a] * first[b] +
                             mass * shift[a] * shift[b];
        for (int64_t a = 0; a < D; a++) first[a] += mass * shift[a];
    }

    void log_densities(const T* packed, int64_t count, const Tile<T>& tile,
                       Vector<T>* out) const override {
        for (int64_t j = 0; j < count; j++)
            log_density(packed + j * this->width(), tile, out + j * tile.n_vectors);
    }

    void add_moments(const T* packed, int64_t count, const Tile<T>& tile,
                     Vector<T>* unscaled, const Vector<T>* scale,
                     double* sums) const override {
        for (int64_t j = 0; j < count; j++, sums += sums_size()) {
            prefetch(sums);
            add_moments(packed + j * this->width(), tile, unscaled + j * tile.n_vectors,
                        scale, sums);
        }
    }

  protected:
    // The same of one component.
    virtual void log_density(const T* packed, const Tile<T>& tile,
                             Vector<T>* out) const = 0;
    virtual void add_moments(const T* packed, const Tile<T>& tile,
                             const Vector<T>* unscaled, const Vector<T>* scale,
                             double* sums) const = 0;

  private:
    // The processor does not see which sums squares of a triangle are added to.
    void prefetch(const double* sums) const {
        for (int64_t k = 0; k < sums_size(); k += 8) __builtin_prefetch(sums + k, 1);
    }
};

// So few features that everything about a component stays in registers.
template <class T, int D>
class SmallFull final : public Full<T> {
    using V = Vector<T>;
    static constexpr int TRIANGLE = D * (D + 1) / 2;

  public:
    SmallFull() : Full<T>(D) {}

    int64_t width() const override { return 1 + D + TRIANGLE; }

    void pack(double offset, const double* mean, const double* factor, double unit,
              T* packed) const override {
        *packed++ = offset;
        for (int a = 0; a < D; a++) *packed++ = mean[a];
        for (int b = 0; b < D; b++)
            for (int a = 0; a <= b; a++) *packed++ = factor[a * D + b] * unit;
    }

    void log_density(const T* packed, const Tile<T>& tile, V* out) const override {
        const int64_t n = tile.n_vectors;
        const V* x = tile.coordinates;
        const T *mean = packed + 1, *factor = mean + D;
        for (int64_t i = 0; i < n; i++) {
            V z[D], found = all<T>(packed[0]);
            UNROLL for (int a = 0; a < D; a++) z[a] = x[a * n + i] - mean[a];
            int at = 0;
            UNROLL for (int b = 0; b < D; b++) {
                V y = z[0] * factor[at++];
                UNROLL for (int a = 1; a <= b; a++) y += z[a] * factor[at++];
                found -= y * y;
            }
            out[i] = found;
            tile.maximum[i] = largest(found, tile.maximum[i]);
        }
    }

    Ranges ranges(const T* packed, const Boxes& boxes) const override {
        const T *mean = packed + 1, *factor = mean + D;
        RangesOfSquares found;
        for (int b = 0; b < D; b++) {
            OfBoxes y = {}, half = {};
            for (int a = 0; a <= b; a++, factor++) {
                y += double(*factor) * (boxes.middle[a] - double(mean[a]));
                half += std::fabs(double(*factor)) * boxes.half[a];
            }
            found.add(y, half);
        }
        return found.below(packed[0]);
    }

    void add_moments(const T* packed, const Tile<T>& tile, const V* unscaled,
                     const V* scale, double* sums) const override {
        const int64_t n = tile.n_vectors;
        const V* x = tile.coordinates;
        const T* mean = packed + 1;
        V found[1 + D + TRIANGLE] = {};
        for (int64_t i = 0; i < n; i++) {
            const V weight = unscaled[i] * scale[i];
            V z[D];
            UNROLL for (int a = 0; a < D; a++) z[a] = x[a * n + i] - mean[a];
            found[0] += weight;
            int at = 1 + D;
            UNROLL for (int a = 0; a < D; a++) {
                const V first = weight * z[a];
                found[1 + a] += first;
                UNROLL for (int b = a; b < D; b++) found[at++] += first * z[b];
            }
        }
        double added[1 + D + TRIANGLE];
        sum_each<T>(found, added);
        for (int k = 0; k < 1 + D + TRIANGLE; k++) sums[k] += added[k];
    }
};

// Any number of features, a square of B x B of the matrix at a time.
template <class T, int B>
class BlockedFull final : public Full<T> {
    static_assert(B <= MAX_BLOCK);
    using V = Vector<T>;
    using Full<T>::D;
    // Rows of a square for which registers hold sums.
    static constexpr int ROWS = GROUP == 4 ? B : B % 2 ? 1 : 2;

  public:
    using Full<T>::Full;

    int64_t width() const override {
        int64_t size = 1 + D;
        for (int64_t b = 0; b < D; b += B) size += B * (b + B);
        return size;
    }

    // The factor is cut into bands of B columns, each down to the diagonal.
    void pack(double offset, const double* mean, const double* factor, double unit,
              T* packed) const override {
        *packed++ = offset;
        for (int64_t a = 0; a < D; a++) *packed++ = mean[a];
        for (int64_t b = 0; b < D; b += B)
            for (int64_t a = 0; a < b + B; a++)
                for (int64_t k = b; k < b + B; k++)
                    *packed++ = a <= k && k < D ? factor[a * D + k] * unit : 0.0;
    }

    void log_density(const T* packed, const Tile<T>& tile, V* out) const override {
        const int64_t n = tile.n_vectors;
        V* z = tile.scratch;  // (padded D, GROUP)
        std::fill(z + D * GROUP, z + padded(D, B) * GROUP, V{});
        for (int64_t i = 0; i < n; i += GROUP) {
            const V* x = tile.coordinates + i;
            V found[GROUP];
            for (int64_t a = 0; a < D; a++)
                UNROLL for (int v = 0; v < GROUP; v++)
                    z[a * GROUP + v] = x[a * n + v] - packed[1 + a];
            UNROLL for (int v = 0; v < GROUP; v++) found[v] = all<T>(packed[0]);
            const T* factor = packed + 1 + D;
            for (int64_t b = 0; b < D; b += B) {
                lower(z, b, factor, found);
                factor += B * (b + B);
            }
            UNROLL for (int v = 0; v < GROUP; v++) {
                out[i + v] = found[v];
                tile.maximum[i + v] = largest(found[v], tile.maximum[i + v]);
            }
        }
    }

    void add_moments(const T* packed, const Tile<T>& tile, const V* unscaled,
                     const V* scale, double* sums) const override {
        const int64_t n = tile.n_vectors, rows = padded(D, B);
        const V* x = tile.coordinates;
        V *z = tile.scratch, *weighted = z + rows * n, *weight = weighted + B * n;
        V mass = {};
        for (int64_t i = 0; i < n; i++) mass += weight[i] = unscaled[i] * scale[i];
        sums[0] += sum<T>(mass);
        std::fill(z + D * n, z + rows * n, V{});
        // From the last rows up: those that a square needs are there by then.
        for (int64_t a = rows - B; a >= 0; a -= B) {
            for (int64_t k = a; k < std::min(a + B, D); k++)
                for (int64_t i = 0; i < n; i++)
                    z[k * n + i] = x[k * n + i] - packed[1 + k];
            on_diagonal(a, n, z, weight, weighted, sums);
            for (int64_t b = a + B; b < D; b += B)
                off_diagonal(a, b, n, z, weighted, sums);
        }
    }

  private:
    // Takes B coordinates of factor^T z, from b on, off the log-densities.
    static void lower(const V* z, int64_t b, const T* factor, V* log_density) {
        V y[B][GROUP] = {};
        for (int64_t a = 0; a < b; a++, z += GROUP, factor += B)
            UNROLL for (int k = 0; k < B; k++)
                UNROLL for (int v = 0; v < GROUP; v++) y[k][v] += factor[k] * z[v];
        UNROLL for (int a = 0; a < B; a++, z += GROUP, factor += B)
            UNROLL for (int k = a; k < B; k++)
                UNROLL for (int v = 0; v < GROUP; v++) y[k][v] += factor[k] * z[v];
        UNROLL for (int k = 0; k < B; k++)
            UNROLL for (int v = 0; v < GROUP; v++) log_density[v] -= y[k][v] * y[k][v];
    }

    // Rows a to a + B: first moments, their square of the second, and `weighted`.
    void on_diagonal(int64_t a, int64_t n, const V* z, const V* weight, V* weighted,
                     double* sums) const {
        constexpr int TRIANGLE = B * (B + 1) / 2;
        V found[B + TRIANGLE] = {};
        z += a * n;
        for (int64_t i = 0; i < n; i++) {
            V row[B];
            UNROLL for (int k = 0; k < B; k++) row[k] = z[k * n + i];
            int to = B;
            UNROLL for (int k = 0; k < B; k++) {
                const V product = weighted[k * n + i] = weight[i] * row[k];
                found[k] += product;
                UNROLL for (int l = k; l < B; l++) found[to++] += product * row[l];
            }
        }
        double added[B + TRIANGLE];
        sum_each<T>(found, added);
        int from = B;
        for (int k = 0; k < B; k++)
            for (int l = k; l < B; l++, from++)
                if (a + l < D) sums[at(a + k, a + l)] += added[from];
        for (int k = 0; k < std::min<int64_t>(B, D - a); k++)
            sums[1 + a + k] += added[k];
    }

    // Rows a to a + B, which are `weighted`, with rows b to b + B.
    void off_diagonal(int64_t a, int64_t b, int64_t n, const V* z, const V* weighted,
                      double* sums) const {
        z += b * n;
        for (int k = 0; k < B; k += ROWS) {
            V found[ROWS * B] = {};
            const V* left = weighted + k * n;
            for (int64_t i = 0; i < n; i++)
                UNROLL for (int l = 0; l < B; l++)
                    UNROLL for (int m = 0; m < ROWS; m++)
                        found[m * B + l] += left[m * n + i] * z[l * n + i];
            double added[ROWS * B];
            sum_each<T>(found, added);
            for (int m = 0; m < ROWS; m++)
                for (int l = 0; l < std::min<int64_t>(B, D - b); l++)
                    sums[at(a + k + m, b + l)] += added[m * B + l];
        }
    }

    // Where the second moment of features a <= b is among the sums.
    int64_t at(int64_t a, int64_t b) const {
        return 1 + D + a * D - a * (a - 1) / 2 + b - a;
    }
};
