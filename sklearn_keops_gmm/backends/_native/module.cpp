// The Python module: a function that prepares a mixture, and one for each reduction.
// Arrays are whatever exports a buffer.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>
#include <memory>
#include <string>

#include "above.h"
#include "arguments.h"
#include "calls.h"
#include "candidates_calls.h"
#include "clusters.h"
#include "incomplete.h"
#include "kinds.h"
#include "m_step_calls.h"
#include "pruned.h"
#include "reductions.h"

#define STRING(name) #name
#define JOIN(a, b) a##b
#define NAME_OF(name) STRING(name)
#define INIT_OF(name) JOIN(PyInit_, name)

namespace {

// What a capsule with a mixture for samples of type T is called. Modules for other
// processors pack mixtures in other ways.
template <class T>
constexpr const char* NAME = nullptr;
template <>
constexpr const char* NAME<float> = "mixture for 'f' of " NAME_OF(MODULE);
template <>
constexpr const char* NAME<double> = "mixture for 'd' of " NAME_OF(MODULE);

// Returns how many components or features these are, each of `items` numbers.
int64_t bounded(const Argument& of, int64_t items, const char* each) {
    const int64_t count = of.size() / items;
    if (!of.holds<double>() || count < 1 || count > MOST)
        refuse(of.name, "1 to " + std::to_string(MOST) + " numbers of format 'd'" + each,
               of.given());
    return count;
}

// Coordinates in which samples are seen: (x - centre) / scale.
struct InFrame {
    const Argument& centre;
    double scale;
};

template <class T>
PyObject* make_mixture(const std::string& name, const InFrame& frame,
                       const Argument& offsets, const Argument& means,
                       const Argument& factors) {
    const int64_t M = bounded(offsets, 1, "");
    const int64_t D = bounded(means, M, " for each component");
    const Kind<T>& kind = kind_called<T>(name);
    const int64_t size = kind.factor_size(D), count = times(kind.shared ? 1 : M, size);
    const double* given_offsets = offsets.numbers<const double>(M);
    const double* given_means = means.numbers<const double>(M * D);
    const double* given_factors = factors.numbers<const double>(count);
    const double* centre = frame.centre.numbers<const double>(D);
    const Array<double> own_means(M * D), own_factors(count);
    for (int64_t i = 0; i < M * D; i++)
        own_means[i] = (given_means[i] - centre[i % D]) / frame.scale;
    for (int64_t i = 0; i < count; i++) own_factors[i] = given_factors[i] * frame.scale;
    auto mixture = kind.make(
        {M, D, given_offsets, own_means, own_factors, kind.shared ? 0 : size});
    const auto destroy = [](PyObject* capsule) {
        delete static_cast<Mixture<T>*>(PyCapsule_GetPointer(capsule, NAME<T>));
    };
    PyObject* capsule = PyCapsule_New(mixture.get(), NAME<T>, destroy);
    if (capsule) mixture.release();
    return capsule;
}

// mixture(format, structure, centre, scale, offsets, means, factors)
PyObject* mixture(PyObject*, PyObject* args) {
    PyObject *format, *structure, *centre, *scale, *offsets, *means, *factors;
    if (!PyArg_ParseTuple(args, "OOOOOOO:mixture", &format, &structure, &centre, &scale,
                          &offsets, &means, &factors))
        return nullptr;
    return guarded([&] {
        const Argument middle("centre", centre), arrays[] = {
            {"offsets", offsets}, {"means", means}, {"factors", factors}};
        const std::string of = text_of("format", format);
        const bool wide = of == FORMATS<double>;
        if (!wide && of != FORMATS<float>)
            refuse("format", "'f' or 'd'", shown(format));
        const auto make = wide ? make_mixture<double> : make_mixture<float>;
        return make(text_of("structure", structure), {middle, scale_of(scale)},
                    arrays[0], arrays[1], arrays[2]);
    });
}

template <class T>
const Mixture<T>& mixture_in(PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, NAME<T>)) {
        const char* other =
            PyCapsule_CheckExact(capsule) ? PyCapsule_GetName(capsule) : nullptr;
        refuse("mixture", std::string("a ") + NAME<T>,
               other ? std::string("a ") + other : kind_of(capsule));
    }
    return *static_cast<const Mixture<T>*>(PyCapsule_GetPointer(capsule, NAME<T>));
}

// How many results a reduction has.
template <class Reduction, class T>
int64_t size_of(const Mixture<T>& mixture, int64_t n_samples) {
    return Reduction::size(n_samples, mixture.M, mixture.sums_size());
}

// n_sums(mixture): how many numbers `moments` adds to
PyObject* n_sums(PyObject*, PyObject* capsule) {
    return guarded([&] {
        const int64_t size = PyCapsule_IsValid(capsule, NAME<float>)
                                 ? size_of<Sums>(mixture_in<float>(capsule), 0)
                                 : size_of<Sums>(mixture_in<double>(capsule), 0);
        return PyLong_FromLongLong(size);
    });
}

struct SettleArguments {
    Argument sums, mass, first, second;
};

// Returns the log-likelihood, and the mass of what is beside the components.
template <class T>
PyObject* settle_sums(PyObject* capsule, double scale, const SettleArguments& of) {
    const Mixture<T>& mixture = mixture_in<T>(capsule);
    const int64_t size = size_of<Sums>(mixture, 0), M = mixture.M, n_first = M * mixture.D;
    const int64_t n_second = mixture.second_size();
    double* sums = of.sums.numbers<double>(size);
    const WrittenMoments out{of.mass.numbers<double>(M), of.first.numbers<double>(n_first),
                             of.second.numbers<double>(n_second)};
    mixture.settle(sums);
    mixture.write(sums, out);
    for (int64_t i = 0; i < n_first; i++) out.first[i] *= scale;
    for (int64_t i = 0; i < n_second; i++) out.second[i] = out.second[i] * scale * scale;
    return Py_BuildValue("dd", sums[size - 2], sums[size - 1]);
}

// settle(mixture, scale, sums, mass, first, second): turn what `moments` added up into
// moments in a unit of which there are `scale` in one of the frame
PyObject* settle(PyObject*, PyObject* args) {
    PyObject *capsule, *scale, *sums, *mass, *first, *second;
    if (!PyArg_ParseTuple(args, "OOOOOO:settle", &capsule, &scale, &sums, &mass, &first,
                          &second))
        return nullptr;
    return guarded([&] {
        const bool narrow = PyCapsule_IsValid(capsule, NAME<float>);
        const auto settle_one = narrow ? settle_sums<float> : settle_sums<double>;
        const SettleArguments of{{"sums", sums, PyBUF_WRITABLE},
                                 {"mass", mass, PyBUF_WRITABLE},
                                 {"first", first, PyBUF_WRITABLE},
                                 {"second", second, PyBUF_WRITABLE}};
        refuse_overlaps(of.sums, {&of.mass, &of.first, &of.second});
        refuse_overlaps(of.mass, {&of.first, &of.second});
        refuse_overlaps(of.first, {&of.second});
        return settle_one(capsule, scale_of(scale), of);
    });
}

template <class Reduction, class T>
void run(PyObject* capsule, const Argument& centre, double scale, double rest,
         const Argument& points, const Argument& weights, const Argument& rests,
         int64_t tile_bytes, const Argument& out) {
    const Mixture<T>& mixture = mixture_in<T>(capsule);
    const int64_t D = mixture.D, n_samples = points.size() / D;
    const Samples<T> samples{
        points.numbers<const T>(n_samples * D),
        weights.is_none() ? nullptr : weights.numbers<const T>(n_samples), n_samples,
        centre.numbers<const double>(D), scale, rest,
        rests.is_none() ? nullptr : rests.numbers<const T>(n_samples)};
    using Result = typename Reduction::template Result<T>;
    const int64_t size = size_of<Reduction>(mixture, n_samples);
    Result* results = out.numbers<Result>(size);
    refuse_overlaps(out, {&points, &weights, &rests, &centre});

    const WithoutGIL here;
    if constexpr (Reduction::pruned)
        reduce_pruned<Reduction>(samples, mixture, tile_bytes, size, results);
    else
        reduce<Reduction>(samples, mixture, tile_bytes, size, results);
}

// reduction(mixture, centre, scale, rest, points, weights, rests, tile_bytes, out): labels
// and responsibilities are those of the components alone
template <class Reduction>
PyObject* reduction(PyObject*, PyObject* args) {
    PyObject *mixture, *centre, *scale, *rest, *points, *weights, *rests, *tile_bytes,
        *out;
    if (!PyArg_ParseTuple(args, "OOOOOOOOO", &mixture, &centre, &scale, &rest, &points,
                          &weights, &rests, &tile_bytes, &out))
        return nullptr;
    return guarded([&] {
        const double unit = scale_of(scale), beside = rest_of(rest);
        const int64_t fit = bytes_of(tile_bytes);
        const Argument given("points", points);
        with_dtype(given, [&](auto number) {
            run<Reduction, decltype(number)>(mixture, {"centre", centre}, unit, beside, given,
                                             {"weights", weights}, {"rests", rests}, fit,
                                             {"out", out, PyBUF_WRITABLE});
        });
        Py_RETURN_NONE;
    });
}

template <class T>
int64_t run_above(PyObject* capsule, const Argument& centre, double scale,
                  const Argument& points, const Argument& order, const Argument& floors,
                  int64_t tile_bytes, const Argument& rows, const Argument& found) {
    const Mixture<T>& mixture = mixture_in<T>(capsule);
    const int64_t D = mixture.D, n_samples = points.size() / D;
    const Samples<T> samples{points.numbers<const T>(n_samples * D), nullptr, n_samples,
                             centre.numbers<const double>(D), scale};
    const int64_t n_floors = floors.size();
    const Floors given{floors.numbers<const double>(n_floors),
                       numbers_within<int64_t>(order, n_samples, 0, n_floors)};
    int64_t* written = rows.numbers<int64_t>(n_samples);
    T* log_densities = found.numbers<T>(n_samples);
    refuse_overlaps(rows, {&points, &order, &floors, &centre});
    refuse_overlaps(found, {&points, &order, &floors, &centre, &rows});

    const WithoutGIL here;
    return find_above(samples, mixture, given, tile_bytes, written, log_densities);
}

// above(mixture, centre, scale, points, order, floors, tile_bytes, rows, log_densities):
// how many there are
PyObject* above(PyObject*, PyObject* args) {
    PyObject *mixture, *centre, *scale, *points, *order, *floors, *tile_bytes, *rows,
        *log_densities;
    if (!PyArg_ParseTuple(args, "OOOOOOOOO:above", &mixture, &centre, &scale, &points,
                          &order, &floors, &tile_bytes, &rows, &log_densities))
        return nullptr;
    return guarded([&] {
        const double unit = scale_of(scale);
        const int64_t fit = bytes_of(tile_bytes);
        const Argument given("points", points);
        int64_t count = 0;
        with_dtype(given, [&](auto number) {
            count = run_above<decltype(number)>(
                mixture, {"centre", centre}, unit, given, {"order", order},
                {"floors", floors}, fit, {"rows", rows, PyBUF_WRITABLE},
                {"log_densities", log_densities, PyBUF_WRITABLE});
        });
        return PyLong_FromLongLong(count);
    });
}

// Returns how many rows patterns have together.
int64_t total_of(const Argument& sizes, int64_t count) {
    int64_t total = 0;
    for (const int64_t *size = sizes.numbers<const int64_t>(count), *end = size + count;
         size < end; size++)
        if (*size < 0 || *size > MOST || __builtin_add_overflow(total, *size, &total))
            refuse(sizes.name, "numbers of rows from 0 to " + std::to_string(MOST),
                   std::to_string(*size));
    return total;
}

void run_incomplete(const Argument& observed, const Argument& sizes,
                    const Argument& points, const Argument& weights,
                    const Argument& offsets, const Argument& means,
                    const Argument& precisions, double log_unit, const Argument& out) {
    const int64_t M = bounded(offsets, 1, "");
    const int64_t D = bounded(means, M, " for each component");
    const int64_t P = sizes.size(), N = total_of(sizes, P), square = D * D;
    const bool shared = precisions.size() == square;
    const Patterns patterns{
        P, observed.numbers<const uint8_t>(times(P, D)),
        sizes.numbers<const int64_t>(P), points.numbers<const double>(times(N, D)),
        weights.is_none() ? nullptr : weights.numbers<const double>(N)};
    const Precisions given{
        M, D, offsets.numbers<const double>(M), means.numbers<const double>(M * D),
        precisions.numbers<const double>(shared ? square : times(M, square)),
        shared ? 0 : square, log_unit};
    const int64_t size = times(M, 1 + D + times(D, D + 1) / 2);
    if (size > INT64_MAX - 2) throw std::bad_alloc();
    double* sums = out.numbers<double>(size + 2);
    refuse_overlaps(out, {&observed, &sizes, &points, &weights, &offsets, &means,
                          &precisions});

    const WithoutGIL here;
    IncompleteSums found(given);
    found.add(patterns);
    found.write(sums);
}

// incomplete_moments(observed, sizes, points, weights, offsets, means, precisions,
//                    log_unit, out)
PyObject* incomplete_moments(PyObject*, PyObject* args) {
    PyObject *observed, *sizes, *points, *weights, *offsets, *means, *precisions;
    PyObject *log_unit, *out;
    if (!PyArg_ParseTuple(args, "OOOOOOOOO:incomplete_moments", &observed, &sizes,
                          &points, &weights, &offsets, &means, &precisions, &log_unit,
                          &out))
        return nullptr;
    return guarded([&] {
        run_incomplete({"observed", observed}, {"sizes", sizes}, {"points", points},
                       {"weights", weights}, {"offsets", offsets}, {"means", means},
                       {"precisions", precisions}, log_unit_of(log_unit),
                       {"out", out, PyBUF_WRITABLE});
        Py_RETURN_NONE;
    });
}

PyMethodDef methods[] = {
    {"mixture", mixture, METH_VARARGS, nullptr},
    {"n_sums", n_sums, METH_O, nullptr},
    {"log_density", reduction<LogDensity>, METH_VARARGS, nullptr},
    {"labels", reduction<Labels>, METH_VARARGS, nullptr},
    {"responsibilities", reduction<Responsibilities>, METH_VARARGS, nullptr},
    {"moments", reduction<Sums>, METH_VARARGS, nullptr},
    {"pruned_log_density", reduction<Pruned<LogDensity>>, METH_VARARGS, nullptr},
    {"pruned_moments", reduction<Pruned<Sums>>, METH_VARARGS, nullptr},
    {"above", above, METH_VARARGS, nullptr},
    {"incomplete_moments", incomplete_moments, METH_VARARGS, nullptr},
    {"block_order", block_order, METH_VARARGS, nullptr},
    {"assign", assign, METH_VARARGS, nullptr},
    {"seeds", seeds, METH_VARARGS, nullptr},
    {"nearest", nearest_means, METH_VARARGS, nullptr},
    {"settle", settle, METH_VARARGS, nullptr},
    {"m_step", m_step, METH_VARARGS, nullptr},
    {"sparse_weights", sparse_weights, METH_VARARGS, nullptr},
    {"group", group_items, METH_VARARGS, nullptr},
    {"pack", pack_components, METH_VARARGS, nullptr},
    {"search", search_candidates, METH_VARARGS, nullptr},
    {"share", share_samples, METH_VARARGS, nullptr},
    {"shared_moments", shared_moments, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {
    PyModuleDef_HEAD_INIT, NAME_OF(MODULE), nullptr, 0, methods, nullptr, nullptr,
    nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC INIT_OF(MODULE)() { return PyModule_Create(&module); }
