// The Python module: a function for each reduction, over arrays that export a buffer.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstring>
#include <exception>
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

struct Call {
    const char* structure;
    const Argument offsets, means, factors, centre;
    double scale;
    const Argument points, weights;
    long tile_bytes;
    const Argument out;
};

template <class Reduction, class T>
void run(const Call& call) {
    const long n_components = call.offsets.size(), n_features = call.centre.size();
    if (n_features == 0) throw std::invalid_argument("centre: expected numbers, got 0");
    const auto structure = make_structure<T>(call.structure, n_features);
    // A tied factor is there once.
    const long factor_size = structure->factor_size();
    const bool tied = call.factors.size() == factor_size;
    const Components components{
        n_components,
        call.offsets.numbers<const double>(n_components),
        call.means.numbers<const double>(n_components * n_features),
        call.factors.numbers<const double>((tied ? 1 : n_components) * factor_size),
        tied ? 0 : factor_size};
    const long n_samples = call.points.size() / n_features;
    const Samples<T> samples{
        call.points.numbers<const T>(n_samples * n_features),
        call.weights.is_none() ? nullptr : call.weights.numbers<const T>(n_samples),
        n_samples, call.centre.numbers<const double>(n_features), call.scale};
    using Result = typename Reduction::template Result<T>;
    const long size = Reduction::size(n_samples, n_components, structure->sums_size());
    Result* out = call.out.numbers<Result>(size);

    const WithoutGIL here;
    const Mixture<T> mixture(*structure, components);
    if (mixture.first_nan() < n_components)
        std::fill_n(out, size, of_nan<Result>(mixture.first_nan()));
    else
        Reduction::reduce(samples, mixture, call.tile_bytes, out);
}

template <class Reduction>
PyObject* method(PyObject*, PyObject* args) {
    const char* structure;
    PyObject *offsets, *means, *factors, *centre, *points, *weights, *out;
    double scale;
    Py_ssize_t tile_bytes;
    if (!PyArg_ParseTuple(args, "sOOOOdOOnO", &structure, &offsets, &means, &factors,
                          &centre, &scale, &points, &weights, &tile_bytes, &out))
        return nullptr;
    try {
        const Call call{structure,
                        {"offsets", offsets},
                        {"means", means},
                        {"factors", factors},
                        {"centre", centre},
                        scale,
                        {"points", points},
                        {"weights", weights},
                        tile_bytes,
                        {"out", out, PyBUF_WRITABLE}};
        if (call.points.holds<double>())
            run<Reduction, double>(call);
        else
            run<Reduction, float>(call);
        Py_RETURN_NONE;
    } catch (const Raised&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    }
    return nullptr;
}

PyMethodDef methods[] = {
    {"log_density", method<LogDensity>, METH_VARARGS, nullptr},
    {"labels", method<Labels>, METH_VARARGS, nullptr},
    {"responsibilities", method<Responsibilities>, METH_VARARGS, nullptr},
    {"moments", method<Sums>, METH_VARARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {
    PyModuleDef_HEAD_INIT, NAME_OF(MODULE), nullptr, 0, methods, nullptr, nullptr,
    nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC INIT_OF(MODULE)() { return PyModule_Create(&module); }
