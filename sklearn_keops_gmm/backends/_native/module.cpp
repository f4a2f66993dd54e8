// The Python module: a function that prepares a mixture, and one for each reduction.
// Arrays are whatever exports a buffer.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "reductions.h"

#define STRING(name) #name
#define JOIN(a, b) a##b
#define NAME_OF(name) STRING(name)
#define INIT_OF(name) JOIN(PyInit_, name)

namespace {

// What is thrown where Python's exception is set already.
struct Raised {};

template <class T>
constexpr const char* FORMATS = nullptr;  // of struct, in Python
template <>
constexpr const char* FORMATS<float> = "f";
template <>
constexpr const char* FORMATS<double> = "d";
template <>
constexpr const char* FORMATS<int64_t> = sizeof(long) == 8 ? "lq" : "q";

// An array, or None, whose numbers lie one after the other.
class Argument {
  public:
    Argument(const char* name, PyObject* object, int flags = PyBUF_SIMPLE)
        : name(name) {
        flags |= PyBUF_FORMAT | PyBUF_C_CONTIGUOUS;
        if (object != Py_None && PyObject_GetBuffer(object, &view, flags) < 0)
            throw Raised();
    }
    Argument(const Argument&) = delete;
    ~Argument() { PyBuffer_Release(&view); }  // of None does nothing

    bool is_none() const { return !view.obj; }
    long size() const { return is_none() ? 0 : view.len / view.itemsize; }
    template <class T>
    bool holds() const {
        return !is_none() && view.format[1] == '\0' &&
               std::strchr(FORMATS<std::remove_const_t<T>>, view.format[0]);
    }

    // Its numbers, which have to be so many of this type.
    template <class T>
    T* numbers(long count) const {
        if (!holds<T>() || size() != count)
            throw std::invalid_argument(
                std::string(name) + ": expected " + std::to_string(count) +
                " numbers of format '" + FORMATS<std::remove_const_t<T>>[0] + "', got " +
                std::to_string(size()) + " of '" + (is_none() ? "" : view.format) +
                "'");
        return static_cast<T*>(view.buf);
    }

  private:
    const char* const name;
    Py_buffer view{};
};

class WithoutGIL {
  public:
    ~WithoutGIL() { PyEval_RestoreThread(state); }

  private:
    PyThreadState* const state = PyEval_SaveThread();
};

// What a capsule with a mixture for samples of type T is called.
template <class T>
constexpr const char* NAME = nullptr;
template <>
constexpr const char* NAME<float> = "mixture for 'f'";
template <>
constexpr const char* NAME<double> = "mixture for 'd'";

// Calls what may throw, and returns null with Python's exception set where it did.
template <class Function>
PyObject* guarded(Function function) {
    try {
        return function();
    } catch (const Raised&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    }
    return nullptr;
}

template <class T>
PyObject* make_mixture(const char* name, const Argument& offsets, const Argument& means,
                       const Argument& factors) {
    const long n_components = offsets.size();
    const long n_features = n_components ? means.size() / n_components : 0;
    if (n_features == 0) throw std::invalid_argument("means: expected numbers, got 0");
    auto structure = make_structure<T>(name, n_features);
    const long factor_size = structure->factor_size();
    const bool tied = std::strcmp(name, "tied") == 0;
    const Components components{
        n_components, offsets.numbers<const double>(n_components),
        means.numbers<const double>(n_components * n_features),
        factors.numbers<const double>((tied ? 1 : n_components) * factor_size),
        tied ? 0 : factor_size};
    auto mixture = std::make_unique<Mixture<T>>(std::move(structure), components);
    const auto destroy = [](PyObject* capsule) {
        delete static_cast<Mixture<T>*>(PyCapsule_GetPointer(capsule, NAME<T>));
    };
    PyObject* capsule = PyCapsule_New(mixture.get(), NAME<T>, destroy);
    if (capsule) mixture.release();
    return capsule;
}

// mixture(format, structure, offsets, means, factors)
PyObject* mixture(PyObject*, PyObject* args) {
    const char *format, *structure;
    PyObject *offsets, *means, *factors;
    if (!PyArg_ParseTuple(args, "ssOOO", &format, &structure, &offsets, &means,
                          &factors))
        return nullptr;
    return guarded([&] {
        const Argument arrays[] = {
            {"offsets", offsets}, {"means", means}, {"factors", factors}};
        const bool wide = std::strcmp(format, FORMATS<double>) == 0;
        if (!wide && std::strcmp(format, FORMATS<float>) != 0)
            throw std::invalid_argument(
                std::string("format: expected 'f' or 'd', got '") + format + "'");
        const auto make = wide ? make_mixture<double> : make_mixture<float>;
        return make(structure, arrays[0], arrays[1], arrays[2]);
    });
}

template <class Reduction, class T>
void run(PyObject* capsule, const Argument& centre, double scale,
         const Argument& points, const Argument& weights, long tile_bytes,
         const Argument& out) {
    if (!PyCapsule_IsValid(capsule, NAME<T>))
        throw std::invalid_argument(std::string("mixture: expected a ") + NAME<T>);
    const auto& mixture =
        *static_cast<const Mixture<T>*>(PyCapsule_GetPointer(capsule, NAME<T>));
    const long D = mixture.n_features(), n_samples = points.size() / D;
    const Samples<T> samples{
        points.numbers<const T>(n_samples * D),
        weights.is_none() ? nullptr : weights.numbers<const T>(n_samples), n_samples,
        centre.numbers<const double>(D), scale};
    using Result = typename Reduction::template Result<T>;
    const long size = Reduction::size(n_samples, mixture.count(), mixture.sums_size());
    Result* results = out.numbers<Result>(size);

    const WithoutGIL here;
    reduce<Reduction>(samples, mixture, tile_bytes, size, results);
}

// reduction(mixture, centre, scale, points, weights, tile_bytes, out)
template <class Reduction>
PyObject* reduction(PyObject*, PyObject* args) {
    PyObject *mixture, *centre, *points, *weights, *out;
    double scale;
    Py_ssize_t tile_bytes;
    if (!PyArg_ParseTuple(args, "OOdOOnO", &mixture, &centre, &scale, &points,
                          &weights, &tile_bytes, &out))
        return nullptr;
    return guarded([&] {
        const Argument given("points", points);
        const auto run_one = given.holds<double>() ? run<Reduction, double>
                                                   : run<Reduction, float>;
        run_one(mixture, {"centre", centre}, scale, given, {"weights", weights},
                tile_bytes, {"out", out, PyBUF_WRITABLE});
        Py_RETURN_NONE;
    });
}

PyMethodDef methods[] = {
    {"mixture", mixture, METH_VARARGS, nullptr},
    {"log_density", reduction<LogDensity>, METH_VARARGS, nullptr},
    {"labels", reduction<Labels>, METH_VARARGS, nullptr},
    {"responsibilities", reduction<Responsibilities>, METH_VARARGS, nullptr},
    {"moments", reduction<Sums>, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {
    PyModuleDef_HEAD_INIT, NAME_OF(MODULE), nullptr, 0, methods, nullptr, nullptr,
    nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC INIT_OF(MODULE)() { return PyModule_Create(&module); }
