// What Python calls with: the loops trust it, so it is checked here, whoever calls.
#pragma once

#include <Python.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

// What is thrown where Python's exception is set already.
struct Raised {};

// A reference that is given back.
struct Release {
    void operator()(PyObject* object) const { Py_DECREF(object); }
};
using Owned = std::unique_ptr<PyObject, Release>;

[[noreturn]] inline void refuse(const std::string& name, const std::string& expected,
                                const std::string& got) {
    throw std::invalid_argument(name + ": expected " + expected + ", got " + got);
}

// Returns text of Python, or what it raised; no more of it than a message should have.
inline std::string excerpt(const Owned& text) {
    Py_ssize_t size;
    const char* found = text ? PyUnicode_AsUTF8AndSize(text.get(), &size) : nullptr;
    if (!found) throw Raised();
    return std::string(found, std::min<Py_ssize_t>(size, 100));
}

inline std::string shown(PyObject* object) {
    return excerpt(Owned(PyObject_ASCII(object)));
}

inline std::string kind_of(PyObject* object) {
    return object == Py_None ? "None" : excerpt(Owned(PyType_GetName(Py_TYPE(object))));
}

// Refuses what Python has just raised an error about, unless that is of another kind:
// of memory, or an interrupt.
[[noreturn]] inline void refuse_as_raised(const std::string& name,
                                          const std::string& expected,
                                          PyObject* object) {
    PyObject* const kinds[] = {PyExc_TypeError, PyExc_ValueError, PyExc_BufferError,
                               PyExc_OverflowError};
    const auto raised = [](PyObject* kind) { return PyErr_ExceptionMatches(kind); };
    if (std::none_of(std::begin(kinds), std::end(kinds), raised)) throw Raised();
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    const Owned kind_owned(kind), value_owned(value), trace_owned(trace);
    const std::string reason =
        value ? excerpt(Owned(PyObject_Str(value))) : "no reason";
    refuse(name, expected, kind_of(object) + " (" + reason + ")");
}

// Returns a name, which C takes to end at a zero.
inline std::string text_of(const std::string& name, PyObject* object) {
    if (!PyUnicode_Check(object)) refuse(name, "a str", kind_of(object));
    Py_ssize_t size;
    const char* found = PyUnicode_AsUTF8AndSize(object, &size);
    if (!found) refuse_as_raised(name, "a name", object);
    const std::string text(found, size);
    if (text.find('\0') != text.npos) refuse(name, "a name", shown(object));
    return text;
}

// Returns a number that is as it should be.
template <class Test>
double number_of(const char* name, const char* expected, PyObject* object, Test fits) {
    const double number = PyFloat_AsDouble(object);
    if (number == -1.0 && PyErr_Occurred()) refuse_as_raised(name, expected, object);
    if (!fits(number)) refuse(name, expected, shown(object));
    return number;
}

inline double scale_of(PyObject* object) {
    return number_of("scale", "a finite number above 0", object,
                     [](double x) { return x > 0 && std::isfinite(x); });
}

inline double rest_of(PyObject* object) {
    return number_of("rest", "a number below infinity", object,
                     [](double x) { return x < HUGE_VAL; });
}

inline double amount_of(const char* name, PyObject* object) {
    return number_of(name, "a finite number, 0 or above", object,
                     [](double x) { return x >= 0 && std::isfinite(x); });
}

inline double log_unit_of(PyObject* object) {
    return number_of("log_unit", "a finite number", object,
                     [](double x) { return std::isfinite(x); });
}

// Any number will do: it is a wish.
inline int64_t bytes_of(PyObject* object) {
    const Py_ssize_t bytes = PyNumber_AsSsize_t(object, nullptr);  // the nearest one
    if (bytes == -1 && PyErr_Occurred())
        refuse_as_raised("tile_bytes", "a whole number", object);
    return bytes;
}

template <class T>
constexpr const char* FORMATS = nullptr;  // of struct, in Python
template <>
constexpr const char* FORMATS<float> = "f";
template <>
constexpr const char* FORMATS<double> = "d";
template <>
constexpr const char* FORMATS<uint8_t> = "B?";
template <>
constexpr const char* FORMATS<int32_t> = "i";
template <>
constexpr const char* FORMATS<int64_t> = sizeof(long) == 8 ? "lq" : "q";

// An array, or None, whose numbers lie one after the other.
class Argument {
  public:
    const char* const name;

    Argument(const char* name, PyObject* object, int flags = PyBUF_SIMPLE)
        : name(name) {
        const bool writable = flags & PyBUF_WRITABLE;
        flags |= PyBUF_FORMAT | PyBUF_C_CONTIGUOUS;
        if (object != Py_None && PyObject_GetBuffer(object, &view, flags) < 0)
            refuse_as_raised(name,
                             writable ? "a C-contiguous array that can be written to"
                                      : "a C-contiguous array",
                             object);
    }
    Argument(const Argument&) = delete;
    ~Argument() { PyBuffer_Release(&view); }  // of None does nothing

    bool is_none() const { return !view.obj; }
    // Items can be of no bytes at all.
    int64_t size() const { return view.itemsize > 0 ? view.len / view.itemsize : 0; }
    template <class T>
    bool holds() const {
        using Number = std::remove_const_t<T>;
        return !is_none() && std::strlen(format()) == 1 &&
               std::strchr(FORMATS<Number>, *format()) && view.itemsize == sizeof(T);
    }
    std::string given() const {
        if (is_none()) return "None";
        return std::to_string(size()) + " of '" + std::string(format()).substr(0, 40) +
               "'";
    }

    // Its numbers, which have to be so many of this type.
    template <class T>
    T* numbers(int64_t count) const {
        const std::string format(1, *FORMATS<std::remove_const_t<T>>);
        if (!holds<T>() || size() != count)
            refuse(name, std::to_string(count) + " numbers of format '" + format + "'",
                   given());
        if (start() % alignof(T) != 0)
            refuse(name, "an address that numbers of format '" + format + "' can have",
                   std::to_string(start()));
        return static_cast<T*>(view.buf);
    }

    bool overlaps(const Argument& other) const {
        return view.len > 0 && other.view.len > 0 &&
               start() < other.start() + other.view.len &&
               other.start() < start() + view.len;
    }

  private:
    // Without a word they are bytes.
    const char* format() const { return view.format ? view.format : "B"; }
    uintptr_t start() const { return reinterpret_cast<uintptr_t>(view.buf); }

    Py_buffer view{};
};
