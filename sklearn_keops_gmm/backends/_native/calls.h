// How functions of Python's are called: without its lock, and what they throw.
#pragma once

#include <Python.h>

#include <cstring>
#include <exception>
#include <new>

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
