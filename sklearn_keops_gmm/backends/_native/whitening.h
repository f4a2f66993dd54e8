// Coordinates in which a covariance that all components share is the unit matrix.
#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "mixture.h"

// Applies the transpose of a factor, which is upper triangular, in double precision:
// where features are nearly collinear large numbers cancel.
class Whitening {
    using V = Vector<double>;
    static constexpr int B = GROUP == 4 ? 4 : 2;  // of as many coordinates at a time
    static constexpr int64_t SOME = GROUP * LANES<double>;  // samples at a time

  public:
    Whitening(int64_t n_features, const double* factor)
        : D(n_features), bands(size()) {
        double* packed = bands;
        for (int64_t b = 0; b < D; b += B)
            for (int64_t a = 0; a < b + B; a++)
                for (int64_t k = b; k < b + B; k++)
                    *packed++ = a <= k && k < D ? factor[a * D + k] * unit_of_base_2()
                                                : 0.0;
    }

    bool is_nan() const {
        return std::any_of(bands + 0, bands + size(),
                           [](double x) { return std::isnan(x); });
    }

    // To one point, with the same roundings as in a tile.
    void apply(const double* point, double* out) const {
        const double* band = bands;
        for (int64_t b = 0; b < D; band += B * (b + B), b += B)
            for (int64_t k = b; k < std::min(b + B, D); k++) {
                double sum = 0;
                for (int64_t a = 0; a <= k; a++) sum += band[a * B + k - b] * point[a];
                out[k] = sum;
            }
    }

    // To a group of vectors of a tile, (D, n); writes (D, GROUP).
    template <class T>
    void apply(const Vector<T>* coordinates, int64_t n, double* scratch,
               Vector<T>* out) const {
        const T* x = reinterpret_cast<const T*>(coordinates);
        T* to = reinterpret_cast<T*>(out);
        constexpr int64_t row = GROUP * LANES<T>;
        static_assert(row % SOME == 0);
        for (int64_t i = 0; i < row; i += SOME) {
            for (int64_t a = 0; a < D; a++)
                for (int64_t l = 0; l < SOME; l++)
                    scratch[a * SOME + l] = x[a * n * LANES<T> + i + l];
            const double* band = bands;
            for (int64_t b = 0; b < D; band += B * (b + B), b += B) {
                V found[B][GROUP];
                multiply(reinterpret_cast<const V*>(scratch), std::min(b + B, D), band,
                         found);
                for (int64_t k = 0; k < std::min<int64_t>(B, D - b); k++)
                    std::copy_n(reinterpret_cast<const double*>(found[k]), SOME,
                                to + (b + k) * row + i);
            }
        }
    }

  private:
    static void multiply(const V* x, int64_t rows, const double* band,
                         V (&found)[B][GROUP]) {
        V sums[B][GROUP] = {};
        for (int64_t a = 0; a < rows; a++, x += GROUP, band += B)
            UNROLL for (int k = 0; k < B; k++)
                UNROLL for (int v = 0; v < GROUP; v++) sums[k][v] += band[k] * x[v];
        UNROLL for (int k = 0; k < B; k++)
            UNROLL for (int v = 0; v < GROUP; v++) found[k][v] = sums[k][v];
    }

    int64_t size() const { return padded(D, B) * (padded(D, B) + B) / 2; }

    const int64_t D;
    const Array<double> bands;  // B columns each, down to the diagonal
};
