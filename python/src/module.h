// The extension module sonde._sonde: what the Python files of the package call. Not for users; they import sonde.
//
// Built against the stable ABI. The functions of 3.10 that it calls are in 3.9, too, with the same face (PyUnicode_AsUTF8AndSize,
// METH_FASTCALL, PyModule_AddObjectRef is not used), so that one wheel serves 3.9 and later.
// Thread rule: every function is called with the GIL; those that wait for output give it back meanwhile.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <sonde/sonde.h>

// ---- values.c: Python objects as fields ----
enum { FIELDS_MAX = 256, FIELDS_KEPT = 64 };

// Fields made from a mapping, and what their memory hangs on. Fill, use, clear.
struct fields {
    struct sonde_field v[FIELDS_MAX];
    size_t n;
    PyObject *kept[FIELDS_MAX]; // texts made of other objects
    size_t n_kept;
    void *memory[FIELDS_KEPT]; // elements of arrays
    size_t n_memory;
};
// bool, int, float, str, bytes, lists and tuples of one of the first four, scalars and rows of numpy and torch; an int beyond 64
// bits and anything else as str(value). None is left out. More than FIELDS_MAX: the rest is left out. 0, or -1 with an exception
// set (mapping is no dict, a str() raised: never; what cannot be told is told as its type).
int fields_fill(struct fields *f, PyObject *mapping);
void fields_clear(struct fields *f);
// The text of any object, borrowed from it or from what is kept. Surrogates that UTF-8 cannot hold become '?'.
const char *text_of(PyObject *o, Py_ssize_t *n, struct fields *keep);

// ---- log.c: call sites made at run time ----
// The call site of that place; made at its first use and never freed. Beyond CALL_SITES_MAX places those of one target and level
// share one. Null with an exception set.
enum { CALL_SITES_MAX = 16384 };
struct sonde_site *call_site_get(PyObject *target, PyObject *file, PyObject *line, long level);
enum { LEVEL_OF_SPAN = 0 }; // as level: the call site of spans that start there

PyObject *py_log(PyObject *self, PyObject *const *args, Py_ssize_t n);
PyObject *py_enabled(PyObject *self, PyObject *const *args, Py_ssize_t n);

// ---- logger.c ----
PyObject *py_logger_method(PyObject *self, PyObject *args);

// ---- span.c ----
int span_ready(PyObject *module); // adds the types Span and Context
// The span's handle; null when o is none or has ended.
struct sonde_span *span_handle(PyObject *o);

// ---- metrics.c ----
struct sonde_registry;
int metrics_ready(PyObject *module);                 // adds the types of registries and metrics
struct sonde_registry *registry_handle(PyObject *o); // null with an exception set
// For callbacks from other threads: takes the GIL; false when Python ends. Then python_leave.
bool python_enter(PyGILState_STATE *gil);
void python_leave(PyGILState_STATE gil);
const char *python_error(void); // the exception as a sentence, valid until the thread's next; it is cleared
PyObject *py_over(PyObject *self, PyObject *none);

// ---- status.c ----
int status_ready_add(PyObject *module); // adds the functions of the status server and the configuration dump
