#include "module.h"

static PyObject *py_init(PyObject *self, PyObject *args)
{
    struct sonde_options o = {.service = NULL};
    (void)self;
    if (!PyArg_ParseTuple(args, "|zz", &o.service, &o.resource))
        return NULL;
    Py_BEGIN_ALLOW_THREADS sonde_init(&o);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *waits(PyObject *args, bool (*fn)(unsigned))
{
    unsigned ms = 2000;
    bool done;
    if (!PyArg_ParseTuple(args, "|I", &ms))
        return NULL;
    Py_BEGIN_ALLOW_THREADS done = fn(ms);
    Py_END_ALLOW_THREADS return PyBool_FromLong(done);
}

static PyObject *py_flush(PyObject *self, PyObject *args)
{
    (void)self;
    return waits(args, sonde_flush);
}

static PyObject *py_shutdown(PyObject *self, PyObject *args)
{
    (void)self;
    return waits(args, sonde_shutdown);
}

static PyObject *py_set_filter(PyObject *self, PyObject *args)
{
    const char *directives = NULL;
    unsigned ms = 0;
    bool ok;
    (void)self;
    if (!PyArg_ParseTuple(args, "z|I", &directives, &ms))
        return NULL;
    Py_BEGIN_ALLOW_THREADS ok = ms ? sonde_set_filter_for(directives, ms) : sonde_set_filter(directives);
    Py_END_ALLOW_THREADS return PyBool_FromLong(ok);
}

static PyObject *py_counts(PyObject *self, PyObject *args)
{
    struct sonde_counts c;
    (void)self, (void)args;
    sonde_counts_get(&c);
    return Py_BuildValue("{sKsKsKsKsKsK}", "records_lost", (unsigned long long)c.records_lost, "held_lost",
                         (unsigned long long)c.held_lost, "logs_sent", (unsigned long long)c.export_logs_sent, "logs_dropped",
                         (unsigned long long)c.export_logs_dropped, "spans_sent", (unsigned long long)c.export_spans_sent,
                         "spans_dropped", (unsigned long long)c.export_spans_dropped);
}

static PyMethodDef methods[] = {
    {"init", py_init, METH_VARARGS, "init(service=None, resource=None): starts the library; later calls do nothing."},
    {"flush", py_flush, METH_VARARGS, "flush(timeout_ms=2000): writes out and exports what is pending; whether all got out."},
    {"shutdown", py_shutdown, METH_VARARGS, "shutdown(timeout_ms=2000): flush, then stop."},
    {"set_filter", py_set_filter, METH_VARARGS,
     "set_filter(directives, ms=0): levels while running, for ms or for good; None: back."},
    {"counts", py_counts, METH_NOARGS, "counts(): what was lost, dropped and sent so far."},
    {"log", (PyCFunction)(void (*)(void))py_log, METH_FASTCALL,
     "log(level, target, file, line, message, fields=None, span=None)"},
    {"logger_method", py_logger_method, METH_VARARGS,
     "logger_method(Logger, steps, Handler, by_record, getframe, current, vars, LogRecord, own): a Logger._log that makes a "
     "record "
     "where another handler looks at it, else none. None: another interpreter of this process has it."},
    {"enabled", (PyCFunction)(void (*)(void))py_enabled, METH_FASTCALL, "enabled(level, target)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "sonde._sonde", "libsonde; see the package sonde.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sonde(void);
PyMODINIT_FUNC PyInit__sonde(void)
{
    PyObject *m = PyModule_Create(&definition);
    if (m && (span_ready(m) != 0 || metrics_ready(m) != 0 || status_ready_add(m) != 0)) {
        Py_DECREF(m);
        return NULL;
    }
    return m;
}
