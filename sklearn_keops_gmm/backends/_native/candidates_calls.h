// What Python calls for sums over candidates.
#pragma once

#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "calls.h"
#include "candidates.h"
#include "search.h"

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

// pack(structure, offsets, means, factors, order, out): components, in an order,
// as the loops read them; all have one factor if there is but one
inline PyObject* pack_components(PyObject*, PyObject* args) {
    PyObject *structure, *offsets, *means, *factors, *order, *out;
    if (!PyArg_ParseTuple(args, "OOOOOO:pack", &structure, &offsets, &means, &factors,
                          &order, &out))
        return nullptr;
    return guarded([&] {
        const Argument levels("offsets", offsets), of("means", means);
        const Argument roots("factors", factors), sorted("order", order);
        const Argument packed("out", out, PyBUF_WRITABLE);
        refuse_overlaps(packed, {&levels, &of, &roots, &sorted});
        const int64_t M = rows_of(levels, 1, MOST), D = rows_of(of, M, MOST);
        with_dtype(packed, [&](auto number) {
            using T = decltype(number);
            with_kind<T>(text_of("structure", structure), D, [&](const auto& kind) {
                const int64_t size = kind.factor_size();
                const bool one = roots.size() == size;
                const Components given{
                    M, D, levels.numbers<const double>(M), of.numbers<const double>(M * D),
                    roots.numbers<const double>(one ? size : times(M, size)),
                    one ? 0 : size};
                const auto* places = numbers_within<int64_t>(sorted, M, 0, M);
                T* numbers = packed.numbers<T>(times(M, kind.width()));
                const WithoutGIL here;
                pack(kind, given, places, numbers);
            });
        });
        Py_RETURN_NONE;
    });
}

struct OperandArguments {
    const Argument rows, weights, packed;

    template <class T, class Kind>
    Operands<T> read(const Kind& kind, int64_t N, int64_t M, int64_t D) const {
        return {D, rows.numbers<const T>(N * D),
                weights.is_none() ? nullptr : weights.numbers<const T>(N),
                packed.numbers<const T>(times(M, kind.width()))};
    }
};

struct SearchArguments {
    const OperandArguments operands;
    const Argument rough, means, order, bounds, neighbours, candidates, renewed;
};

template <class T>
double run_search(const SearchArguments& of, const std::string& structure,
                  SomeGroups leaders, int64_t n_hops, int64_t step, int64_t fewer) {
    const int64_t N = rows_of(of.order, 1, MOST), M = groups_of(of.bounds);
    const int64_t D = rows_of(of.operands.rows, N, MOST);
    const int64_t K = rows_of(of.candidates, N, MOST);
    const int64_t G = rows_of(of.neighbours, M, MOST), R = rows_of(of.renewed, M, MOST);
    if (fewer < 0 || fewer > K)
        refuse("fewer", "a number from 0 to " + std::to_string(K), std::to_string(fewer));
    leaders.check(M);
    const auto* bounds = bounds_within(of.bounds, M, N);
    const auto* order = order_within(of.order, bounds, leaders, N);
    int32_t* candidates = of.candidates.numbers<int32_t>(N * K);
    // Only of their own samples: threads write those of others at the same time.
    for (int64_t at = bounds[leaders.begin]; at < bounds[leaders.end]; at++)
        check_within(of.candidates, candidates + order[at] * K, K, -1, M);
    double total = 0;
    with_kind<T>(structure, D, [&](const auto& kind) {
        using Kind = std::decay_t<decltype(kind)>;
        const Operands<T> own = of.operands.template read<T>(kind, N, M, D);
        const Candidates given{
            M, K, G, R,
            of.rough.template numbers<const float>(times(M, kind.width())),
            of.means.template numbers<const double>(times(M, D)), order, bounds,
            numbers_within<int32_t>(of.neighbours, M * G, 0, M), n_hops, step, fewer,
            candidates,
            of.renewed.template numbers<int32_t>(M * R)};
        const WithoutGIL here;
        Search<T, Kind> search(given, own, kind);
        for (int64_t j = leaders.begin; j < leaders.end; j++) total += search.lead(j);
    });
    return total;
}

// search(structure, rows, weights, packed, rough, means, order, bounds, neighbours,
//        candidates, renewed, begin, end, n_hops, step, fewer): for the samples of some
// leaders; returns the log-likelihood of fewer candidates
inline PyObject* search_candidates(PyObject*, PyObject* args) {
    PyObject *structure, *rows, *weights, *packed, *rough, *means, *order, *bounds;
    PyObject *neighbours, *candidates, *renewed;
    SomeGroups leaders;
    Py_ssize_t n_hops, step, fewer;
    if (!PyArg_ParseTuple(args, "OOOOOOOOOOOnnnnn:search", &structure, &rows, &weights,
                          &packed, &rough, &means, &order, &bounds, &neighbours,
                          &candidates, &renewed, &leaders.begin, &leaders.end, &n_hops,
                          &step, &fewer))
        return nullptr;
    return guarded([&] {
        const SearchArguments given{
            {{"rows", rows}, {"weights", weights}, {"packed", packed}},
            {"rough", rough},
            {"means", means},
            {"order", order},
            {"bounds", bounds},
            {"neighbours", neighbours},
            {"candidates", candidates, PyBUF_WRITABLE},
            {"renewed", renewed, PyBUF_WRITABLE}};
        const OperandArguments& operands = given.operands;
        for (const Argument* out : {&given.candidates, &given.renewed})
            refuse_overlaps(*out, {&operands.rows, &operands.weights, &operands.packed,
                                   &given.rough, &given.means, &given.order,
                                   &given.bounds, &given.neighbours});
        refuse_overlaps(given.candidates, {&given.renewed});
        double total = 0;
        with_dtype(operands.rows, [&](auto number) {
            total = run_search<decltype(number)>(given, text_of("structure", structure),
                                                 leaders, n_hops, step, fewer);
        });
        return PyFloat_FromDouble(total);
    });
}

// share(structure, rows, weights, packed, candidates, shares, keys, n_samples,
//       n_components): sort the candidates of samples, write their weighted shares and
// which have one; returns the log-likelihood
inline PyObject* share_samples(PyObject*, PyObject* args) {
    PyObject *structure, *rows, *weights, *packed, *candidates, *shares, *keys;
    Py_ssize_t N, M;
    if (!PyArg_ParseTuple(args, "OOOOOOOnn:share", &structure, &rows, &weights, &packed,
                          &candidates, &shares, &keys, &N, &M))
        return nullptr;
    return guarded([&] {
        const OperandArguments operands{
            {"rows", rows}, {"weights", weights}, {"packed", packed}};
        const Argument of("candidates", candidates, PyBUF_WRITABLE);
        const Argument out("shares", shares, PyBUF_WRITABLE);
        const Argument who("keys", keys, PyBUF_WRITABLE);
        for (const Argument* written : {&of, &out, &who})
            refuse_overlaps(*written, {&operands.rows, &operands.weights, &operands.packed});
        refuse_overlaps(of, {&out, &who});
        refuse_overlaps(out, {&who});
        const int64_t D = rows_of(operands.rows, N, MOST), K = rows_of(of, N, MOST);
        double total = 0;
        with_dtype(operands.rows, [&](auto number) {
            using T = decltype(number);
            with_kind<T>(text_of("structure", structure), D, [&](const auto& kind) {
                const Operands<T> samples = operands.template read<T>(kind, N, M, D);
                int32_t* held = of.numbers<int32_t>(N * K);
                check_within(of, held, N * K, -1, M);
                T* found = out.numbers<T>(N * K);
                int32_t* named = who.numbers<int32_t>(N * K);
                const WithoutGIL here;
                total = share(kind, samples, N, K, held, found, named);
            });
        });
        return PyFloat_FromDouble(total);
    });
}

// shared_moments(structure, rows, shares, order, bounds, means, places, begin, end, out):
// write the sums of some components, each at its place
inline PyObject* shared_moments(PyObject*, PyObject* args) {
    PyObject *structure, *rows, *shares, *order, *bounds, *means, *places, *out;
    SomeGroups some;
    if (!PyArg_ParseTuple(args, "OOOOOOOnnO:shared_moments", &structure, &rows, &shares,
                          &order, &bounds, &means, &places, &some.begin, &some.end, &out))
        return nullptr;
    return guarded([&] {
        const Argument points("rows", rows), of("shares", shares), sorted("order", order);
        const Argument starts("bounds", bounds), about("means", means);
        const Argument at("places", places);
        const Argument sums("out", out, PyBUF_WRITABLE);
        refuse_overlaps(sums, {&points, &of, &sorted, &starts, &about, &at});
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
                    about.numbers<const double>(M * D),
                    numbers_within<int64_t>(at, M, 0, M)};
                double* found = sums.numbers<double>(times(M, kind.n_sums()));
                const WithoutGIL here;
                add_moments(kind, given, some.begin, some.end, found);
            });
        });
        Py_RETURN_NONE;
    });
}
