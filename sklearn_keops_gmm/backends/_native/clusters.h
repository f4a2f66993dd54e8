// Functions of the Python module that find clusters. Samples are in blocks: columns,
// (blocks, D, BLOCK), in which the last sample is repeated.
#pragma once

#include <Python.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "arguments.h"
#include "calls.h"
#include "lloyd.h"
#include "nearest.h"
#include "seeding.h"

// Returns a whole number of at least 1, as sizes are.
inline int64_t count_of(const std::string& name, PyObject* object) {
    const Py_ssize_t found = PyNumber_AsSsize_t(object, nullptr);
    const std::string expected = "a whole number from 1 to " + std::to_string(INT32_MAX);
    if (found == -1 && PyErr_Occurred()) refuse_as_raised(name, expected, object);
    if (found < 1 || found > INT32_MAX) refuse(name, expected, shown(object));
    return found;
}

// block_order(n_features, points, order)
inline PyObject* block_order(PyObject*, PyObject* args) {
    PyObject *n_features, *points, *order;
    if (!PyArg_ParseTuple(args, "OOO:block_order", &n_features, &points, &order))
        return nullptr;
    return guarded([&] {
        const int64_t D = count_of("n_features", n_features);
        const Argument given("points", points), out("order", order, PyBUF_WRITABLE);
        with_dtype(given, [&](auto number) {
            using T = decltype(number);
            const int64_t N = rows_of(given, D);
            const T* rows = given.numbers<const T>(N * D);
            int64_t* found = out.numbers<int64_t>(N);
            refuse_overlaps(out, {&given});
            const WithoutGIL here;
            KDOrder<T>(rows, D, N).write(found);
        });
        Py_RETURN_NONE;
    });
}

// Tells whether a label has changed.
template <class T>
bool run_assign(const Argument& columns, const Argument& weights,
                const Argument& centres, const Argument& moved, const Argument& labels,
                const Argument& margins, const Argument& sums, int64_t M) {
    const int64_t D = rows_of(centres, M), n = rows_of(columns, D * BLOCK);
    const T* blocks = columns.numbers<const T>(n * D * BLOCK);
    const double* shares =
        weights.is_none() ? nullptr : weights.numbers<const double>(n * BLOCK);
    const double* drift = moved.is_none() ? nullptr : moved.numbers<const double>(M);
    float* bounds = margins.is_none() ? nullptr : margins.numbers<float>(times(n, M));
    double* out = shares ? sums.numbers<double>(times(M, D + 1)) : nullptr;
    int64_t* found = labels.numbers<int64_t>(n * BLOCK);
    if (drift) check_within(labels, found, n * BLOCK, 0, M);
    if (drift && !bounds) refuse("margins", "those of the call before", "None");
    refuse_overlaps(labels, {&columns, &weights, &centres, &moved, &margins, &sums});
    refuse_overlaps(margins, {&columns, &weights, &centres, &moved, &sums});
    refuse_overlaps(sums, {&columns, &weights, &centres, &moved});

    const T* means = centres.numbers<const T>(M * D);
    const WithoutGIL here;
    std::vector<float> own(bounds ? 0 : M);
    bool changed = false;
    Lloyd<T> lloyd(means, M, D, drift);
    for (int64_t b = 0; b < n; b++) {
        const T* block = blocks + b * D * BLOCK;
        int64_t* block_labels = found + b * BLOCK;
        float* margins_of_block = bounds ? bounds + b * M : own.data();
        changed |= lloyd.assign(block, block_labels, margins_of_block);
        if (out) lloyd.add(block, shares + b * BLOCK, block_labels, out);
    }
    return changed;
}

// assign(n_clusters, columns, weights, centres, moved, labels, margins, sums): whether a
// label has changed
inline PyObject* assign(PyObject*, PyObject* args) {
    PyObject *n_clusters, *columns, *weights, *centres, *moved, *labels, *margins;
    PyObject* sums;
    if (!PyArg_ParseTuple(args, "OOOOOOOO:assign", &n_clusters, &columns, &weights,
                          &centres, &moved, &labels, &margins, &sums))
        return nullptr;
    return guarded([&] {
        const int64_t M = count_of("n_clusters", n_clusters);
        const Argument given("columns", columns);
        bool changed = false;
        with_dtype(given, [&](auto number) {
            changed = run_assign<decltype(number)>(
                given, {"weights", weights}, {"centres", centres}, {"moved", moved},
                {"labels", labels, PyBUF_WRITABLE},
                {"margins", margins, PyBUF_WRITABLE}, {"sums", sums, PyBUF_WRITABLE},
                M);
        });
        return PyBool_FromLong(changed);
    });
}

template <class T>
void run_seeds(int64_t D, const Argument& columns, const Argument& order,
               const Argument& weights, const Argument& uniform, const Argument& out) {
    const int64_t n = rows_of(columns, D * BLOCK), N = rows_of(weights, 1);
    const int64_t K = rows_of(out, 1);
    const T* blocks = columns.numbers<const T>(n * D * BLOCK);
    const int64_t* rows = numbers_within<int64_t>(order, n * BLOCK, 0, N);
    const double* shares = weights.numbers<const double>(N);
    const int64_t trials = K > 1 ? rows_of(uniform, K - 1) : 0;
    const double* drawn =
        trials ? uniform.numbers<const double>(times(K - 1, trials)) : nullptr;
    int64_t* found = out.numbers<int64_t>(K);
    std::vector<bool> is_there(N);
    for (int64_t i = 0; i < n * BLOCK; i++) is_there[rows[i]] = true;
    if (std::find(is_there.begin(), is_there.end(), false) != is_there.end())
        refuse("order", "each of the samples that weights has", "not all of them");
    if (found[0] < 0 || found[0] >= N)
        refuse("seeds", "one of the samples as the first", std::to_string(found[0]));
    refuse_overlaps(out, {&columns, &order, &weights, &uniform});

    const WithoutGIL here;
    Seeding<T>(blocks, rows, shares, n, D, N).draw(found[0], drawn, trials, K, found);
}

// seeds(n_features, columns, order, weights, uniform, seeds): of which the first is given
inline PyObject* seeds(PyObject*, PyObject* args) {
    PyObject *n_features, *columns, *order, *weights, *uniform, *out;
    if (!PyArg_ParseTuple(args, "OOOOOO:seeds", &n_features, &columns, &order, &weights,
                          &uniform, &out))
        return nullptr;
    return guarded([&] {
        const int64_t D = count_of("n_features", n_features);
        const Argument given("columns", columns);
        with_dtype(given, [&](auto number) {
            run_seeds<decltype(number)>(D, given, {"order", order},
                                        {"weights", weights}, {"uniform", uniform},
                                        {"seeds", out, PyBUF_WRITABLE});
        });
        Py_RETURN_NONE;
    });
}

// Groups of which none is empty.
inline const int64_t* group_bounds(const Argument& bounds, int64_t n_groups, int64_t M) {
    const int64_t* found = numbers_within<int64_t>(bounds, n_groups + 1, 0, M + 1);
    const bool rise = std::adjacent_find(found, found + n_groups + 1,
                                         std::greater_equal<>()) == found + n_groups + 1;
    if (!rise || found[0] != 0 || found[n_groups] != M)
        refuse(bounds.name, "numbers that rise from 0 to " + std::to_string(M), "others");
    return found;
}

struct NearestArguments {
    const Argument points, centres, means, bounds, distances, indices;
};

template <class T>
void run_nearest(int64_t D, int64_t n_probes, const NearestArguments& of) {
    const int64_t N = rows_of(of.points, D), M = rows_of(of.means, D);
    const int64_t n_groups = rows_of(of.centres, D), count = rows_of(of.distances, N);
    const Groups<T> groups{n_groups,
                           M,
                           D,
                           of.centres.numbers<const T>(n_groups * D),
                           of.means.numbers<const T>(M * D),
                           group_bounds(of.bounds, n_groups, M)};
    const T* points = of.points.numbers<const T>(N * D);
    T* distances = of.distances.numbers<T>(N * count);
    int64_t* indices = of.indices.numbers<int64_t>(N * count);
    const WithoutGIL here;
    Nearest<T> nearest(groups, std::min(n_probes, n_groups));
    nearest.find(points, N, count, distances, indices);
}

// nearest(n_features, points, centres, means, bounds, n_probes, distances, indices)
inline PyObject* nearest_means(PyObject*, PyObject* args) {
    PyObject *n_features, *points, *centres, *means, *bounds, *n_probes, *distances;
    PyObject* indices;
    if (!PyArg_ParseTuple(args, "OOOOOOOO:nearest", &n_features, &points, &centres,
                          &means, &bounds, &n_probes, &distances, &indices))
        return nullptr;
    return guarded([&] {
        const NearestArguments given{{"points", points},
                                     {"centres", centres},
                                     {"means", means},
                                     {"bounds", bounds},
                                     {"distances", distances, PyBUF_WRITABLE},
                                     {"indices", indices, PyBUF_WRITABLE}};
        for (const Argument* out : {&given.distances, &given.indices})
            refuse_overlaps(*out,
                            {&given.points, &given.centres, &given.means, &given.bounds});
        refuse_overlaps(given.distances, {&given.indices});
        with_dtype(given.points, [&](auto number) {
            run_nearest<decltype(number)>(count_of("n_features", n_features),
                                          count_of("n_probes", n_probes), given);
        });
        Py_RETURN_NONE;
    });
}
