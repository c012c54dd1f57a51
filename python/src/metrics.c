#include "module.h"
#include <math.h>
#include <sonde/metrics.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- callbacks: from threads of libsonde into Python ----------------------------------------------------------------
static atomic_bool over;  // Python ends: nothing is called any more
static atomic_int inside; // callbacks that have the GIL or wait for it
enum { OVER_WAIT_MS = 2000 };

bool python_enter(PyGILState_STATE *gil)
{
    atomic_fetch_add(&inside, 1);
    if (atomic_load(&over) || !Py_IsInitialized()) {
        atomic_fetch_sub(&inside, 1);
        return false;
    }
    *gil = PyGILState_Ensure();
    return true;
}

void python_leave(PyGILState_STATE gil)
{
    PyGILState_Release(gil);
    atomic_fetch_sub(&inside, 1);
}

// Waits for callbacks under way: who asks for the GIL of a Python that is gone never gets it.
PyObject *py_over(PyObject *self, PyObject *none)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    (void)self, (void)none;
    atomic_store(&over, true);
    Py_BEGIN_ALLOW_THREADS for (int ms = 0; atomic_load(&inside) && ms < OVER_WAIT_MS; ms++) nanosleep(&pause, NULL);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

// The exception as one sentence in static storage of the thread; the exception is gone then.
const char *python_error(void)
{
    static _Thread_local char text[400];
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *told = value ? PyObject_Repr(value) : NULL;
    PyObject *bytes = told ? PyUnicode_AsEncodedString(told, "utf-8", "replace") : NULL;
    const char *p = bytes ? PyBytes_AsString(bytes) : NULL;
    snprintf(text, sizeof text, "%s", p ? p : "an exception");
    PyErr_Clear();
    Py_XDECREF(bytes);
    Py_XDECREF(told);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return text;
}

static const char *on_update(void *arg)
{
    PyGILState_STATE gil;
    if (!python_enter(&gil))
        return NULL;
    PyObject *done = PyObject_CallObject(arg, NULL);
    const char *error = done ? NULL : python_error();
    Py_XDECREF(done);
    python_leave(gil);
    return error;
}

static const char *on_text(void *arg, struct sonde_text *t)
{
    PyGILState_STATE gil;
    if (!python_enter(&gil))
        return NULL;
    PyObject *text = PyObject_CallObject(arg, NULL);
    Py_ssize_t n = 0;
    const char *p = NULL, *error = NULL;
    if (text && PyBytes_Check(text))
        p = PyBytes_AsString(text), n = PyBytes_Size(text);
    else if (text && PyUnicode_Check(text))
        p = PyUnicode_AsUTF8AndSize(text, &n);
    else if (text && text != Py_None)
        PyErr_SetString(PyExc_TypeError, "an expfmt callback returns str or bytes");
    if (PyErr_Occurred())
        error = python_error();
    else if (p)
        sonde_text_append(t, p, (size_t)n);
    Py_XDECREF(text);
    python_leave(gil);
    return error;
}

// ---- metrics --------------------------------------------------------------------------------------------------------
struct metric_object {
    PyObject_HEAD void *handle;
    enum sonde_metric_type type;
    PyObject *names; // tuple of the variable labels' names; null: no vector
};
enum { KINDS = 10, VALUES_MAX = SONDE_METRIC_LABELS_MAX };
static PyTypeObject *metric_types[SONDE_NATIVE_HISTOGRAM_VEC + 1], *registry_type;

static void metric_free(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    Py_XDECREF(((struct metric_object *)o)->names);
    PyObject_Free(o);
    Py_DECREF(type);
}

// The labels of a vector's call as values in order. False with an exception set.
static bool label_values(struct metric_object *m, PyObject *labels, const char **values, size_t *n_out)
{
    Py_ssize_t n = PyTuple_Size(m->names);
    if (!PyDict_Check(labels) || PyDict_Size(labels) != n) {
        PyErr_Format(PyExc_ValueError, "labels are a dict with exactly the names %R, not %R", m->names, labels);
        return false;
    }
    for (Py_ssize_t i = 0; i < n && i < VALUES_MAX; i++) {
        PyObject *name = PyTuple_GetItem(m->names, i), *v = PyDict_GetItemWithError(labels, name);
        Py_ssize_t length;
        if (!v && !PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "the label %R is missing in %R", name, labels);
        if (!v)
            return false;
        if (!PyUnicode_Check(v)) {
            PyErr_Format(PyExc_TypeError, "the value of the label %R is %R, no str", name, v);
            return false;
        }
        if (!(values[i] = PyUnicode_AsUTF8AndSize(v, &length)))
            return false;
    }
    *n_out = (size_t)n;
    return true;
}

// The metric that a call means: itself, or the series of a vector. Null with an exception set. *type: that of the series.
static void *series(PyObject *self, PyObject *const *args, Py_ssize_t n, Py_ssize_t plain, enum sonde_metric_type *type)
{
    struct metric_object *m = (struct metric_object *)self;
    const char *values[VALUES_MAX];
    size_t n_values;
    void *h = m->handle;
    *type = m->type;
    if (n != plain + (m->names != NULL)) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are expected here%s", plain + (m->names != NULL),
                     m->names ? ", the last one a dict of labels" : "");
        return NULL;
    }
    if (!m->names)
        return h;
    if (!label_values(m, args[plain], values, &n_values))
        return NULL;
    switch (m->type) {
    case SONDE_COUNTER_VEC:
        *type = SONDE_COUNTER;
        h = sonde_counter_vec_with(h, values, n_values);
        break;
    case SONDE_INT_COUNTER_VEC:
        *type = SONDE_INT_COUNTER;
        h = sonde_int_counter_vec_with(h, values, n_values);
        break;
    case SONDE_GAUGE_VEC:
        *type = SONDE_GAUGE;
        h = sonde_gauge_vec_with(h, values, n_values);
        break;
    case SONDE_INT_GAUGE_VEC:
        *type = SONDE_INT_GAUGE;
        h = sonde_int_gauge_vec_with(h, values, n_values);
        break;
    default:
        *type = SONDE_HISTOGRAM;
        h = sonde_histogram_vec_with(h, values, n_values);
    }
    if (!h)
        PyErr_NoMemory();
    return h;
}

static bool amount(PyObject *o, double *v)
{
    *v = PyFloat_AsDouble(o);
    return !(*v == -1.0 && PyErr_Occurred());
}

static bool whole(PyObject *o, long long *v)
{
    *v = PyLong_AsLongLong(o);
    return !(*v == -1 && PyErr_Occurred());
}

// sign: of what is added; o null: 1.
static PyObject *change(enum sonde_metric_type type, void *h, PyObject *o, int sign)
{
    double d = 1;
    long long i = 1;
    bool integer = type == SONDE_INT_COUNTER || type == SONDE_INT_GAUGE;
    if (o && !(integer ? whole(o, &i) : amount(o, &d)))
        return NULL;
    if ((type == SONDE_COUNTER || type == SONDE_INT_COUNTER) && ((integer ? i < 0 : !(d >= 0)) || !isfinite(d))) {
        PyErr_Format(PyExc_ValueError, "a counter cannot be changed by %R: it only grows", o);
        return NULL;
    }
    switch (type) {
    case SONDE_COUNTER:
        sonde_counter_add(h, d);
        break;
    case SONDE_INT_COUNTER:
        sonde_int_counter_add(h, (uint64_t)i);
        break;
    case SONDE_INT_GAUGE:
        sonde_int_gauge_add(h, sign * i);
        break;
    default:
        sonde_gauge_add(h, sign * d);
    }
    Py_RETURN_NONE;
}

#define METHOD(name, plain, body)                                              \
    static PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t n) \
    {                                                                          \
        enum sonde_metric_type type;                                           \
        void *h = series(self, args, n, plain, &type);                         \
        if (!h)                                                                \
            return NULL;                                                       \
        body                                                                   \
    }
METHOD(metric_inc, 0, return change(type, h, NULL, 1);)
METHOD(metric_dec, 0, return change(type, h, NULL, -1);)
METHOD(metric_add, 1, return change(type, h, args[0], 1);)
METHOD(metric_sub, 1, return change(type, h, args[0], -1);)
METHOD(
    metric_set, 1, double d; long long i; if (type == SONDE_INT_GAUGE) {
        if (!whole(args[0], &i))
            return NULL;
        sonde_int_gauge_set(h, i);
    } else {
        if (!amount(args[0], &d))
            return NULL;
        sonde_gauge_set(h, d);
    } Py_RETURN_NONE;)
METHOD(metric_observe, 1, double d; if (!amount(args[0], &d)) return NULL; sonde_histogram_observe(h, d); Py_RETURN_NONE;)
METHOD(metric_sum, 0, return PyFloat_FromDouble(sonde_histogram_sum(h));)
METHOD(metric_count, 0, return PyLong_FromUnsignedLongLong(sonde_histogram_count(h));)
METHOD(metric_quantile, 1, double d; if (!amount(args[0], &d)) return NULL;
       return PyFloat_FromDouble(sonde_histogram_quantile(h, d));)
METHOD(
    metric_get, 0, switch (type) {
case SONDE_COUNTER:
    return PyFloat_FromDouble(sonde_counter_value(h));
case SONDE_INT_COUNTER:
    return PyLong_FromUnsignedLongLong(sonde_int_counter_value(h));
case SONDE_INT_GAUGE:
    return PyLong_FromLongLong(sonde_int_gauge_value(h));
default:
    return PyFloat_FromDouble(sonde_gauge_value(h));
    })

#define ROW(name, fn, text)                                        \
    {                                                              \
        name, (PyCFunction)(void (*)(void))fn, METH_FASTCALL, text \
    }
static PyMethodDef counter_methods[] = {
    ROW("inc", metric_inc, "inc([labels]): one more."),
    ROW("inc_by", metric_add, "inc_by(amount[, labels]): so many more; ValueError when it is negative."),
    ROW("get", metric_get, "get([labels]): the value now."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef gauge_methods[] = {
    ROW("set", metric_set, "set(value[, labels])"),
    ROW("inc", metric_inc, "inc([labels]): one more."),
    ROW("dec", metric_dec, "dec([labels]): one less."),
    ROW("inc_by", metric_add, "inc_by(amount[, labels])"),
    ROW("dec_by", metric_sub, "dec_by(amount[, labels])"),
    ROW("add", metric_add, "add(amount[, labels])"),
    ROW("sub", metric_sub, "sub(amount[, labels])"),
    ROW("get", metric_get, "get([labels]): the value now."),
    {NULL, NULL, 0, NULL},
};
static PyMethodDef histogram_methods[] = {
    ROW("observe", metric_observe, "observe(value[, labels])"),
    ROW("sum", metric_sum, "sum([labels]): of what was observed."),
    ROW("count", metric_count, "count([labels]): how often it was observed."),
    ROW("quantile", metric_quantile, "quantile(q[, labels]): an estimate, q from 0 to 1; NaN without observations."),
    {NULL, NULL, 0, NULL},
};

static const struct {
    enum sonde_metric_type type;
    const char *name;
    PyMethodDef *methods;
} kinds[KINDS] = {
    {SONDE_COUNTER, "sonde._sonde.Counter", counter_methods},
    {SONDE_COUNTER_VEC, "sonde._sonde.CounterVec", counter_methods},
    {SONDE_INT_COUNTER, "sonde._sonde.IntCounter", counter_methods},
    {SONDE_INT_COUNTER_VEC, "sonde._sonde.IntCounterVec", counter_methods},
    {SONDE_GAUGE, "sonde._sonde.Gauge", gauge_methods},
    {SONDE_GAUGE_VEC, "sonde._sonde.GaugeVec", gauge_methods},
    {SONDE_INT_GAUGE, "sonde._sonde.IntGauge", gauge_methods},
    {SONDE_INT_GAUGE_VEC, "sonde._sonde.IntGaugeVec", gauge_methods},
    {SONDE_HISTOGRAM, "sonde._sonde.Histogram", histogram_methods},
    {SONDE_HISTOGRAM_VEC, "sonde._sonde.HistogramVec", histogram_methods},
};

static PyObject *metric_new_refused(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    (void)args, (void)kw;
    PyErr_Format(PyExc_TypeError, "%R is made by create_…() of a registry", (PyObject *)type);
    return NULL;
}

// ---- registries -----------------------------------------------------------------------------------------------------
// Never freed: handles may be in use anywhere.
struct registry_object {
    PyObject_HEAD struct sonde_registry *r;
};

static PyObject *registry_object(PyTypeObject *type, struct sonde_registry *r, const struct sonde_metric_error *err)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    if (!r) {
        PyErr_SetString(PyExc_ValueError, err && err->message[0] ? err->message : "no memory for a registry");
        return NULL;
    }
    struct registry_object *o = (struct registry_object *)alloc(type, 0);
    if (o)
        o->r = r;
    return (PyObject *)o;
}

static PyObject *registry_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    const char *prefix = NULL;
    (void)kw;
    struct sonde_registry *r;
    if (!PyArg_ParseTuple(args, "|z", &prefix))
        return NULL;
    // An export may hold the list of roots while a callback waits for the GIL.
    Py_BEGIN_ALLOW_THREADS r = sonde_registry_new(prefix);
    Py_END_ALLOW_THREADS return registry_object(type, r, NULL);
}

static struct sonde_registry *of(PyObject *o)
{
    return ((struct registry_object *)o)->r;
}

static PyObject *registry_child(PyObject *self, PyObject *args)
{
    const char *name;
    struct sonde_metric_error err = {.code = SONDE_METRIC_OK};
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    return registry_object(registry_type, sonde_registry_child(of(self), name, &err), &err);
}

static PyObject *answer(bool ok, const struct sonde_metric_error *err)
{
    if (ok)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, err->message[0] ? err->message : "refused: no memory, or too many");
    return NULL;
}

static PyObject *registry_label(PyObject *self, PyObject *args)
{
    const char *name, *value;
    struct sonde_metric_error err = {.code = SONDE_METRIC_OK};
    if (!PyArg_ParseTuple(args, "ss", &name, &value))
        return NULL;
    return answer(sonde_registry_label(of(self), name, value, &err), &err);
}

static PyObject *registry_add_process(PyObject *self, PyObject *none)
{
    struct sonde_metric_error err = {.code = SONDE_METRIC_OK};
    (void)none;
    return answer(sonde_registry_add_process(of(self), &err), &err);
}

// What options point to while a metric is made.
struct parts {
    struct sonde_label labels[SONDE_METRIC_LABELS_MAX];
    const char *names[SONDE_METRIC_LABELS_MAX];
    double buckets[SONDE_BUCKETS_MAX];
};

static const char *utf8(PyObject *o)
{
    Py_ssize_t n;
    if (PyUnicode_Check(o))
        return PyUnicode_AsUTF8AndSize(o, &n);
    PyErr_Format(PyExc_TypeError, "%R is no str", o);
    return NULL;
}

static bool too_many(const char *what)
{
    PyErr_Format(PyExc_ValueError, "too many %s", what);
    return false;
}

static bool fill(struct parts *p, struct sonde_metric_options *o, PyObject *labels, PyObject *names, PyObject *buckets)
{
    PyObject *k, *v;
    Py_ssize_t at = 0;
    while (labels && PyDict_Next(labels, &at, &k, &v)) {
        if (o->n_labels == SONDE_METRIC_LABELS_MAX)
            return too_many("labels");
        struct sonde_label *l = &p->labels[o->n_labels++];
        if (!(l->name = utf8(k)) || !(l->value = utf8(v)))
            return false;
    }
    for (Py_ssize_t i = 0; names && i < PyTuple_Size(names); i++) {
        if (o->n_label_names == SONDE_METRIC_LABELS_MAX)
            return too_many("label names");
        if (!(p->names[o->n_label_names++] = utf8(PyTuple_GetItem(names, i))))
            return false;
    }
    for (Py_ssize_t i = 0; buckets && i < PyTuple_Size(buckets); i++) {
        if (o->n_buckets == SONDE_BUCKETS_MAX)
            return too_many("buckets");
        if (!amount(PyTuple_GetItem(buckets, i), &p->buckets[o->n_buckets++]))
            return false;
    }
    o->labels = p->labels;
    o->label_names = p->names;
    o->buckets = buckets ? p->buckets : NULL;
    return true;
}

// create(type, name, help, labels: dict, label_names: tuple | None, buckets: tuple | None, unit, max_series)
static PyObject *registry_create(PyObject *self, PyObject *args)
{
    struct parts p;
    struct sonde_metric_options o = {.name = NULL};
    struct sonde_metric_error err = {.code = SONDE_METRIC_OK};
    PyObject *labels, *names, *buckets;
    int type;
    if (!PyArg_ParseTuple(args, "issO!OOzI", &type, &o.name, &o.help, &PyDict_Type, &labels, &names, &buckets, &o.unit,
                          &o.max_series))
        return NULL;
    names = names == Py_None ? NULL : names;
    buckets = buckets == Py_None ? NULL : buckets;
    if (type < SONDE_COUNTER || type > SONDE_HISTOGRAM_VEC || (names && !PyTuple_Check(names)) ||
        (buckets && !PyTuple_Check(buckets))) {
        PyErr_SetString(PyExc_TypeError, "create(type, name, help, labels, label_names, buckets, unit, max_series)");
        return NULL;
    }
    if (!fill(&p, &o, labels, names, buckets))
        return NULL;
    void *h = sonde_metric_new(of(self), (enum sonde_metric_type)type, &o, &err);
    if (!h)
        return answer(false, &err);
    struct metric_object *m = PyObject_New(struct metric_object, metric_types[type]);
    if (!m)
        return NULL;
    m->handle = h;
    m->type = (enum sonde_metric_type)type;
    m->names = names;
    Py_XINCREF(names);
    return (PyObject *)m;
}

static PyObject *registry_text(PyObject *self, PyObject *args)
{
    const char *accept = NULL;
    size_t n = 0;
    char *page;
    if (!PyArg_ParseTuple(args, "|z", &accept))
        return NULL;
    enum sonde_exposition e = sonde_exposition_negotiate(accept);
    Py_BEGIN_ALLOW_THREADS page = sonde_registry_text(of(self), e, &n);
    Py_END_ALLOW_THREADS if (!page) return PyErr_NoMemory();
    PyObject *out = Py_BuildValue("(y#s)", page, (Py_ssize_t)n, sonde_exposition_content_type(e));
    free(page);
    return out;
}

static PyObject *registry_callback(PyObject *self, PyObject *args)
{
    PyObject *fn;
    int text = 0;
    if (!PyArg_ParseTuple(args, "O|p", &fn, &text))
        return NULL;
    if (!PyCallable_Check(fn)) {
        PyErr_Format(PyExc_TypeError, "%R cannot be called", fn);
        return NULL;
    }
    bool ok = text ? sonde_registry_on_text(of(self), on_text, fn) : sonde_registry_on_update(of(self), on_update, fn);
    if (!ok)
        return PyErr_NoMemory();
    Py_INCREF(fn); // as long as the registry: for ever
    Py_RETURN_NONE;
}

struct sonde_registry *registry_handle(PyObject *o)
{
    if (PyObject_TypeCheck(o, registry_type))
        return of(o);
    PyErr_Format(PyExc_TypeError, "%R is no registry", o);
    return NULL;
}

static PyObject *buckets(PyObject *self, PyObject *args)
{
    double min, max, v[SONDE_BUCKETS_MAX];
    Py_ssize_t count;
    const char *env = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "ddn|z", &min, &max, &count, &env))
        return NULL;
    size_t n = count < 0 ? 0
               : env     ? sonde_buckets_env(env, min, max, (size_t)count, v)
                         : sonde_buckets(min, max, count > SONDE_BUCKETS_MAX ? SONDE_BUCKETS_MAX + 1 : (size_t)count, v);
    PyObject *out = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; out && i < n; i++)
        PyList_SetItem(out, (Py_ssize_t)i, PyFloat_FromDouble(v[i]));
    return out;
}

static PyMethodDef registry_methods[] = {
    {"child", registry_child, METH_VARARGS, "child(name)"},
    {"label", registry_label, METH_VARARGS, "label(name, value): an automatic label for metrics to come."},
    {"create", registry_create, METH_VARARGS, "create(type, name, help, labels, label_names, buckets, unit, max_series)"},
    {"text", registry_text, METH_VARARGS, "text(accept=None): the page and its content type."},
    {"callback", registry_callback, METH_VARARGS, "callback(fn, text=False)"},
    {"add_process", registry_add_process, METH_NOARGS, "add_process(): CPU, memory and files of this process."},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef functions[] = {
    {"buckets", buckets, METH_VARARGS, "buckets(min, max, count, env_prefix=None): upper bounds."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot registry_slots[] = {
    {Py_tp_new, registry_new},
    {Py_tp_methods, registry_methods},
    {Py_tp_doc, "A registry of libsonde; sonde.metrics has the one for users."},
    {0, NULL},
};
static PyType_Spec registry_spec = {"sonde._sonde.Registry", sizeof(struct registry_object), 0, Py_TPFLAGS_DEFAULT,
                                    registry_slots};

static PyTypeObject *metric_type_new(size_t i)
{
    PyType_Slot slots[] = {
        {Py_tp_dealloc, metric_free},
        {Py_tp_new, metric_new_refused},
        {Py_tp_methods, kinds[i].methods},
        {Py_tp_doc, "A metric. Updates take no lock; any thread."},
        {0, NULL},
    };
    PyType_Spec spec = {kinds[i].name, sizeof(struct metric_object), 0, Py_TPFLAGS_DEFAULT, slots};
    return (PyTypeObject *)PyType_FromSpec(&spec);
}

int metrics_ready(PyObject *module)
{
    for (size_t i = 0; i < KINDS; i++) {
        PyTypeObject *t = metric_type_new(i);
        if (!t)
            return -1;
        metric_types[kinds[i].type] = t;
        Py_INCREF(t); // the file's own
        if (PyModule_AddObject(module, strrchr(kinds[i].name, '.') + 1, (PyObject *)t) != 0)
            return -1;
    }
    registry_type = (PyTypeObject *)PyType_FromSpec(&registry_spec);
    if (!registry_type || PyModule_AddFunctions(module, functions) != 0)
        return -1;
    Py_INCREF(registry_type);
    return PyModule_AddObject(module, "Registry", (PyObject *)registry_type);
}
