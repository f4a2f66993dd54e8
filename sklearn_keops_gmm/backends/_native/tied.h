// Components that share a factor: it is applied to each sample, and not to each pair.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "anchors.h"
#include "mixture.h"
#include "products.h"
#include "whitening.h"

// How far from an anchor components may be, in widths: the square of that is how many
// times the rounding error of a variance there may be in the pooled one.
template <class T>
constexpr double REACH = sizeof(T) == sizeof(double) ? 64 : 8;

// Distances cost one operation for each feature, in whitened coordinates, and so do
// moments. With shares w_ij, s_i = sum_j w_ij, the anchor c_i of a sample, near which
// its likely components m_j are, and y_i = x_i - c_i, the pooled second moment is
//
//   sum_i s_i y_i y_i^T - (Z + Z^T) + sum_ij w_ij (m_j - c_i) (m_j - c_i)^T,
//   Z = sum_ij w_ij y_i (m_j - c_i)^T = sum_j g_j m_j^T - sum_c h_c c^T
//
// of g_j = sum_i w_ij y_i, h_c = sum over the samples of an anchor of s_i y_i, and the
// sum of w_ij for each component and anchor. No large numbers are subtracted: that is
// what more than one anchor is for.
template <class T>
class Tied final : public Mixture<T> {
    using V = Vector<T>;

  public:
    using Mixture<T>::M;
    using Mixture<T>::D;

    explicit Tied(const Components& given)
        : Mixture<T>(given.count, given.n_features),
          whitening(D, given.factors),
          offsets(M),
          means(M * D),
          shifts(M * D),
          whitened(M * D),
          anchors(means + 0, whiten(given), M, D, REACH<T>) {
        for (int64_t j = 0; j < M; j++) offsets[j] = given.offsets[j] * to_base_2();
        nan = std::min({first_with_nan<T>(means, M, D),
                        first_with_nan<T>(offsets, M, 1),
                        whitening.is_nan() ? 0 : M});
    }

    int64_t first_nan() const override { return nan; }

    // Masses, g, the second moment; with more than one anchor h and the masses of each.
    int64_t sums_size() const override {
        return M + M * D + D * D + (anchors.count > 1 ? anchors.count * (D + M) : 0);
    }

    // All components of some samples, whose coordinates stay in the nearest cache.
    void log_densities(Part, const Tile<T>& tile, V* out) const override {
        for (int64_t i = 0; i < tile.n_vectors; i += GROUP) {
            double* scratch = reinterpret_cast<double*>(tile.scratch);
            whitening.apply<T>(tile.coordinates + i, tile.n_vectors, scratch,
                               tile.group);
            int64_t j = 0;
            for (; j + SQUARE <= M; j += SQUARE) log_density<SQUARE>(tile, i, j, out);
            for (; j < M; j++) log_density<1>(tile, i, j, out);
        }
    }

    void add_moments(Part, const Tile<T>& tile, V* unscaled, const V* scale,
                     double* sums) const override {
        const int64_t n = tile.n_vectors, rows = padded(D, SQUARE);
        const V* y = tile.coordinates;
        V *moved = tile.scratch, *weighted = moved + rows * n;
        V *weight = weighted + SQUARE * n, *nearest = weight + n;
        double *first = sums + M, *second = first + M * D, *others = second + D * D;
        if (anchors.count > 1) anchors.find<T>(unscaled, n, weight, nearest);
        weigh(unscaled, scale, n, weight, sums);
        if (anchors.count > 1) {
            std::fill(moved + D * n, moved + rows * n, V{});
            anchors.move<T>(y, n, nearest, weight, moved, others);
            anchors.add_masses<T>(unscaled, n, nearest, others + anchors.count * D);
            y = moved;
        }
        for (int64_t a = 0; a < D; a += SQUARE)
            add_all_products<T>(unscaled, M, y + a * n, n, D - a, first + a, D);
        for (int64_t a = 0; a < D; a += SQUARE) {
            const int64_t some = std::min<int64_t>(SQUARE, D - a);
            for (int64_t k = 0; k < some; k++)
                for (int64_t i = 0; i < n; i++)
                    weighted[k * n + i] = weight[i] * y[(a + k) * n + i];
            for (int64_t b = a; b < D; b += SQUARE)
                add_all_products<T>(weighted, some, y + b * n, n, D - b,
                                    second + a * D + b, D);
        }
    }

    void settle(double* sums) const override {
        double *first = sums + M, *second = first + M * D, *others = second + D * D;
        const Array<double> mixed(D * D);  // -Z
        std::fill_n(mixed + 0, D * D, 0.0);
        for (int64_t j = 0; j < M; j++) {
            if (sums[j] == 0) continue;  // its mean may be any number
            add_outer(-1, first + j * D, means + j * D, mixed);
            refer_to_mean(j, sums, first + j * D, second);
        }
        for (int64_t c = 0; c < anchors.count && anchors.count > 1; c++)
            add_outer(1, others + c * D, anchors.point(c), mixed);
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++)
                second[b * D + a] = second[a * D + b] +=
                    mixed[a * D + b] + mixed[b * D + a];
        for (int64_t j = 0; j < M; j++)
            if (sums[j] != 0) move(shifts + j * D, sums[j], first + j * D, second);
    }

    int64_t second_size() const override { return D * D; }
    void write(const double* sums, const WrittenMoments& out) const override {
        write_pooled(sums, M, D, out);
    }

  private:
    // Rounds means, so that a sample which is one has the distance 0; shifts are from
    // those that were given. Returns them whitened.
    const T* whiten(const Components& given) {
        const Array<double> mean(D), found(D);
        for (int64_t j = 0; j < M; j++) {
            for (int64_t a = 0; a < D; a++) {
                // A product with infinity could be NaN.
                constexpr double limit = std::numeric_limits<T>::max() / 4;
                const double x = std::clamp(given.mean(j)[a], -limit, limit);
                mean[a] = means[j * D + a] = x;
                shifts[j * D + a] = mean[a] - given.mean(j)[a];
            }
            whitening.apply(mean, found);
            for (int64_t a = 0; a < D; a++)
                whitened[j * D + a] = std::isnan(found[a]) ? INFINITY : found[a];
        }
        return whitened;
    }

    template <int COUNT>
    void log_density(const Tile<T>& tile, int64_t i, int64_t j, V* out) const {
        const int64_t n = tile.n_vectors;
        V squares[COUNT][GROUP];
        squared_distances<T>(tile.group, GROUP, whitened + j * D, D, D, squares);
        UNROLL for (int v = 0; v < GROUP; v++) {
            V maximum = tile.maximum[i + v];
            UNROLL for (int k = 0; k < COUNT; k++) {
                const V found = offsets[j + k] - squares[k][v];
                out[(j + k) * n + i + v] = found;
                maximum = largest(found, maximum);
            }
            tile.maximum[i + v] = maximum;
        }
    }

    // Scales the shares, and adds them up for each sample and each component.
    void weigh(V* shares, const V* scale, int64_t n, V* weight, double* masses) const {
        std::fill(weight, weight + n, V{});
        for (int64_t j = 0; j < M; j++, shares += n) {
            V mass = {};
            for (int64_t i = 0; i < n; i++) {
                const V share = shares[i] *= scale[i];
                weight[i] += share;
                mass += share;
            }
            masses[j] += sum<T>(mass);
        }
    }

    // Moves the first moment of a component from the anchors to its mean, and adds the
    // last term of the second one.
    void refer_to_mean(int64_t j, const double* sums, double* first,
                       double* second) const {
        const int64_t count = anchors.count;
        const double* masses = sums + M + M * D + D * D + count * D + j;
        const Array<double> step(D);
        for (int64_t c = 0; c < count; c++) {
            const double mass = count > 1 ? masses[c * M] : sums[j];
            if (mass == 0) continue;
            for (int64_t a = 0; a < D; a++) {
                step[a] = means[j * D + a] - anchors.point(c)[a];
                first[a] -= mass * step[a];
            }
            add_square(mass, step, second);
        }
    }

    // Adds to the upper triangle of a matrix.
    void add_square(double mass, const double* step, double* out) const {
        for (int64_t k = 0; k < D; k++, out += D) {
            const double scaled = mass * step[k];
            for (int64_t l = k; l < D; l++) out[l] += scaled * step[l];
        }
    }

    template <class B>
    void add_outer(double factor, const double* a, const B* b, double* out) const {
        for (int64_t k = 0; k < D; k++, out += D) {
            const double scaled = factor * a[k];
            for (int64_t l = 0; l < D; l++) out[l] += scaled * b[l];
        }
    }

    // Moves moments to the mean as it was given.
    void move(const double* shift, double mass, double* first, double* second) const {
        if (std::all_of(shift, shift + D, [](double x) { return x == 0; })) return;
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = 0; b < D; b++)
                second[a * D + b] += first[a] * shift[b] + shift[a] * first[b] +
                                     mass * shift[a] * shift[b];
        for (int64_t a = 0; a < D; a++) first[a] += mass * shift[a];
    }

    const Whitening whitening;
    const Array<T> offsets;
    const Array<T> means;        // (M, D), and shifts
    const Array<double> shifts;
    const Array<T> whitened;     // (M, D)
    const Anchors anchors;
    int64_t nan;
};
