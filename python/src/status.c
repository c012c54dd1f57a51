// Status server and configuration dump, as the Python files call them.
#include "module.h"
#include <sonde/config.h>
#include <sonde/status.h>
#include <stdlib.h>
#include <string.h>

static PyObject *status_start(PyObject *self, PyObject *args)
{
    const char *address = NULL;
    bool ok;
    (void)self;
    if (!PyArg_ParseTuple(args, "|z", &address))
        return NULL;
    Py_BEGIN_ALLOW_THREADS ok = sonde_status_start(address);
    Py_END_ALLOW_THREADS if (ok) return PyLong_FromLong(sonde_status_port());
    PyErr_Format(PyExc_OSError, "the status server does not listen: %s", sonde_status_error());
    return NULL;
}

static PyObject *status_stop(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    Py_BEGIN_ALLOW_THREADS sonde_status_stop();
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *status_port(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromLong(sonde_status_port());
}

static PyObject *status_ready(PyObject *self, PyObject *args)
{
    int ready = -1;
    (void)self;
    if (!PyArg_ParseTuple(args, "|p", &ready))
        return NULL;
    if (ready >= 0)
        sonde_status_ready(ready);
    return PyBool_FromLong(sonde_status_is_ready());
}

static PyObject *status_metrics(PyObject *self, PyObject *registry)
{
    struct sonde_registry *r = registry_handle(registry);
    (void)self;
    bool ok;
    if (!r)
        return NULL;
    Py_BEGIN_ALLOW_THREADS ok = sonde_status_metrics(r);
    Py_END_ALLOW_THREADS return PyBool_FromLong(ok);
}

static PyObject *status_metadata(PyObject *self, PyObject *args)
{
    const char *json;
    (void)self;
    bool ok;
    if (!PyArg_ParseTuple(args, "z", &json))
        return NULL;
    Py_BEGIN_ALLOW_THREADS ok = sonde_status_metadata(json);
    Py_END_ALLOW_THREADS return PyBool_FromLong(ok);
}

// ---- endpoints; they live as long as the process ----
static bool canary(void *arg, const char *payload, size_t n, unsigned timeout_ms)
{
    PyGILState_STATE gil;
    if (!python_enter(&gil))
        return false;
    PyObject *answer = PyObject_CallFunction(arg, "s#d", payload ? payload : "", (Py_ssize_t)n, timeout_ms / 1000.0);
    bool ok = answer && PyObject_IsTrue(answer) == 1;
    Py_XDECREF(answer);
    PyErr_Clear(); // no answer is what it tells
    python_leave(gil);
    return ok;
}

static PyObject *endpoint_new(PyObject *self, PyObject *args)
{
    struct sonde_endpoint_options o = {.name = NULL};
    PyObject *fn = Py_None;
    int ready = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "s|pOz", &o.name, &ready, &fn, &o.payload))
        return NULL;
    o.ready = ready;
    if (fn != Py_None) {
        o.canary = canary;
        o.arg = fn;
        Py_INCREF(fn);
    }
    struct sonde_endpoint *e;
    Py_BEGIN_ALLOW_THREADS e = sonde_endpoint_new(&o);
    Py_END_ALLOW_THREADS if (!e) return PyErr_Format(PyExc_ValueError,
                                                     "no endpoint \"%s\": it has no name, or there is one already", o.name);
    return PyCapsule_New(e, "sonde.endpoint", NULL);
}

static PyObject *endpoint_ready(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    int ready;
    (void)self;
    if (!PyArg_ParseTuple(args, "Op", &capsule, &ready))
        return NULL;
    struct sonde_endpoint *e = PyCapsule_GetPointer(capsule, "sonde.endpoint");
    if (!e)
        return NULL;
    sonde_endpoint_ready(e, ready);
    Py_RETURN_NONE;
}

static PyObject *endpoint_traffic(PyObject *self, PyObject *capsule)
{
    struct sonde_endpoint *e = PyCapsule_GetPointer(capsule, "sonde.endpoint");
    (void)self;
    if (!e)
        return NULL;
    sonde_endpoint_traffic(e);
    Py_RETURN_NONE;
}

// ---- routes ----
// The function gets (method, path, query, body) and returns (status, body or None).
static bool route(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    PyGILState_STATE gil;
    if (!python_enter(&gil)) {
        sonde_engine_fail(out, "the process ends");
        return false;
    }
    int status = 0;
    const char *body = NULL;
    Py_ssize_t n = 0;
    PyObject *answer = PyObject_CallFunction(arg, "sszy#", q->method, q->path, q->query, q->body, (Py_ssize_t)q->body_n);
    bool ok = answer && PyArg_ParseTuple(answer, "iz#", &status, &body, &n);
    if (!ok) {
        sonde_engine_fail(out, python_error());
    } else {
        sonde_engine_status(out, status);
        if (body)
            sonde_engine_answer(out, body, (size_t)n);
    }
    Py_XDECREF(answer);
    python_leave(gil);
    return ok;
}

static PyObject *engine_route(PyObject *self, PyObject *args)
{
    const char *path;
    PyObject *fn;
    int any = 0;
    bool ok;
    (void)self;
    if (!PyArg_ParseTuple(args, "sO|p", &path, &fn, &any))
        return NULL;
    Py_INCREF(fn); // for ever: a request may be under way
    bool none = fn == Py_None;
    Py_BEGIN_ALLOW_THREADS ok = (any ? sonde_status_route : sonde_engine_route)(path, none ? NULL : route, none ? NULL : fn);
    Py_END_ALLOW_THREADS return PyBool_FromLong(ok);
}

// ---- configuration dump ----
enum { WORDS_MAX = 64 };
static const char *const *words(PyObject *o, const char **v)
{
    Py_ssize_t n, i = 0;
    if (!PyTuple_Check(o))
        return NULL;
    for (; i < PyTuple_Size(o) && i < WORDS_MAX; i++) {
        PyObject *w = PyTuple_GetItem(o, i);
        if (!PyUnicode_Check(w) || !(v[i] = PyUnicode_AsUTF8AndSize(w, &n)))
            break;
    }
    v[i] = NULL;
    PyErr_Clear();
    return v;
}

// dump(path, config, version, packages, runtime, extra, redact, prefixes, sensitive, gpu, as_text): texts are JSON objects.
static PyObject *config_dump(PyObject *self, PyObject *args)
{
    struct sonde_dump_options o = {.path = NULL};
    const char *redact[WORDS_MAX + 1], *prefixes[WORDS_MAX + 1];
    PyObject *more, *names;
    int sensitive, gpu, as_text;
    char *text = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "zzzzzzOOppp", &o.path, &o.config, &o.version, &o.packages, &o.runtime, &o.extra, &more, &names,
                          &sensitive, &gpu, &as_text))
        return NULL;
    o.redact = words(more, redact);
    o.prefixes = words(names, prefixes);
    o.sensitive = sensitive;
    o.no_gpu = !gpu;
    Py_BEGIN_ALLOW_THREADS if (as_text) text = sonde_config_dump_text(&o);
    else sonde_config_dump(&o);
    Py_END_ALLOW_THREADS if (!as_text) Py_RETURN_NONE;
    PyObject *out = text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace") : PyErr_NoMemory();
    free(text);
    return out;
}

static PyObject *config_hash(PyObject *self, PyObject *none)
{
    char hash[17];
    (void)self, (void)none;
    Py_BEGIN_ALLOW_THREADS sonde_config_hash(hash);
    Py_END_ALLOW_THREADS return PyUnicode_FromString(hash);
}

static PyMethodDef functions[] = {
    {"status_start", status_start, METH_VARARGS, "status_start(address=None): its port, -1 when nobody asked for one."},
    {"status_stop", status_stop, METH_NOARGS, "status_stop()"},
    {"status_port", status_port, METH_NOARGS, "status_port(): -1 when it does not listen."},
    {"status_ready", status_ready, METH_VARARGS, "status_ready([ready]): whether the process is ready."},
    {"status_metrics", status_metrics, METH_O, "status_metrics(registry): one more on the page."},
    {"status_metadata", status_metadata, METH_VARARGS, "status_metadata(json)"},
    {"endpoint_new", endpoint_new, METH_VARARGS, "endpoint_new(name, ready=False, canary=None, payload=None)"},
    {"endpoint_ready", endpoint_ready, METH_VARARGS, "endpoint_ready(endpoint, ready)"},
    {"endpoint_traffic", endpoint_traffic, METH_O, "endpoint_traffic(endpoint)"},
    {"engine_route", engine_route, METH_VARARGS, "engine_route(path, fn, any_path=False)"},
    {"config_dump", config_dump, METH_VARARGS, "config_dump(path, config, …)"},
    {"config_hash", config_hash, METH_NOARGS, "config_hash()"},
    {"over", py_over, METH_NOARGS, "over(): Python ends; callbacks do nothing from now on."},
    {NULL, NULL, 0, NULL},
};

int status_ready_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
