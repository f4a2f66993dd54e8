// What Python calls for sums over candidates.
#pragma once

#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "calls.h"
#include "candidates.h"

// Calls a function with the kind of covariances that has a name.
template <class T, class Function>
void with_kind(const std::string& structure, int64_t D, Function function) {
    if (structure == "full") return function(OfMatrices<T>{D});
    if (structure == "diag") return function(OfDiagonals<T>{D});
    if (structure == "spherical") return function(OfNumbers<T>{D});
    refuse("structure", "'full', 'diag' or 'spherical'", "'" + structure + "'");
}

// Returns how many components groups of items belong to.
inline int64_t groups_of(const Argument& bounds) {
    if (bounds.size() < 2 || bounds.size() > MOST)
        refuse(bounds.name, "2 or more numbers", bounds.given());
    return bounds.size() - 1;
}

// Where each of `count` groups begins among items, and where the last one ends.
inline const int64_t* bounds_within(const Argument& argument, int64_t count,
                                    int64_t n_items) {
    const int64_t* bounds = numbers_within<int64_t>(argument, count + 1, 0, n_items + 1);
    if (!std::is_sorted(bounds, bounds + count + 1))
        refuse(argument.name, "numbers that do not fall", "others");
    return bounds;
}

// Some groups: (begin, end) of Python.
struct SomeGroups {
    Py_ssize_t begin, end;

    void check(int64_t count) const {
        if (begin < 0 || begin > end || end > count)
            refuse("begin, end", "a part of " + std::to_string(count),
                   std::to_string(begin) + ", " + std::to_string(end));
    }
};

// Returns the items of all groups, of which those of some are to be below `end`.
inline const int64_t* order_within(const Argument& order, const int64_t* bounds,
                                   SomeGroups groups, int64_t end) {
    const auto* items = order.numbers<const int64_t>(end);
    const int64_t first = bounds[groups.begin];
    check_within(order, items + first, bounds[groups.end] - first, 0, end);
    return items;
}

// group(keys, bounds, order): sort numbers of items by their keys
inline PyObject* group_items(PyObject*, PyObject* args) {
    PyObject *keys, *bounds, *order;
    if (!PyArg_ParseTuple(args, "OOO:group", &keys, &bounds, &order)) return nullptr;
    return guarded([&] {
        const Argument of("keys", keys), starts("bounds", bounds, PyBUF_WRITABLE);
        const Argument out("order", order, PyBUF_WRITABLE);
        const int64_t count = rows_of(of, 1, MOST), n_groups = groups_of(starts);
        const auto* numbers = numbers_within<int32_t>(of, count, INT32_MIN, n_groups);
        int64_t* begins = starts.numbers<int64_t>(n_groups + 1);
        int64_t* sorted = out.numbers<int64_t>(count);
        refuse_overlaps(starts, {&of, &out});
        refuse_overlaps(out, {&of});
        const WithoutGIL here;
        group(numbers, count, n_groups, begins, sorted);
        Py_RETURN_NONE;
    });
}

struct SearchArguments {
    const Argument rows, packed, order, bounds, neighbours, candidates, levels, renewed;
};

template <class T>
void run_search(const SearchArguments& of, const std::string& structure, SomeGroups leaders,
                int64_t n_hops, int64_t step) {
    const int64_t N = rows_of(of.order, 1, MOST), M = groups_of(of.bounds);
    const int64_t D = rows_of(of.rows, N, MOST), K = rows_of(of.candidates, N, MOST);
    const int64_t G = rows_of(of.neighbours, M, MOST), R = rows_of(of.renewed, M, MOST);
    leaders.check(M);
    const auto* bounds = bounds_within(of.bounds, M, N);
    const auto* order = order_within(of.order, bounds, leaders, N);
    int32_t* candidates = of.candidates.numbers<int32_t>(N * K);
    // Only of their own samples: threads write those of others at the same time.
    for (int64_t at = bounds[leaders.begin]; at < bounds[leaders.end]; at++)
        check_within(of.candidates, candidates + order[at] * K, K, -1, M);
    with_kind<T>(structure, D, [&](const auto& kind) {
        const Candidates<T> given{
            M, D, K, G, R, of.rows.template numbers<const T>(N * D),
            of.packed.template numbers<const T>(times(M, kind.width())),
            order, bounds,
            numbers_within<int32_t>(of.neighbours, M * G, 0, M), n_hops, step,
            candidates,
            of.levels.template numbers<T>(N * K),
            of.renewed.template numbers<int32_t>(M * R)};
        const WithoutGIL here;
        Search<T, std::decay_t<decltype(kind)>> search(given, kind);
        for (int64_t j = leaders.begin; j < leaders.end; j++) search.lead(j);
    });
}

// search(structure, rows, packed, order, bounds, neighbours, candidates, levels,
//        renewed, begin, end, n_hops, step): for the samples of some leaders
inline PyObject* search_candidates(PyObject*, PyObject* args) {
    PyObject *structure, *rows, *packed, *order, *bounds, *neighbours, *candidates;
    PyObject *levels, *renewed;
    SomeGroups leaders;
    Py_ssize_t n_hops, step;
    if (!PyArg_ParseTuple(args, "OOOOOOOOOnnnn:search", &structure, &rows, &packed,
                          &order, &bounds, &neighbours, &candidates, &levels, &renewed,
                          &leaders.begin, &leaders.end, &n_hops, &step))
        return nullptr;
    return guarded([&] {
        const SearchArguments given{{"rows", rows},
                                    {"packed", packed},
                                    {"order", order},
                                    {"bounds", bounds},
                                    {"neighbours", neighbours},
                                    {"candidates", candidates, PyBUF_WRITABLE},
                                    {"levels", levels, PyBUF_WRITABLE},
                                    {"renewed", renewed, PyBUF_WRITABLE}};
        for (const Argument* out : {&given.candidates, &given.levels, &given.renewed})
            refuse_overlaps(*out, {&given.rows, &given.packed, &given.order,
                                   &given.bounds, &given.neighbours});
        refuse_overlaps(given.candidates, {&given.levels, &given.renewed});
        refuse_overlaps(given.levels, {&given.renewed});
        with_dtype(given.rows, [&](auto number) {
            run_search<decltype(number)>(given, text_of("structure", structure), leaders,
                                         n_hops, step);
        });
        Py_RETURN_NONE;
    });
}

// share(candidates, weights, levels, keys): turn log-densities into weighted shares;
// returns the log-likelihood
inline PyObject* share_samples(PyObject*, PyObject* args) {
    PyObject *candidates, *weights, *levels, *keys;
    Py_ssize_t n_samples;
    if (!PyArg_ParseTuple(args, "OOOOn:share", &candidates, &weights, &levels, &keys,
                          &n_samples))
        return nullptr;
    return guarded([&] {
        const Argument of("candidates", candidates), weigh("weights", weights);
        const Argument shares("levels", levels, PyBUF_WRITABLE);
        const Argument out("keys", keys, PyBUF_WRITABLE);
        const int64_t K = rows_of(of, n_samples, MOST), size = n_samples * K;
        refuse_overlaps(out, {&of, &weigh, &shares});
        refuse_overlaps(shares, {&of, &weigh});
        double total = 0;
        with_dtype(shares, [&](auto number) {
            using T = decltype(number);
            const auto* found = of.numbers<const int32_t>(size);
            const T* own = weigh.is_none() ? nullptr : weigh.numbers<const T>(n_samples);
            T* changed = shares.numbers<T>(size);
            int32_t* who = out.numbers<int32_t>(size);
            const WithoutGIL here;
            total = share(found, own, n_samples, K, changed, who);
        });
        return PyFloat_FromDouble(total);
    });
}

// shared_moments(structure, rows, shares, order, bounds, means, begin, end, out)
inline PyObject* shared_moments(PyObject*, PyObject* args) {
    PyObject *structure, *rows, *shares, *order, *bounds, *means, *out;
    SomeGroups some;
    if (!PyArg_ParseTuple(args, "OOOOOOnnO:shared_moments", &structure, &rows, &shares,
                          &order, &bounds, &means, &some.begin, &some.end, &out))
        return nullptr;
    return guarded([&] {
        const Argument points("rows", rows), of("shares", shares), sorted("order", order);
        const Argument starts("bounds", bounds), about("means", means);
        const Argument sums("out", out, PyBUF_WRITABLE);
        refuse_overlaps(sums, {&points, &of, &sorted, &starts, &about});
        const int64_t M = groups_of(starts), D = rows_of(about, M, MOST);
        const int64_t N = rows_of(points, D, MOST), K = rows_of(of, N, MOST);
        some.check(M);
        with_dtype(points, [&](auto number) {
            using T = decltype(number);
            with_kind<T>(text_of("structure", structure), D, [&](const auto& kind) {
                const auto* bounds = bounds_within(starts, M, N * K);
                const Shares<T> given{
                    D, K, points.numbers<const T>(N * D), of.numbers<const T>(N * K),
                    order_within(sorted, bounds, some, N * K), bounds,
                    about.numbers<const double>(M * D)};
                const int64_t size = times(some.end - some.begin, kind.n_sums());
                double* found = sums.numbers<double>(size);
                const WithoutGIL here;
                add_moments(kind, given, some.begin, some.end, found);
            });
        });
        Py_RETURN_NONE;
    });
}
