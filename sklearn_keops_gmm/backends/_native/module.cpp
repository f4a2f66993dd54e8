// The Python module: reductions over arrays that are given by their addresses.
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <exception>

#include "reductions.h"

#define STRING(name) #name
#define JOIN(a, b) a##b
#define NAME_OF(name) STRING(name)
#define INIT_OF(name) JOIN(PyInit_, name)

namespace {

using Address = unsigned long long;

template <class To>
To* at(Address address) {
    return reinterpret_cast<To*>(static_cast<uintptr_t>(address));
}

struct Call {
    int reduction, is_double;
    Components components;
    Address points, weights;
    long count;
    const double* centre;
    double scale;
    Address out;
};

template <class T>
void run(const Call& call) {
    const Mixture<T> mixture(call.components);
    const Samples<T> samples{at<const T>(call.points), at<const T>(call.weights),
                             call.count, call.centre, call.scale};
    switch (call.reduction) {
        case 0: return log_density(samples, mixture, at<T>(call.out));
        case 1: return labels(samples, mixture, at<int64_t>(call.out));
        case 2: return responsibilities(samples, mixture, at<T>(call.out));
        default:
            return moments(samples, mixture, at<double>(call.out));
    }
}

PyObject* reduce(PyObject*, PyObject* args) {
    Call call;
    int kind;
    Address offsets, means, factors, centre;
    if (!PyArg_ParseTuple(args, "ipiliKKKKKlKdK", &call.reduction, &call.is_double,
                          &kind, &call.components.count, &call.components.n_features,
                          &offsets, &means, &factors, &call.points, &call.weights,
                          &call.count, &centre, &call.scale, &call.out))
        return nullptr;
    call.components.kind = static_cast<Kind>(kind);
    call.components.offsets = at<const double>(offsets);
    call.components.means = at<const double>(means);
    call.components.factors = at<const double>(factors);
    call.centre = at<const double>(centre);
    bool done = true;
    Py_BEGIN_ALLOW_THREADS
    try {
        call.is_double ? run<double>(call) : run<float>(call);
    } catch (const std::bad_alloc&) {
        done = false;
    }
    Py_END_ALLOW_THREADS
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {{"reduce", reduce, METH_VARARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};
PyModuleDef module = {
    PyModuleDef_HEAD_INIT, NAME_OF(MODULE), nullptr, 0, methods, nullptr, nullptr,
    nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC INIT_OF(MODULE)() { return PyModule_Create(&module); }
