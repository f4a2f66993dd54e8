// What differs from one structure of covariances to another.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "vectors.h"

// Vectors of samples that go together through a loop over coordinates: as many as
// registers hold.
constexpr int GROUP = VECTOR_BYTES == 64 ? 4 : 2;

// Where not all features go together, blocks of at most so many do. Arrays over a tile
// have room for rows of zeros up to a multiple of any block.
constexpr int MAX_BLOCK = 5;

inline int64_t padded(int64_t rows, int block) {
    return (rows + block - 1) / block * block;
}

// More features, or components, are refused: so products of two such numbers do not
// overflow, and components can be counted in the lanes of float32.
constexpr int64_t MOST = INT32_MAX;

// Some samples in the frame, feature by feature.
template <class T>
struct Tile {
    int64_t n_vectors;             // a multiple of GROUP, padded with zeros
    const Vector<T>* coordinates;  // (D + MAX_BLOCK, n)
    Vector<T>* maximum;            // (n): the largest log-density so far
    Vector<T>* scratch;            // (D + 3 MAX_BLOCK, n)
    Vector<T>* group;              // (D + MAX_BLOCK, GROUP)
    Vector<T>* squares;            // (M, n), or null

    // The same for components from one on.
    Tile from(int64_t component) const {
        Tile found = *this;
        if (squares) found.squares += component * n_vectors;
        return found;
    }
};

// A number for each of some boxes, as many as a vector has.
using OfBoxes = Vector<double>;
constexpr int BOXES = LANES<double>;

// The least and the largest of a log-density, to base 2, in each box.
struct Ranges {
    OfBoxes least = all<double>(-std::numeric_limits<double>::infinity());
    OfBoxes most = all<double>(std::numeric_limits<double>::infinity());
};

// Samples whose coordinates, (D), are at most `half` from a middle.
struct Boxes {
    const OfBoxes* middle;
    const OfBoxes* half;
};

// Of offset - sum of y^2, where each y is so far from a middle at most.
class RangesOfSquares {
  public:
    void add(OfBoxes middle, OfBoxes half) {
        const OfBoxes y = largest(middle, -middle);
        const OfBoxes nearest = largest(y - half, OfBoxes{});
        near += nearest * nearest;
        far += (y + half) * (y + half);
    }
    Ranges below(double offset) const { return {offset - far, offset - near}; }

  private:
    OfBoxes near = {}, far = {};
};

// A component is kept as `width` numbers: offset, mean, factor. Its log-densities
// offset - ||factor^T (x - mean)||^2 are to whatever base the factor is made for.
template <class T>
class Structure {
  public:
    explicit Structure(int64_t n_features) : D(n_features) {}
    virtual ~Structure() = default;

    const int64_t D;

    virtual int64_t width() const = 0;
    virtual void pack(double offset, const double* mean, const double* factor,
                      double unit, T* packed) const = 0;
    // How many sums the moments are: the mass, the first moments and the second ones.
    virtual int64_t sums_size() const = 0;

    // Writes the log-densities of `count` components, (M, n), and raises the maximum.
    virtual void log_densities(const T* packed, int64_t count, const Tile<T>& tile,
                               Vector<T>* out) const = 0;
    // Bounds the log-density of a component in boxes; not at all, unless that is cheap.
    virtual Ranges ranges(const T*, const Boxes&) const { return {}; }
    // Whether `log_densities` keeps something in the squares of a tile for moments.
    virtual bool keeps_squares() const { return false; }
    // Adds to sums, (M, S), the moments about the means; responsibilities are
    // `unscaled`, (M, n), times scale, (n), and may be left scaled.
    virtual void add_moments(const T* packed, int64_t count, const Tile<T>& tile,
                             Vector<T>* unscaled, const Vector<T>* scale,
                             double* sums) const = 0;
    // Moves the moments by `shift`, (D): from the mean as it was packed.
    virtual void move(const double* shift, double* sums) const = 0;
};
