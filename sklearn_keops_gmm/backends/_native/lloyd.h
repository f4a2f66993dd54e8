// The steps of Lloyd's algorithm: each sample to its nearest centre, exactly.
//
// A margin of a block and a centre is a lower bound of how much farther its samples are
// from that centre than from their own. Where it is positive no sample changes to it,
// and it shrinks by no more than both centres move: few pairs are computed once centres
// move little. Compare with C. Elkan, "Using the triangle inequality to accelerate
// k-means", ICML 2003, whose bounds are those of single samples.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "blocks.h"
#include "memory.h"

template <class T>
class Lloyd {
    using V = Vector<T>;
    static constexpr int N = BLOCK / LANES<T>;  // vectors in a block
    static constexpr float FAR = std::numeric_limits<float>::max();
    // Margins in single precision are rounded down.
    static constexpr float DOWN = 1 - 0x1p-22f;
    static constexpr double UP = 1 + 0x1p-20;

  public:
    // Centres are (M, D), and `moved` so far since margins were found, (M); or null
    // where there are none yet.
    Lloyd(const T* centres, int64_t M, int64_t D, const double* moved)
        : centres(centres), M(M), D(D), first(!moved), middle(D), drift(M) {
        for (int64_t j = 0; moved && j < M; j++) drift[j] = float(moved[j] * UP);
    }

    // Finds the nearest centres of the samples in a block, (D, BLOCK), and tells whether
    // labels change. These and margins, (BLOCK) and (M), are those of centres before
    // they moved.
    bool assign(const T* columns, int64_t* labels, float* margins) {
        int64_t before[BLOCK];
        std::copy_n(labels, BLOCK, before);
        near.clear();
        if (first)
            begin(columns, labels, margins);
        else
            shrink(labels, margins);
        if (!near.empty() && !first) distances_to_own(columns, labels);
        for (const int64_t j : near) compare(j, columns, labels, margins);
        return !std::equal(before, before + BLOCK, labels);
    }

    // Adds samples, and how much they weigh, to sums of their clusters, (M, D + 1).
    void add(const T* columns, const double* weights, const int64_t* labels,
             double* sums) const {
        int64_t a = 0;
        for (; a + LANES<T> <= D; a += LANES<T>)
            for (int64_t i = 0; i < BLOCK; i += LANES<T>)
                add_square(columns + a * BLOCK + i, weights + i, labels + i, sums + a);
        for (int64_t i = 0; i < BLOCK; i++) {
            double* own = sums + labels[i] * (D + 1);
            for (int64_t k = a; k < D; k++)
                own[k] += weights[i] * columns[k * BLOCK + i];
            own[D] += weights[i];
        }
    }

  private:
    // The same of as many samples, and features, as a vector has numbers.
    void add_square(const T* columns, const double* weights, const int64_t* labels,
                    double* sums) const {
        constexpr int L = LANES<T>;
        V rows[L];
        UNROLL for (int k = 0; k < L; k++) rows[k] = load<T>(columns + k * BLOCK);
        transpose<T>(rows);
        UNROLL for (int l = 0; l < L; l++) {
            typename Wide<T>::Vector own;
            double* at = sums + labels[l] * (D + 1);
            std::memcpy(&own, at, sizeof(own));
            own += weights[l] * __builtin_convertvector(rows[l], decltype(own));
            std::memcpy(at, &own, sizeof(own));
        }
    }

    // Starts with the centre nearest to the middle of the block for all of its samples.
    void begin(const T* columns, int64_t* labels, float* margins) {
        const double radius = enclose(columns, D, middle);
        double least = std::numeric_limits<double>::infinity();
        int64_t nearest = 0;
        for (int64_t j = 0; j < M; j++) {
            const double squares = from_middle(centres + j * D);
            margins[j] = float(std::sqrt(squares));
            if (squares >= least) continue;
            least = squares;
            nearest = j;
        }
        std::fill_n(labels, BLOCK, nearest);
        distances_to_own(columns, labels);
        const double inexact = slack<T>(D);
        const float beyond = float((radius + farthest * (1 + inexact)) * UP);
        const float share = float(1 - inexact) * DOWN;
        for (int64_t j = 0; j < M; j++) {
            margins[j] = margins[j] * share - beyond;
            if (margins[j] <= 0 && j != nearest) near.push_back(j);
        }
        margins[nearest] = FAR;
    }

    double from_middle(const T* centre) const {
        double squares = 0;
        for (int64_t a = 0; a < D; a++) {
            const double z = centre[a] - middle[a];
            squares += z * z;
        }
        return squares;
    }

    // Lets margins shrink, and notes where they are gone.
    void shrink(const int64_t* labels, float* margins) {
        float own = 0;
        for (int64_t i = 0; i < BLOCK; i++) own = std::max(own, drift[labels[i]]);
        constexpr int64_t SOME = 64;
        for (int64_t start = 0; start < M; start += SOME) {
            const int64_t end = std::min(start + SOME, M);
            int gone = 0;
            for (int64_t j = start; j < end; j++) {
                margins[j] = margins[j] * DOWN - (drift[j] + own);
                gone |= margins[j] <= 0;
            }
            for (int64_t j = start; gone && j < end; j++)
                if (margins[j] <= 0) near.push_back(j);
        }
    }

    void distances_to_own(const T* columns, const int64_t* labels) {
        T* numbers = reinterpret_cast<T*>(own);
        std::fill(own, own + N, V{});
        for (int64_t a = 0; a < D; a++, columns += BLOCK)
            for (int64_t i = 0; i < BLOCK; i++) {
                const T z = columns[i] - centres[labels[i] * D + a];
                numbers[i] += z * z;
            }
        farthest = std::sqrt(double(*std::max_element(numbers, numbers + BLOCK)));
        std::copy_n(labels, BLOCK, reinterpret_cast<Integer<T>*>(owners));
    }

    // Gives a centre the samples to which it is nearer than their own. Of centres that
    // are as near the first one has a sample.
    void compare(int64_t j, const T* columns, int64_t* labels, float* margins) {
        V other[N];
        squared_distances(columns, D, centres + j * D, other);
        double margin = margin_to(j, other);
        if (!(margin > 0)) {
            exchange(j, reinterpret_cast<const T*>(other), labels, margins);
            margin = margin_to(j, other);
        }
        margins[j] = in_single(margin);
    }

    // Returns the margin of a centre, by the squared distances from it.
    double margin_to(int64_t j, const V* other) const {
        const V none = all<T>(std::numeric_limits<T>::max());
        const Integers<T> label = Integers<T>{} + static_cast<Integer<T>>(j);
        V least = none;
        UNROLL for (int v = 0; v < N; v++) {
            const V farther = owners[v] == label ? none : other[v] - own[v];
            least = farther < least ? farther : least;
        }
        // a - b = (a^2 - b^2) / (a + b), which is least where b is the largest one.
        const double beyond = lowest<T>(least, std::make_index_sequence<LANES<T>>());
        const double both = std::sqrt(farthest * farthest + beyond) + farthest;
        return beyond / both - slack<T>(D) * both;
    }

    // Lets samples change to a centre that is nearer than their own.
    void exchange(int64_t j, const T* other, int64_t* labels, float* margins) {
        T* before = reinterpret_cast<T*>(own);
        for (int64_t i = 0; i < BLOCK; i++) {
            const bool first = other[i] == before[i] && j < labels[i];
            if (labels[i] == j || !(other[i] < before[i] || first)) continue;
            float& left = margins[labels[i]];
            left = std::min(left, margin_of(other[i], before[i]));
            labels[i] = j;
            before[i] = other[i];
            reinterpret_cast<Integer<T>*>(owners)[i] = j;
        }
    }

    static float in_single(double margin) {
        const double most = FAR;
        return float(std::min(margin, most)) * (margin > 0 ? DOWN : 1 / DOWN);
    }

    float margin_of(double nearer, double farther) const {
        const double a = std::sqrt(nearer), b = std::sqrt(farther);
        return in_single(b - a - slack<T>(D) * (a + b));
    }

    const T* const centres;
    const int64_t M, D;
    const bool first;
    const Array<double> middle;
    const Array<float> drift;
    std::vector<int64_t> near;  // the centres to compare with
    V own[N];                   // squared distances of the block to their own centres
    Integers<T> owners[N];      // and the labels of these
    double farthest = 0;        // the largest of the distances
};
