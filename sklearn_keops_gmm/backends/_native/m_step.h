// The M-step: from moments to the parameters of a mixture.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "memory.h"
#include "sparse_weights.h"

// What the roots of weights cost, of weights that sum to a share. The mass of all samples
// is the whole, or that of the components where it is 0. Without a price start is null.
struct RootPrice {
    const double* start;  // (M): weights before
    double price, share, whole;
};

// To what covariances are pulled: each becomes kept_j times itself plus added_j times the
// shape. Without one all are null.
struct Pull {
    const double* kept;   // (M)
    const double* added;  // (M)
    const double* shape;  // one covariance
};

// What it starts from, about the means before.
struct GivenMoments {
    int64_t count, n_features;
    const double* mass;     // (M)
    const double* first;    // (M, D)
    const double* second;   // what they are of each component, or of all
    const double* means;    // (M, D)
    const double* ridge;    // (D): added to variances
    const double* weights;  // (M), or null where they are found
    RootPrice roots;
    Pull pull;
};

// What it writes.
struct FoundParameters {
    double* weights;      // (M)
    double* means;        // (M, D)
    double* covariances;  // of each component, or the one that all share
    double* factors;      // A, upper-triangular, with covariance^-1 = A A^T
    double* offsets;      // (M): log-densities at the means
};

// scikit-learn adds this to every mass, as if so much lay at the origin. Beside less than
// this mass it counts for covariances that are no matrices of their own, unless means lie
// so many of their widths away.
constexpr double MASS_FLOOR = 10 * std::numeric_limits<double>::epsilon();
constexpr double LEAST_MASS = 2, FAR = 0x1p20;
// A variance given the features before, beside the variance, that may be rounding only.
constexpr double DOUBTFUL = 64 * std::numeric_limits<double>::epsilon();
// What sums of fractions round to.
constexpr double SUM_ROUNDING = 1e-12;

inline double sum_of(const double* numbers, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += numbers[i];
    return sum;
}

// Covariances that are matrices.
struct Matrices {
    static int64_t size(int64_t D) { return D * D; }
    static constexpr bool pooled = true;  // where all components share one
    static constexpr bool floored = false;

    // Adds a second moment, which is symmetric but for rounding, to an upper triangle.
    static void add(const double* second, int64_t D, double* out) {
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++)
                out[a * D + b] += 0.5 * (second[a * D + b] + second[b * D + a]);
    }
    // And what moving the mean adds to it.
    static void move(const double* shift, const double* correction, int64_t D,
                     double* out) {
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++)
                out[a * D + b] += shift[a] * correction[b] + shift[b] * correction[a];
    }
    // Adds the second moment of a mass at a place.
    static void place(double mass, const double* at, int64_t D, double* out) {
        for (int64_t a = 0; a < D; a++)
            for (int64_t b = a; b < D; b++) out[a * D + b] += mass * (at[a] * at[b]);
    }
    // Makes the covariance of the second moment.
    static void normalize(double* covariance, double mass, const double* ridge,
                          int64_t D) {
        for (int64_t a = 0; a < D; a++) {
            for (int64_t b = a; b < D; b++)
                covariance[b * D + a] = covariance[a * D + b] /= mass;
            covariance[a * D + a] += ridge[a];
        }
    }
    // Makes its factor, and log |det factor|; or returns false.
    static bool factorise(const double* covariance, int64_t D, double* scratch,
                          double* factor, double* log_det) {
        double det = 0;
        for (int64_t a = 0; a < D; a++) {
            double* row = scratch + a * D;
            if (!decompose(covariance + a * D, a, D, scratch, row)) return false;
            det += std::log(row[a]);
        }
        *log_det = -det;
        invert(scratch, D, factor);
        return true;
    }

  private:
    // Finds a row of the Cholesky factor L from those before.
    static bool decompose(const double* covariance, int64_t a, int64_t D,
                          const double* rows, double* row) {
        double pivot = covariance[a];
        for (int64_t b = 0; b < a; b++) {
            const double* other = rows + b * D;
            double entry = covariance[b];
            for (int64_t k = 0; k < b; k++) entry -= row[k] * other[k];
            row[b] = entry / other[b];
            pivot -= row[b] * row[b];
        }
        row[a] = std::sqrt(pivot);
        return pivot > DOUBTFUL * covariance[a] && std::isfinite(1 / row[a]) &&
               std::isfinite(row[a]);
    }
    // Writes the transposed inverse of L: columns are rows of the inverse.
    static void invert(const double* lower, int64_t D, double* out) {
        std::fill_n(out, D * D, 0.0);
        for (int64_t a = 0; a < D; a++) {
            const double* row = lower + a * D;
            for (int64_t b = 0; b < a; b++) {
                double sum = 0;
                for (int64_t k = b; k < a; k++) sum += row[k] * out[b * D + k];
                out[b * D + a] = -sum / row[a];
            }
            out[a * D + a] = 1 / row[a];
        }
    }
};

// Covariances that are numbers: a variance for each feature.
struct Variances {
    static int64_t size(int64_t D) { return D; }
    static constexpr bool pooled = false;
    static constexpr bool floored = true;

    static void add(const double* second, int64_t D, double* out) {
        for (int64_t a = 0; a < D; a++) out[a] += second[a];
    }
    static void move(const double* shift, const double* correction, int64_t D,
                     double* out) {
        for (int64_t a = 0; a < D; a++) out[a] += 2 * shift[a] * correction[a];
    }
    static void place(double mass, const double* at, int64_t D, double* out) {
        for (int64_t a = 0; a < D; a++) out[a] += mass * (at[a] * at[a]);
    }
    static void normalize(double* covariance, double mass, const double* ridge,
                          int64_t D) {
        for (int64_t a = 0; a < D; a++)
            covariance[a] = variance_of(covariance[a], mass, ridge[a]);
    }
    static bool factorise(const double* covariance, int64_t D, double*, double* factor,
                          double* log_det) {
        *log_det = 0;
        for (int64_t a = 0; a < D; a++) {
            if (!invert(covariance[a], factor + a)) return false;
            *log_det += std::log(factor[a]);
        }
        return true;
    }

    static double variance_of(double second, double mass, double ridge) {
        return (second < 0 ? 0.0 : second) / mass + ridge;
    }
    // Finds the root of the inverse of a variance.
    static bool invert(double variance, double* factor) {
        *factor = 1 / std::sqrt(variance);
        return variance > 0 && std::isfinite(variance) && std::isfinite(*factor);
    }
};

// And one variance for all features.
struct OneVariance {
    static int64_t size(int64_t) { return 1; }
    static constexpr bool pooled = false;
    static constexpr bool floored = true;

    static void add(const double* second, int64_t, double* out) { *out += *second; }
    static void move(const double* shift, const double* correction, int64_t D,
                     double* out) {
        double product = 0;
        for (int64_t a = 0; a < D; a++) product += shift[a] * correction[a];
        *out += 2 * product;
    }
    static void place(double mass, const double* at, int64_t D, double* out) {
        double square = 0;
        for (int64_t a = 0; a < D; a++) square += at[a] * at[a];
        *out += mass * square;
    }
    static void normalize(double* covariance, double mass, const double* ridge,
                          int64_t D) {
        const double mean = sum_of(ridge, D) / D;
        *covariance = Variances::variance_of(*covariance, D * mass, mean);
    }
    static bool factorise(const double* covariance, int64_t D, double*, double* factor,
                          double* log_det) {
        if (!Variances::invert(*covariance, factor)) return false;
        *log_det = D * std::log(*factor);
        return true;
    }
};

// Writes the weights whose roots have a price, and tells whether none is as good as 0.
inline bool find_sparse_weights(const GivenMoments& given, double total,
                                double* weights) {
    const int64_t M = given.count;
    const RootPrice& roots = given.roots;
    const Array<double> parts(M);
    for (int64_t j = 0; j < M; j++) parts[j] = given.mass[j] / total;
    // In weights that sum to 1 it is the same problem, but for the price.
    const double scale = roots.whole > 0 ? std::sqrt(roots.share) * roots.whole / total : 1;
    SparseWeights(parts, M, scale * roots.price).find(roots.start, weights);
    bool alive = true;
    for (int64_t j = 0; j < M; j++) {
        weights[j] *= roots.share;
        alive = alive && weights[j] > std::numeric_limits<double>::epsilon();
    }
    return alive;
}

// Writes the weights: those that are given, or the parts of the mass, which sum to 1, or
// what their price makes of them.
inline bool find_weights(const GivenMoments& given, double* weights) {
    const int64_t M = given.count;
    if (given.weights) {
        std::copy_n(given.weights, M, weights);
        return true;
    }
    const double total = sum_of(given.mass, M);
    if (!(total > 0 && std::isfinite(total))) return false;
    if (given.roots.start) return find_sparse_weights(given, total, weights);
    for (int64_t j = 0; j < M; j++) weights[j] = given.mass[j] / total;
    const double sum = sum_of(weights, M);
    if (std::fabs(sum - 1) >= SUM_ROUNDING)
        for (int64_t j = 0; j < M; j++) weights[j] /= sum;
    return true;
}

// Moves the mean of a component, and its second moment with it.
template <class Kind>
void move_mean(const GivenMoments& given, int64_t j, double* shift, double* mean,
               double* second) {
    const int64_t D = given.n_features;
    const double *before = given.means + j * D, *first = given.first + j * D;
    double* correction = shift + D;
    for (int64_t a = 0; a < D; a++) {
        mean[a] = (given.mass[j] * before[a] + first[a]) / (given.mass[j] + MASS_FLOOR);
        shift[a] = mean[a] - before[a];
        correction[a] = 0.5 * given.mass[j] * shift[a] - first[a];
    }
    Kind::move(shift, correction, D, second);
}

// Writes where the mass floor lies: at the origin, or amid the means, (M, D).
inline void find_floor(const double* means, int64_t M, int64_t D, double* floor) {
    for (int64_t a = 0; a < D; a++) {
        double low = means[a], high = means[a];
        for (int64_t j = 1; j < M; j++) {
            low = std::min(low, means[j * D + a]);
            high = std::max(high, means[j * D + a]);
        }
        const double middle = 0.5 * (low + high), width = high - middle;
        floor[a] = std::fabs(middle) > FAR * width && width > 0 ? middle : 0.0;
    }
}

// Adds what the mass floor makes of second moments, of components that it counts beside.
template <class Kind>
void add_floor(const GivenMoments& given, const double* means, int64_t step,
               double* scratch, double* second) {
    const int64_t M = given.count, D = given.n_features;
    const auto light = [](double mass) { return mass < LEAST_MASS; };
    if (std::none_of(given.mass, given.mass + M, light)) return;
    double* distance = scratch + D;
    find_floor(means, M, D, scratch);
    for (int64_t j = 0; j < M; j++) {
        if (!light(given.mass[j])) continue;
        for (int64_t a = 0; a < D; a++) distance[a] = means[j * D + a] - scratch[a];
        Kind::place(MASS_FLOOR, distance, D, second + j * step);
    }
}

// Returns false where the answer takes more than this: where there is no mass, a price
// leaves a component without a weight, or the width of one is doubtful.
template <class Kind, bool SHARED>
bool maximize(const GivenMoments& given, const FoundParameters& found) {
    const int64_t M = given.count, D = given.n_features, size = Kind::size(D);
    const int64_t step = SHARED ? 0 : size;  // between covariances
    if (!find_weights(given, found.weights)) return false;
    const Array<double> scratch(std::max(2 * D, size));
    std::fill_n(found.covariances, SHARED ? size : M * size, 0.0);
    double total = 0, log_det = 0;
    for (int64_t j = 0; j < M; j++) {
        double* own = found.covariances + j * step;
        if (!(SHARED && Kind::pooled) || j == 0)
            Kind::add(given.second + j * size, D, own);
        move_mean<Kind>(given, j, scratch, found.means + j * D, own);
        total += given.mass[j] + MASS_FLOOR;
    }
    if (Kind::floored || SHARED)
        add_floor<Kind>(given, found.means, step, scratch, found.covariances);
    for (int64_t j = 0; j < M; j++) {
        if (!SHARED || j == 0) {
            double* own = found.covariances + j * step;
            const double mass = SHARED ? total : given.mass[j] + MASS_FLOOR;
            Kind::normalize(own, mass, given.ridge, D);
            if (given.pull.kept)
                for (int64_t i = 0; i < size; i++)
                    own[i] = given.pull.kept[j] * own[i] +
                             given.pull.added[j] * given.pull.shape[i];
            double* factor = found.factors + j * step;
            if (!Kind::factorise(own, D, scratch, factor, &log_det)) return false;
        }
        const double constant = 0.5 * D * std::log(2 * std::acos(-1.0));
        found.offsets[j] = std::log(found.weights[j]) + log_det - constant;
    }
    return true;
}

// By the names that covariances have, with how many numbers they are.
struct MStep {
    const char* type;
    int64_t (*size)(int64_t D);
    bool shared, pooled;  // whether one covariance, and one second moment, is of all
    bool (*maximize)(const GivenMoments&, const FoundParameters&);
};

template <class Kind, bool SHARED>
constexpr MStep m_step_of(const char* type) {
    return {type, Kind::size, SHARED, SHARED && Kind::pooled, maximize<Kind, SHARED>};
}

constexpr MStep M_STEPS[] = {m_step_of<Matrices, false>("full"),
                             m_step_of<Matrices, true>("tied"),
                             m_step_of<Variances, false>("diag"),
                             m_step_of<OneVariance, false>("spherical"),
                             m_step_of<Variances, true>("tied_diag"),
                             m_step_of<OneVariance, true>("tied_spherical")};
