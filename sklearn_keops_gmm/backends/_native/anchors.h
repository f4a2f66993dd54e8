// Points near which components are, so that differences from them are small.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "memory.h"
#include "structures.h"

// Numbers of as many samples as a vector has: a row each, of as many or fewer.
template <class T>
struct Square {
    static constexpr int L = LANES<T>;

    const int64_t width;
    Vector<T> rows[L];

    Square(const Vector<T>* columns, int64_t stride, int64_t left)
        : width(std::min<int64_t>(L, left)) {
        for (int64_t k = 0; k < width; k++) rows[k] = columns[k * stride];
        std::fill(rows + width, rows + L, Vector<T>{});
        transpose<T>(rows);
    }

    bool is_zero() const {
        Integers<T> any = {};
        for (int k = 0; k < L; k++) any |= rows[k] != T(0);
        const auto* begin = reinterpret_cast<const Integer<T>*>(&any);
        return std::all_of(begin, begin + L, [](Integer<T> x) { return x == 0; });
    }

    // Adds a row to sums.
    void add(Vector<T> row, double* sums) const {
        const T* numbers = reinterpret_cast<const T*>(&row);
        if (width == L)
            for (int k = 0; k < L; k++) sums[k] += numbers[k];
        else
            for (int64_t k = 0; k < width; k++) sums[k] += numbers[k];
    }
};

class Anchors {
  public:
    // The origin, and more of the means, (M, D), where components are farther from all
    // than `reach`: between whitened means, (M, D).
    template <class T>
    Anchors(const T* means, const T* whitened, int64_t M, int64_t D, double reach)
        : M(M), D(D), nearest(M) {
        // Sums for each anchor and component are not to fill the memory.
        const int64_t most = std::max<int64_t>(1, MOST_SUMS / M);
        while (!cover(whitened, reach, most)) reach *= 2;
        count = n_chosen();
        points.assign(D, 0.0);
        for (int64_t c = 1; c < count; c++) {
            const T* mean = means + chosen[c] * D;
            points.insert(points.end(), mean, mean + D);
        }
    }

    int64_t count;

    const double* point(int64_t anchor) const { return points.data() + anchor * D; }

    // Writes the anchor of each sample, (n), which is that of its likeliest component.
    template <class T>
    void find(const Vector<T>* unscaled, int64_t n, Vector<T>* best,
              Vector<T>* out) const {
        Integers<T>* found = reinterpret_cast<Integers<T>*>(out);
        std::fill(found, found + n, Integers<T>{});
        std::fill(best, best + n, all<T>(std::numeric_limits<T>::min()));
        for (int64_t j = 0; j < M; j++, unscaled += n) {
            const Integers<T> anchor = Integers<T>{} + Integer<T>(nearest[j]);
            for (int64_t i = 0; i < n; i++) {
                found[i] = unscaled[i] >= best[i] ? anchor : found[i];
                best[i] = largest(unscaled[i], best[i]);
            }
        }
    }

    // Writes differences from the anchors, (D, n), and adds to sums, (anchors, D).
    template <class T>
    void move(const Vector<T>* x, int64_t n, const Vector<T>* anchors,
              const Vector<T>* weight, Vector<T>* out, double* sums) const {
        const auto* anchor = reinterpret_cast<const Integer<T>*>(anchors);
        const T* share = reinterpret_cast<const T*>(weight);
        for (int64_t i = 0; i < n; i++, anchor += LANES<T>, share += LANES<T>)
            for (int64_t a = 0; a < D; a += LANES<T>) {
                const Square<T> square(x + a * n + i, n, D - a);
                Vector<T> moved[LANES<T>];
                for (int l = 0; l < LANES<T>; l++) {
                    moved[l] = square.rows[l] - row_of<T>(anchor[l], a);
                    square.add(moved[l] * share[l], sums + anchor[l] * D + a);
                }
                transpose<T>(moved);
                for (int64_t k = 0; k < square.width; k++)
                    out[(a + k) * n + i] = moved[k];
            }
    }

    // Adds the shares, (M, n), of samples with each anchor, (anchors, M).
    template <class T>
    void add_masses(const Vector<T>* shares, int64_t n, const Vector<T>* anchors,
                    double* sums) const {
        for (int64_t j = 0; j < M; j += LANES<T>) {
            const auto* anchor = reinterpret_cast<const Integer<T>*>(anchors);
            for (int64_t i = 0; i < n; i++, anchor += LANES<T>) {
                const Square<T> square(shares + j * n + i, n, M - j);
                if (square.is_zero()) continue;  // as those of components far away are
                for (int l = 0; l < LANES<T>; l++)
                    square.add(square.rows[l], sums + anchor[l] * M + j);
            }
        }
    }

  private:
    // Returns some coordinates of an anchor, and zeros after the last one.
    template <class T>
    Vector<T> row_of(int64_t anchor, int64_t a) const {
        Vector<T> row = {};
        const double* from = point(anchor) + a;
        const int64_t width = std::min<int64_t>(LANES<T>, D - a);
        for (int64_t k = 0; k < width; k++) row[k] = from[k];
        return row;
    }

    static constexpr int64_t MOST_SUMS = 1 << 22;

    // Tells whether so many anchors are enough for points, (M, D).
    template <class T>
    bool cover(const T* whitened, double reach, int64_t most) {
        std::vector<double> places(D, 0.0);
        chosen.assign(1, -1);
        for (int64_t j = 0; j < M; j++) {
            const T* x = whitened + j * D;
            nearest[j] = first_within(reach, places, x);
            if (nearest[j] < n_chosen()) continue;
            if (nearest[j] == most) return false;
            places.insert(places.end(), x, x + D);
            chosen.push_back(j);
        }
        return true;
    }

    int64_t n_chosen() const { return chosen.size(); }

    // Returns an anchor that is not farther, or how many there are.
    template <class T>
    int64_t first_within(double reach, const std::vector<double>& places,
                         const T* x) const {
        // Nothing is near a mean that is not finite, and it is near nothing.
        if (!std::isfinite(distance(x, places.data()))) return 0;
        int64_t k = 0;
        while (k < n_chosen() && !(distance(x, places.data() + k * D) <= reach)) k++;
        return k;
    }

    template <class T>
    double distance(const T* a, const double* b) const {
        double squares = 0;
        for (int64_t k = 0; k < D; k++) squares += (a[k] - b[k]) * (a[k] - b[k]);
        return std::sqrt(squares);
    }

    const int64_t M, D;
    std::vector<int64_t> chosen;   // a component each; the first is the origin
    std::vector<int64_t> nearest;  // (M)
    std::vector<double> points;    // (anchors, D)
};
