// How functions of Python's are called: without its lock, what they throw, and what they
// check.
#pragma once

#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <string>

#include "arguments.h"

class WithoutGIL {
  public:
    ~WithoutGIL() { PyEval_RestoreThread(state); }

  private:
    PyThreadState* const state = PyEval_SaveThread();
};

// Calls what may throw, and returns null with Python's exception set where it did.
template <class Function>
inline PyObject* guarded(Function function) {
    try {
        return function();
    } catch (const Raised&) {
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        const char* text = error.what();  // of which an excerpt can split a character
        const Owned message(PyUnicode_DecodeUTF8(text, std::strlen(text), "replace"));
        if (message) PyErr_SetObject(PyExc_ValueError, message.get());
    }
    return nullptr;
}

// Calls a function with a number of the type that an array of samples, say, holds.
template <class Function>
void with_dtype(const Argument& of, Function function) {
    if (of.holds<double>()) return function(double());
    if (of.holds<float>()) return function(float());
    refuse(of.name, "numbers of format 'f' or 'd'", of.given());
}

// Returns how many rows of so many numbers there are, which are not to be too many.
inline int64_t rows_of(const Argument& array, int64_t width, int64_t most = INT64_MAX) {
    const int64_t count = width > 0 ? array.size() / width : 0;
    if (count < 1 || count > most || array.size() % width)
        refuse(array.name, "a multiple of " + std::to_string(width) + " numbers",
               array.given());
    return count;
}

// Refuses numbers that are not from `least` on and below `end`.
template <class Number>
void check_within(const Argument& of, const Number* numbers, int64_t count,
                  int64_t least, int64_t end) {
    if (count == 0) return;
    Number low = numbers[0], high = low;
    for (int64_t i = 0; i < count; i++) {  // many at a time
        low = numbers[i] < low ? numbers[i] : low;
        high = numbers[i] > high ? numbers[i] : high;
    }
    if (low < least || high >= end)
        refuse(of.name,
               "numbers from " + std::to_string(least) + " to " +
                   std::to_string(end - 1),
               std::to_string(low < least ? low : high));
}

template <class Number>
const Number* numbers_within(const Argument& argument, int64_t count, int64_t least,
                             int64_t end) {
    const Number* numbers = argument.numbers<const Number>(count);
    check_within(argument, numbers, count, least, end);
    return numbers;
}

// Refuses an array to write to that shares memory with others.
inline void refuse_overlaps(const Argument& out,
                            std::initializer_list<const Argument*> others) {
    for (const Argument* other : others)
        if (out.overlaps(*other))
            refuse(out.name, "memory of its own", std::string("some of ") + other->name);
}
