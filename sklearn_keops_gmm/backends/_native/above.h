// The samples that are likely enough under a mixture: of blocks of those that lie near
// each other, most need no log-densities where its components are few and narrow.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "pruned.h"

// What log-densities have to be above: one for each of all samples, some of which are
// looked at.
struct Floors {
    const double* of_all;
    const int64_t* order;  // which of all each of them is

    // Returns the lowest in each leaf of a tree over so many samples, to base 2.
    std::vector<double> of_leaves(int64_t n_leaves, int64_t leaf, int64_t count) const {
        std::vector<double> found(n_leaves, std::numeric_limits<double>::infinity());
        for (int64_t i = 0; i < count; i++)
            found[i / leaf] = std::min(found[i / leaf], of_all[order[i]] * to_base_2());
        return found;
    }
};

// Writes which of all samples have a log-density above their floor, and these; returns
// how many there are. None has one where a component is NaN.
template <class T>
int64_t find_above(const Samples<T>& samples, const Mixture<T>& mixture,
                   const Floors& floors, int64_t fit, int64_t* rows, T* log_densities) {
    if (mixture.first_nan() < mixture.M) return 0;
    int64_t count = 0;
    const auto look = [&](int64_t begin, int64_t end) {
        Tiles<T> tiles(samples.between(begin, end, mixture.D), mixture, fit, false);
        while (tiles.next()) {
            tiles.exponentiate();
            const T* found = tiles.log_density();
            const int64_t* order = floors.order + begin + tiles.start;
            for (int64_t i = 0; i < tiles.count; i++) {
                rows[count] = order[i];
                log_densities[count] = found[i];
                count += found[i] > floors.of_all[order[i]];
            }
        }
    };
    if (!mixture.separate()) {
        look(0, samples.count);
        return count;
    }
    Tree<T> tree(samples, mixture);
    const auto lowest =
        floors.of_leaves(tree.count(), Tree<T>::LEAF, samples.count);
    tree.visit_above(lowest.data(), look);
    return count;
}
