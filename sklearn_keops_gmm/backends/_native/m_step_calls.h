// How Python calls the M-step.
#pragma once

#include <algorithm>

#include "calls.h"
#include "m_step.h"
#include "structures.h"

inline const MStep& m_step_called(const std::string& type) {
    for (const MStep& step : M_STEPS)
        if (type == step.type) return step;
    refuse("type", "the name of a type of covariances", "'" + type + "'");
}

struct MStepArguments {
    Argument mass, first, second, means, ridge, weights;
    Argument start;
    double price, share, whole;
    Argument kept, added, shape;
    Argument new_weights, new_means, covariances, factors, offsets;
};

// All of what pulls is given, or nothing; where all share one covariance it is nothing.
inline Pull pull_of(const MStepArguments& arguments, bool shared, int64_t M,
                    int64_t size) {
    const Argument* const all[] = {&arguments.kept, &arguments.added, &arguments.shape};
    bool none = true;
    for (const Argument* one : all) none = none && one->is_none();
    if (none) return {};
    if (shared) refuse("kept", "None where all share a covariance", arguments.kept.given());
    return {arguments.kept.numbers<const double>(M),
            arguments.added.numbers<const double>(M),
            arguments.shape.numbers<const double>(size)};
}

inline bool run_m_step(const MStep& step, const MStepArguments& arguments) {
    const int64_t M = rows_of(arguments.mass, 1, MOST);
    const int64_t D = rows_of(arguments.ridge, 1, MOST), size = step.size(D);
    const int64_t all = times(M, size);
    const GivenMoments given{
        M,
        D,
        arguments.mass.numbers<const double>(M),
        arguments.first.numbers<const double>(M * D),
        arguments.second.numbers<const double>(step.pooled ? size : all),
        arguments.means.numbers<const double>(M * D),
        arguments.ridge.numbers<const double>(D),
        arguments.weights.is_none() ? nullptr
                                    : arguments.weights.numbers<const double>(M),
        {arguments.start.is_none() ? nullptr : arguments.start.numbers<const double>(M),
         arguments.price, arguments.share, arguments.whole},
        pull_of(arguments, step.shared, M, size)};
    const int64_t count = step.shared ? size : all;
    const FoundParameters found{
        arguments.new_weights.numbers<double>(M),
        arguments.new_means.numbers<double>(M * D),
        arguments.covariances.numbers<double>(count),
        arguments.factors.numbers<double>(count), arguments.offsets.numbers<double>(M)};
    const WithoutGIL here;
    return step.maximize(given, found);
}

// m_step(type, mass, first, second, means, ridge, weights, start, price, share, whole,
//        kept, added, shape, new_weights, new_means, covariances, factors, offsets):
//        returns whether it could tell
inline PyObject* m_step(PyObject*, PyObject* args) {
    PyObject *type, *mass, *first, *second, *means, *ridge, *weights;
    PyObject *start, *price, *share, *whole, *kept, *added, *shape;
    PyObject *new_weights, *new_means, *covariances, *factors, *offsets;
    if (!PyArg_ParseTuple(args, "OOOOOOOOOOOOOOOOOOO:m_step", &type, &mass, &first,
                          &second, &means, &ridge, &weights, &start, &price, &share,
                          &whole, &kept, &added, &shape, &new_weights, &new_means,
                          &covariances, &factors, &offsets))
        return nullptr;
    return guarded([&] {
        const MStepArguments all{{"mass", mass},
                                 {"first", first},
                                 {"second", second},
                                 {"means", means},
                                 {"ridge", ridge},
                                 {"weights", weights},
                                 {"start", start},
                                 amount_of("price", price),
                                 amount_of("share", share),
                                 amount_of("whole", whole),
                                 {"kept", kept},
                                 {"added", added},
                                 {"shape", shape},
                                 {"new_weights", new_weights, PyBUF_WRITABLE},
                                 {"new_means", new_means, PyBUF_WRITABLE},
                                 {"covariances", covariances, PyBUF_WRITABLE},
                                 {"factors", factors, PyBUF_WRITABLE},
                                 {"offsets", offsets, PyBUF_WRITABLE}};
        const Argument* const written[] = {&all.new_weights, &all.new_means,
                                           &all.covariances, &all.factors, &all.offsets};
        for (auto out = std::begin(written); out != std::end(written); ++out) {
            refuse_overlaps(**out, {&all.mass, &all.first, &all.second, &all.means,
                                    &all.ridge, &all.weights, &all.start, &all.kept,
                                    &all.added, &all.shape});
            for (auto other = out + 1; other != std::end(written); ++other)
                refuse_overlaps(**out, {*other});
        }
        return PyBool_FromLong(run_m_step(m_step_called(text_of("type", type)), all));
    });
}

// sparse_weights(fractions, start, price, weights): weights that sum to 1
inline PyObject* sparse_weights(PyObject*, PyObject* args) {
    PyObject *fractions, *start, *price, *weights;
    if (!PyArg_ParseTuple(args, "OOOO:sparse_weights", &fractions, &start, &price,
                          &weights))
        return nullptr;
    return guarded([&] {
        const double cost = amount_of("price", price);
        const Argument given("fractions", fractions), from("start", start),
            out("weights", weights, PyBUF_WRITABLE);
        const int64_t M = rows_of(given, 1, MOST);
        const double* mass = given.numbers<const double>(M);
        const double* begin = from.numbers<const double>(M);
        double* found = out.numbers<double>(M);
        refuse_overlaps(out, {&given, &from});
        {
            const WithoutGIL here;
            SparseWeights(mass, M, cost).find(begin, found);
        }
        Py_RETURN_NONE;
    });
}
