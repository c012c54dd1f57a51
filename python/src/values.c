#include "module.h"
#include <stdlib.h>
#include <string.h>

// Lone surrogates have no UTF-8: a copy with '?' in their place.
static PyObject *replaced(PyObject *o)
{
    PyErr_Clear();
    PyObject *bytes = PyUnicode_AsEncodedString(o, "utf-8", "replace");
    PyObject *text = bytes ? PyUnicode_FromEncodedObject(bytes, "utf-8", "replace") : NULL;
    Py_XDECREF(bytes);
    return text;
}

static const char *keep(struct fields *f, PyObject *o, Py_ssize_t *n)
{
    const char *p = o && f->n_kept < FIELDS_MAX ? PyUnicode_AsUTF8AndSize(o, n) : NULL;
    if (!p) {
        PyErr_Clear();
        Py_XDECREF(o);
        *n = 1;
        return "?";
    }
    f->kept[f->n_kept++] = o;
    return p;
}

const char *text_of(PyObject *o, Py_ssize_t *n, struct fields *f)
{
    if (PyUnicode_Check(o)) {
        const char *p = PyUnicode_AsUTF8AndSize(o, n);
        return p ? p : keep(f, replaced(o), n);
    }
    PyObject *text = PyObject_Str(o);
    if (text && !PyUnicode_AsUTF8AndSize(text, n)) {
        PyObject *mended = replaced(text);
        Py_DECREF(text);
        text = mended;
    }
    if (!text) { // its __str__ raised
        PyErr_Clear();
        text = PyUnicode_FromFormat("<%R>", (PyObject *)Py_TYPE(o));
    }
    return keep(f, text, n);
}

static void set_text(struct sonde_field *out, PyObject *o, struct fields *f)
{
    Py_ssize_t n;
    out->type = SONDE_TYPE_STR;
    const char *p = text_of(o, &n, f);
    out->arg = sonde_arg_strn(p, (size_t)n);
}

static bool set_int(struct sonde_field *out, PyObject *o)
{
    int overflow;
    long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (!overflow) {
        out->type = SONDE_TYPE_INT;
        out->arg = sonde_arg_int(v);
        return true;
    }
    unsigned long long u = overflow > 0 ? PyLong_AsUnsignedLongLong(o) : 0;
    if (overflow < 0 || PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    out->type = SONDE_TYPE_UINT;
    out->arg = sonde_arg_uint(u);
    return true;
}

// ---- sequences ----
static unsigned char element_type(PyObject *o)
{
    return PyBool_Check(o)      ? SONDE_TYPE_BOOLS
           : PyLong_Check(o)    ? SONDE_TYPE_INTS
           : PyFloat_Check(o)   ? SONDE_TYPE_F64S
           : PyUnicode_Check(o) ? SONDE_TYPE_STRS
                                : 0;
}

static bool set_element(void *to, Py_ssize_t i, PyObject *o, unsigned char type, struct fields *f)
{
    Py_ssize_t n;
    switch (type) {
    case SONDE_TYPE_BOOLS:
        ((bool *)to)[i] = o == Py_True;
        return true;
    case SONDE_TYPE_INTS:
        ((int64_t *)to)[i] = PyLong_AsLongLong(o);
        break;
    case SONDE_TYPE_F64S:
        ((double *)to)[i] = PyFloat_AsDouble(o);
        break;
    default:
        ((const char **)to)[i] = text_of(o, &n, f);
    }
    bool ok = !PyErr_Occurred();
    PyErr_Clear();
    return ok;
}

// Elements of one type, ints within 64 bits; else false, and the sequence goes as text.
static bool set_sequence(struct sonde_field *out, PyObject *o, struct fields *f)
{
    Py_ssize_t n = PySequence_Size(o);
    unsigned char type = 0;
    void *to = n > 0 && n <= SONDE_ARRAY_MAX && f->n_memory < FIELDS_KEPT ? calloc((size_t)n, 8) : NULL;
    if (!to)
        return false;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *e = PySequence_GetItem(o, i); // the list holds it as well
        unsigned char its = e ? element_type(e) : 0;
        type = i == 0 ? its : type;
        bool ok = its != 0 && its == type && set_element(to, i, e, type, f);
        Py_XDECREF(e);
        if (!ok) {
            PyErr_Clear();
            free(to);
            return false;
        }
    }
    f->memory[f->n_memory++] = to;
    out->type = type;
    out->arg = sonde_arg_data(to, (size_t)n);
    return true;
}

// ---- fields ----
static bool is_plain(PyObject *o)
{
    return PyUnicode_Check(o) || PyLong_Check(o) || PyFloat_Check(o) || PyList_Check(o); // a bool is an int
}

// What a scalar or a row of numpy, torch and their kin is in Python's own types: they have dtype, ndim and tolist(). Kept; null
// if it is none, or has more dimensions or elements than a field can hold.
static PyObject *unwrapped(PyObject *v, struct fields *f)
{
    PyObject *type = (PyObject *)Py_TYPE(v);
    if (f->n_kept == FIELDS_MAX || !PyObject_HasAttrString(type, "tolist") || !PyObject_HasAttrString(type, "dtype"))
        return NULL;
    PyObject *ndim = PyObject_GetAttrString(v, "ndim");
    long dimensions = ndim && PyLong_Check(ndim) ? PyLong_AsLong(ndim) : -1;
    Py_XDECREF(ndim);
    bool fits = dimensions == 0 || (dimensions == 1 && PyObject_Size(v) <= SONDE_ARRAY_MAX);
    PyObject *plain = fits && !PyErr_Occurred() ? PyObject_CallMethod(v, "tolist", NULL) : NULL;
    PyErr_Clear();
    if (plain && is_plain(plain))
        return f->kept[f->n_kept++] = plain;
    Py_XDECREF(plain);
    return NULL;
}

static bool set_value(struct sonde_field *out, PyObject *v, struct fields *f)
{
    if (v == Py_None)
        return false;
    if (PyUnicode_Check(v)) {
        set_text(out, v, f);
    } else if (PyBool_Check(v)) {
        out->type = SONDE_TYPE_BOOL;
        out->arg = sonde_arg_bool(v == Py_True);
    } else if (PyLong_Check(v) && set_int(out, v)) {
        return true;
    } else if (PyFloat_Check(v)) {
        out->type = SONDE_TYPE_F64;
        out->arg = sonde_arg_f64(PyFloat_AsDouble(v));
    } else if (PyBytes_Check(v)) {
        out->type = SONDE_TYPE_BYTES;
        out->arg = sonde_arg_data(PyBytes_AsString(v), (size_t)PyBytes_Size(v));
    } else if (PyList_Check(v) || PyTuple_Check(v)) {
        if (!set_sequence(out, v, f))
            set_text(out, v, f);
    } else {
        PyObject *plain = PyLong_Check(v) ? NULL : unwrapped(v, f);
        return plain ? set_value(out, plain, f) : (set_text(out, v, f), true);
    }
    return true;
}

int fields_fill(struct fields *f, PyObject *mapping)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, n;
    f->n = f->n_kept = f->n_memory = 0;
    if (!mapping || mapping == Py_None)
        return 0;
    if (!PyDict_Check(mapping)) {
        PyErr_SetString(PyExc_TypeError, "fields are a dict of names and values");
        return -1;
    }
    while (f->n < FIELDS_MAX && PyDict_Next(mapping, &at, &key, &value)) {
        if (!set_value(&f->v[f->n], value, f))
            continue;
        f->v[f->n].key = text_of(key, &n, f);
        f->n++;
    }
    return 0;
}

void fields_clear(struct fields *f)
{
    while (f->n_kept)
        Py_DECREF(f->kept[--f->n_kept]);
    while (f->n_memory)
        free(f->memory[--f->n_memory]);
}
