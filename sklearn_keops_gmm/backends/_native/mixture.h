// Components as the loops over a tile read them.
#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "structures.h"

// M components in the frame, with log-densities offset - 0.5 ||factor^T (x - mean)||^2.
struct Components {
    int64_t count;
    int64_t n_features;
    const double* offsets;  // (M)
    const double* means;    // (M, D)
    const double* factors;  // (M, D, D), (M, D) or (M); (D, D) if all share one
    int64_t stride;         // from one factor to the next; 0 if all share one

    const double* mean(int64_t j) const { return means + j * n_features; }
    const double* factor(int64_t j) const { return factors + j * stride; }
};

// Logarithms are to base 2, and so that they need no factor 0.5.
inline double to_base_2() { return 1 / std::log(2.0); }
inline double unit_of_base_2() { return std::sqrt(0.5 * to_base_2()); }

// Components that have a factor each, as a structure packs them.
template <class T>
struct SeparateComponents {
    const Structure<T>& structure;
    const T* packed;  // (M, width)

    const T* component(int64_t j) const { return packed + j * structure.width(); }
};

// Components that are next to each other.
struct Part {
    int64_t first, count;
};

// So many components at a time: their log-densities for a tile stay in the cache, as
// those of all do where there are no more.
constexpr int64_t SOME_COMPONENTS = 512;

// By how many powers of two a share of a sample is below the largest one where all of
// those together are less than its rounding.
inline double negligible(int64_t n_components) {
    return 52 + std::log2(double(n_components));
}

// Where moments are written to.
struct WrittenMoments {
    double* mass;   // (M)
    double* first;  // (M, D)
    double* second;
};

// The same in the precision of the samples.
template <class T>
class Mixture {
  public:
    Mixture(int64_t count, int64_t n_features) : M(count), D(n_features) {}
    virtual ~Mixture() = default;

    const int64_t M, D;

    // The first component of which a number is NaN, or M if there is none.
    virtual int64_t first_nan() const = 0;
    // How many components are taken at a time.
    virtual int64_t at_a_time() const { return M; }
    // By how many powers of two a component may fall short of the likeliest one, if a
    // sample is to count for its moments.
    virtual double cut() const { return INFINITY; }
    // Writes the log-densities of a part for a tile, (count, n), and raises its maximum.
    virtual void log_densities(Part part, const Tile<T>& tile, Vector<T>* out) const = 0;
    // Components that can be taken one by one, if they can.
    virtual const SeparateComponents<T>* separate() const { return nullptr; }
    // How many sums there are.
    virtual int64_t sums_size() const = 0;
    virtual bool keeps_squares() const { return false; }
    // Adds those of a part; responsibilities are `unscaled`, (count, n), times scale, (n).
    virtual void add_moments(Part part, const Tile<T>& tile, Vector<T>* unscaled,
                             const Vector<T>* scale, double* sums) const = 0;
    // Turns the sums over all samples into moments about the means that were given.
    virtual void settle(double* sums) const = 0;
    // How many numbers their second moments are, and writes all from settled sums.
    virtual int64_t second_size() const = 0;
    virtual void write(const double* sums, const WrittenMoments& out) const = 0;
};

// Writes the masses of all, the first moments, and one second moment.
inline void write_pooled(const double* sums, int64_t M, int64_t D,
                         const WrittenMoments& out) {
    std::copy_n(sums, M, out.mass);
    std::copy_n(sums + M, M * D, out.first);
    std::copy_n(sums + M + M * D, D * D, out.second);
}

// Returns the first of M components, of `width` numbers each, that has NaN, or M.
template <class T>
int64_t first_with_nan(const T* packed, int64_t M, int64_t width) {
    const auto is_nan = [](T x) { return std::isnan(x); };
    return (std::find_if(packed, packed + M * width, is_nan) - packed) / width;
}
