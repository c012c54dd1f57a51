#include "module.h"
#include <stdlib.h>
#include <string.h>

// ---- call sites -----------------------------------------------------------------------------------------------------
static PyObject *sites; // (target, file, line, level) → capsule; the GIL is its lock

static const char *text_or_none(PyObject *o)
{
    Py_ssize_t n;
    const char *p = PyUnicode_Check(o) ? PyUnicode_AsUTF8AndSize(o, &n) : NULL;
    PyErr_Clear();
    return p;
}

static struct sonde_site *call_site_new(PyObject *target, PyObject *file, PyObject *line, long level)
{
    long number = PyLong_Check(line) ? PyLong_AsLong(line) : 0;
    PyErr_Clear();
    struct sonde_site *s =
        sonde_site_new(level == LEVEL_OF_SPAN ? SONDE_LEVEL_INFO : (enum sonde_level)level, text_or_none(target),
                       text_or_none(file), number > 0 && number < INT32_MAX ? (uint32_t)number : 0, level == LEVEL_OF_SPAN);
    if (!s)
        PyErr_NoMemory();
    return s;
}

struct sonde_site *call_site_get(PyObject *target, PyObject *file, PyObject *line, long level)
{
    PyObject *number = PyLong_FromLong(level), *key = NULL, *capsule = NULL;
    struct sonde_site *s = NULL;
    if (!sites)
        sites = PyDict_New();
    if (sites && number)
        key = PyTuple_Pack(4, target, file, line, number);
    capsule = key ? PyDict_GetItemWithError(sites, key) : NULL;
    if (!capsule && key && !PyErr_Occurred() && PyDict_Size(sites) >= CALL_SITES_MAX) {
        Py_DECREF(key);
        key = PyTuple_Pack(4, PyDict_Size(sites) < CALL_SITES_MAX * 2 ? target : Py_None, Py_None, Py_None, number);
        file = line = Py_None;
        capsule = key ? PyDict_GetItemWithError(sites, key) : NULL;
    }
    if (capsule) {
        s = PyCapsule_GetPointer(capsule, NULL);
    } else if (key && !PyErr_Occurred() && (s = call_site_new(target, file, line, level)) != NULL) {
        capsule = PyCapsule_New(s, NULL, NULL);
        if (!capsule || PyDict_SetItem(sites, key, capsule) != 0)
            PyErr_Clear(); // used once, then made anew
        Py_XDECREF(capsule);
    }
    Py_XDECREF(number);
    Py_XDECREF(key);
    return s;
}

// ---- records --------------------------------------------------------------------------------------------------------
// log(level, target, file, line, message, fields=None, span=None) -> bool: whether the record was wanted by anyone. message: any
// object, its str() is taken only then. span: current for this record, in place of the thread's.
PyObject *py_log(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct fields f;
    (void)self;
    if (n < 5 || n > 7) {
        PyErr_SetString(PyExc_TypeError, "log(level, target, file, line, message, fields=None, span=None)");
        return NULL;
    }
    long level = PyLong_AsLong(args[0]);
    if (level < SONDE_LEVEL_ERROR || level > SONDE_LEVEL_TRACE) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "level %ld: 1 (ERROR) to 5 (TRACE) are levels", level);
        return NULL;
    }
    struct sonde_site *c = call_site_get(args[1], args[2], args[3], level);
    if (!c)
        return NULL;
    PyObject *mapping = n > 5 ? args[5] : NULL;
    struct sonde_span *span = n > 6 ? span_handle(args[6]) : NULL;
    bool enter = span && span != sonde_span_current();
    if (enter)
        sonde_span_enter(span);
    bool wanted = sonde_site_wanted(c);
    int rc = 0;
    if (wanted && (rc = fields_fill(&f, mapping)) == 0) {
        Py_ssize_t length;
        const char *message = text_of(args[4], &length, &f);
        sonde_log_array(c, message, (size_t)length, f.v, f.n);
        fields_clear(&f);
    }
    if (enter)
        sonde_span_exit(span);
    return rc ? NULL : PyBool_FromLong(wanted);
}

// enabled(level, target) -> bool: whether the filter or the flight recorder wants such records of that target.
PyObject *py_enabled(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "enabled(level, target)");
        return NULL;
    }
    long level = PyLong_AsLong(args[0]);
    struct sonde_site *c =
        level < SONDE_LEVEL_ERROR || level > SONDE_LEVEL_TRACE ? NULL : call_site_get(args[1], Py_None, Py_None, level);
    if (!c && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(c && sonde_site_wanted(c));
}
