// Samples as they come, and some of them as columns.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>

#include "memory.h"
#include "structures.h"

template <class T>
struct Samples {
    const T* points;   // (N, D)
    const T* weights;  // (N), or null for ones
    int64_t count;
    const double* centre;  // (D), and scale: of the frame
    double scale;          // a power of two
    // The logarithm of a density that explains any of them beside a mixture, or those of
    // densities that explain each, (N).
    double rest = -std::numeric_limits<double>::infinity();
    const T* rests = nullptr;

    // Those from one to another, of D features.
    Samples between(int64_t begin, int64_t end, int64_t D) const {
        return {points + begin * D,
                weights ? weights + begin : nullptr,
                end - begin,
                centre,
                scale,
                rest,
                rests ? rests + begin : nullptr};
    }
};

// Moves samples into the frame, and turns rows into columns: a square at a time, of as
// many samples and features as a vector has numbers.
template <class T>
class Columns {
    using V = Vector<T>;
    using Doubles = typename Wide<T>::Vector;
    static constexpr int L = LANES<T>;
    static constexpr int64_t AHEAD = 8192 / sizeof(T);

  public:
    Columns(const Samples<T>& samples, int64_t n_features)
        : samples(samples),
          D(n_features),
          unit(1 / samples.scale),
          centre(padded(D, L)) {
        std::fill_n(centre + 0, padded(D, L), 0.0);
        std::copy_n(samples.centre, D, centre + 0);
    }

    // Writes `count` samples from `start` on, (D, n), and zeros where no more are.
    void read(int64_t start, int64_t count, int64_t n, V* out) const {
        const T* rows = samples.points + start * D;
        // Whole vectors can be read of samples before the last ones.
        const int64_t whole = std::min(count, samples.count - start - L) / L;
        int64_t i = 0;
        for (; i < whole && 2 * D >= L; i++) read_whole(rows + i * L * D, n, out + i);
        read_others(rows, i, count, n, out);
    }

  private:
    void read_whole(const T* rows, int64_t n, V* out) const {
        for (int64_t a = 0; a < D; a += L) {
            V square[L];
            UNROLL for (int l = 0; l < L; l++) {
                // A bit of each of many rows: the processor does not see what comes.
                __builtin_prefetch(rows + a * L + l * L + std::max(AHEAD, L * D));
                std::memcpy(square + l, rows + l * D + a, sizeof(V));
                square[l] = in_frame(square[l], a);
            }
            transpose<T>(square);
            if (a + L <= D)
                UNROLL for (int k = 0; k < L; k++)
                    out[(a + k) * n] = clamped(square[k]);
            else
                for (int64_t k = 0; k < D - a; k++)
                    out[(a + k) * n] = clamped(square[k]);
        }
    }

    // Of few features, or the last samples; from a vector on.
    void read_others(const T* rows, int64_t first, int64_t count, int64_t n,
                     V* out) const {
        for (int64_t a = 0; a < D; a++, out += n) {
            T* column = reinterpret_cast<T*>(out);
            for (int64_t i = first * L; i < count; i++)
                column[i] = (rows[i * D + a] - centre[a]) * unit;
            std::fill(column + std::max(first * L, count), column + n * L, T(0));
            for (int64_t i = first; i < n; i++) out[i] = clamped(out[i]);
        }
    }

    V in_frame(V x, int64_t a) const {
        Doubles origin;
        std::memcpy(&origin, centre + a, sizeof(origin));
        const Doubles wide = __builtin_convertvector(x, Doubles);
        return __builtin_convertvector((wide - origin) * unit, V);
    }

    // A share of infinity, if it is 0, would be NaN in the sums of all samples.
    static V clamped(V x) {
        const V limit = all<T>(std::numeric_limits<T>::max() / 4);
        const V below = x > limit ? limit : x;
        return below < -limit ? -limit : below;
    }

    const Samples<T> samples;
    const int64_t D;
    const double unit;
    const Array<double> centre;
};
