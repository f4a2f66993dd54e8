// Expected moments of samples of which some features are missing, which come pattern by
// pattern, in double precision and in the frame.
#pragma once

#include <algorithm>
#include <cstdint>

#include "in_lanes.h"
#include "incomplete_rows.h"
#include "memory.h"
#include "one_pattern.h"

struct Patterns {
    int64_t count;
    const uint8_t* observed;  // (P, D)
    const int64_t* sizes;     // (P): how many rows each has
    const double* points;     // (N, D): anything where a feature is missing
    const double* weights;    // (N), or null for ones
};

class IncompleteSums {
    // From so many rows on a pattern is worth a mixture of what is observed.
    static constexpr int64_t MANY = 32;

  public:
    explicit IncompleteSums(const Precisions& of)
        : given(of), sums(given), alone(given, sums), together(given, sums) {
        sums.nan = given.nan;
    }

    void add(const Patterns& patterns) {
        const int64_t D = given.D;
        const double *rows = patterns.points, *weights = patterns.weights;
        for (int64_t p = 0; p < patterns.count; p++) {
            const uint8_t* observed = patterns.observed + p * D;
            const int64_t size = patterns.sizes[p];
            if (size < MANY || !together.add(observed, rows, weights, size))
                add_few(observed, rows, weights, size);
            rows += size * D;
            if (weights) weights += size;
        }
        alone.flush();
    }

    void write(double* out) const { sums.write(out); }

  private:
    void add_few(const uint8_t* observed, const double* rows, const double* weights,
                 int64_t size) {
        for (int64_t i = 0; i < size; i += IncompleteRows::BATCH)
            alone.add(observed, rows + i * given.D, weights ? weights + i : nullptr,
                      std::min<int64_t>(IncompleteRows::BATCH, size - i));
    }

    const ComponentsInLanes given;
    SumsInLanes sums;
    IncompleteRows alone;
    OnePattern together;
};
