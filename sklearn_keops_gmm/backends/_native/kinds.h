// The mixtures of each structure of covariances.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "full.h"
#include "pairwise_tied.h"
#include "scales.h"
#include "separate.h"
#include "tied.h"

template <class T>
std::unique_ptr<Structure<T>> small_full(int64_t n_features) {
    switch (n_features) {
        case 1: return std::make_unique<SmallFull<T, 1>>();
        case 2: return std::make_unique<SmallFull<T, 2>>();
        case 3: return std::make_unique<SmallFull<T, 3>>();
        case 4: return std::make_unique<SmallFull<T, 4>>();
        case 5: return std::make_unique<SmallFull<T, 5>>();
        case 6: return std::make_unique<SmallFull<T, 6>>();
        case 7: return std::make_unique<SmallFull<T, 7>>();
        default: return std::make_unique<SmallFull<T, 8>>();
    }
}

template <class T>
std::unique_ptr<Structure<T>> full(int64_t n_features) {
    if (n_features <= 8) return small_full<T>(n_features);
    if (padded(n_features, 5) < padded(n_features, 4))
        return std::make_unique<BlockedFull<T, 5>>(n_features);
    return std::make_unique<BlockedFull<T, 4>>(n_features);
}

template <class T, bool spherical>
std::unique_ptr<Structure<T>> scales(int64_t n_features) {
    switch (n_features) {
        case 1: return std::make_unique<Scales<T, 1, spherical>>(n_features);
        case 2: return std::make_unique<Scales<T, 2, spherical>>(n_features);
        case 3: return std::make_unique<Scales<T, 3, spherical>>(n_features);
        default: return std::make_unique<Scales<T, 4, spherical>>(n_features);
    }
}

template <class T>
std::unique_ptr<Structure<T>> diagonal(int64_t n_features) {
    return scales<T, false>(n_features);
}

template <class T>
std::unique_ptr<Structure<T>> spherical(int64_t n_features) {
    return scales<T, true>(n_features);
}

template <class T>
using Made = std::unique_ptr<Mixture<T>>;

template <class T, std::unique_ptr<Structure<T>> make(int64_t)>
Made<T> make_separate(const Components& given) {
    return std::make_unique<Separate<T>>(make(given.n_features), given);
}

// Fewer features stay in registers.
constexpr int64_t LEAST_TO_WHITEN = 5;

template <class T>
Made<T> make_tied(const Components& given) {
    if (given.n_features >= LEAST_TO_WHITEN) return std::make_unique<Tied<T>>(given);
    return std::make_unique<PairwiseTied<T>>(full<T>(given.n_features), given);
}

// How many numbers a factor for D features has, whether all components share one, and
// what makes a mixture of them.
template <class T>
struct Kind {
    const char* structure;
    int64_t (*factor_size)(int64_t D);
    bool shared;
    Made<T> (*make)(const Components&);
};

template <class T>
constexpr Kind<T> KINDS[] = {
    {"full", [](int64_t D) { return D * D; }, false, make_separate<T, full<T>>},
    {"tied", [](int64_t D) { return D * D; }, true, make_tied<T>},
    {"diag", [](int64_t D) { return D; }, false, make_separate<T, diagonal<T>>},
    {"spherical", [](int64_t) { return int64_t(1); }, false,
     make_separate<T, spherical<T>>}};

template <class T>
const Kind<T>& kind_called(const std::string& structure) {
    for (const Kind<T>& kind : KINDS<T>)
        if (structure == kind.structure) return kind;
    throw std::invalid_argument(
        "structure: expected 'full', 'tied', 'diag' or 'spherical', got '" + structure +
        "'");
}
