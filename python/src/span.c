#include "module.h"
#include <string.h>

// ---- Context --------------------------------------------------------------------------------------------------------
struct context_object {
    PyObject_HEAD struct sonde_context c;
};
static PyTypeObject *context_type, *span_type;

static PyObject *context_new(const struct sonde_context *c)
{
    struct context_object *o = PyObject_New(struct context_object, context_type);
    if (o)
        o->c = *c;
    return (PyObject *)o;
}

static void context_free(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    PyObject_Free(o);
    Py_DECREF(type);
}

static PyObject *hex(const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[32];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[p[i] >> 4];
        text[2 * i + 1] = digits[p[i] & 15];
    }
    return PyUnicode_FromStringAndSize(text, (Py_ssize_t)(2 * n));
}

enum what { TRACE_ID, SPAN_ID, TRACEPARENT, TRACESTATE, REQUEST_ID, DYNAMO_REQUEST_ID, SAMPLED, REMOTE, VALID };

static PyObject *context_get(PyObject *self, void *closure)
{
    const struct sonde_context *c = &((struct context_object *)self)->c;
    char text[56];
    switch ((enum what)(intptr_t)closure) {
    case TRACE_ID:
        return hex(c->trace_id, 16);
    case SPAN_ID:
        return hex(c->span_id, 8);
    case TRACEPARENT:
        sonde_traceparent(c, text);
        return PyUnicode_FromString(text);
    case TRACESTATE:
        return PyUnicode_FromString(c->tracestate);
    case REQUEST_ID:
        return PyUnicode_FromString(c->request_id);
    case DYNAMO_REQUEST_ID:
        return PyUnicode_FromString(c->dynamo_request_id);
    case SAMPLED:
        return PyBool_FromLong(c->flags & 1);
    case REMOTE:
        return PyBool_FromLong(c->remote);
    default:
        return PyBool_FromLong(sonde_context_valid(c));
    }
}

static PyObject *context_repr(PyObject *self)
{
    char text[56];
    sonde_traceparent(&((struct context_object *)self)->c, text);
    return PyUnicode_FromFormat("<sonde.Context %s request_id='%s'>", text, ((struct context_object *)self)->c.request_id);
}

static PyGetSetDef context_getset[] = {
    {"trace_id", context_get, NULL, "32 hex digits, zeros if there is none", (void *)TRACE_ID},
    {"span_id", context_get, NULL, "16 hex digits, zeros if there is none", (void *)SPAN_ID},
    {"traceparent", context_get, NULL, "the W3C header's value, '' without ids", (void *)TRACEPARENT},
    {"tracestate", context_get, NULL, "the W3C header's value", (void *)TRACESTATE},
    {"request_id", context_get, NULL, "x-request-id", (void *)REQUEST_ID},
    {"dynamo_request_id", context_get, NULL, "x-dynamo-request-id", (void *)DYNAMO_REQUEST_ID},
    {"sampled", context_get, NULL, "whether the trace is exported", (void *)SAMPLED},
    {"remote", context_get, NULL, "whether it came from another process", (void *)REMOTE},
    {"valid", context_get, NULL, "whether both ids are there", (void *)VALID},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot context_slots[] = {
    {Py_tp_dealloc, context_free},
    {Py_tp_getset, context_getset},
    {Py_tp_repr, context_repr},
    {Py_tp_doc, "The ids that travel with a request: of its trace, of a span, x-request-id. Immutable."},
    {0, NULL},
};
static PyType_Spec context_spec = {"sonde.Context", sizeof(struct context_object), 0, Py_TPFLAGS_DEFAULT, context_slots};

// ---- Span -----------------------------------------------------------------------------------------------------------
// The
// handle is held until the object goes, so that a method called behind the end meets a span that records nothing.
struct span_object {
    PyObject_HEAD struct sonde_span *span;
    int ended;
};

struct sonde_span *span_handle(PyObject *o)
{
    if (!o || o == Py_None || !PyObject_TypeCheck(o, span_type))
        return NULL;
    struct span_object *s = (struct span_object *)o;
    return s->ended ? NULL : s->span;
}

static const struct sonde_context *context_of(PyObject *o)
{
    if (!o || o == Py_None)
        return NULL;
    if (PyObject_TypeCheck(o, context_type))
        return &((struct context_object *)o)->c;
    if (PyObject_TypeCheck(o, span_type))
        return sonde_span_context(((struct span_object *)o)->span);
    PyErr_SetString(PyExc_TypeError, "a parent is a Span, a Context or None");
    return NULL;
}

// Span(name, kind=1, parent=None, attributes=None, start_ns=0, target="", file="", line=0). parent None: a new trace.
static PyObject *span_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
    static char *names[] = {"name", "kind", "parent", "attributes", "start_ns", "target", "file", "line", NULL};
    PyObject *name, *parent = NULL, *attributes = NULL, *target = NULL, *file = NULL, *line = NULL;
    int kind = SONDE_KIND_INTERNAL;
    long long start = 0;
    struct fields f;
    Py_ssize_t n;
    if (!PyArg_ParseTupleAndKeywords(args, kw, "U|iOOLOOO", names, &name, &kind, &parent, &attributes, &start, &target, &file,
                                     &line))
        return NULL;
    const struct sonde_context *from = context_of(parent);
    if (PyErr_Occurred() || fields_fill(&f, attributes) != 0)
        return NULL;
    struct sonde_site *site =
        call_site_get(target ? target : Py_None, file ? file : Py_None, line ? line : Py_None, LEVEL_OF_SPAN);
    allocfunc alloc = site ? (allocfunc)PyType_GetSlot(type, Py_tp_alloc) : NULL;
    struct span_object *self = alloc ? (struct span_object *)alloc(type, 0) : NULL;
    if (self) {
        struct sonde_span_options o = {.kind = kind >= SONDE_KIND_INTERNAL && kind <= SONDE_KIND_CONSUMER ? (enum sonde_kind)kind
                                                                                                          : SONDE_KIND_INTERNAL,
                                       .parent = from,
                                       .root = from == NULL,
                                       .start_ns = start,
                                       .attributes = f.v,
                                       .n_attributes = f.n};
        const char *text = text_of(name, &n, &f);
        self->span = sonde_span_hold(sonde_span_start_with_site(site, text, &o));
        self->ended = 0;
    }
    fields_clear(&f);
    return (PyObject *)self;
}

static void end_span(struct span_object *s, int64_t at)
{
    if (s->ended)
        return;
    s->ended = 1;
    sonde_span_end_at(s->span, at);
}

static void span_free(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    end_span((struct span_object *)o, 0); // forgotten: it ends when nobody knows it any more
    sonde_span_release(((struct span_object *)o)->span);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
    Py_DECREF(type);
}

static PyObject *span_end(PyObject *self, PyObject *args)
{
    long long at = 0;
    if (!PyArg_ParseTuple(args, "|L", &at))
        return NULL;
    end_span((struct span_object *)self, at);
    Py_RETURN_NONE;
}

static PyObject *span_set(PyObject *self, PyObject *mapping)
{
    struct sonde_span *s = span_handle(self);
    struct fields f;
    if (!s)
        Py_RETURN_NONE;
    if (fields_fill(&f, mapping) != 0)
        return NULL;
    sonde_span_attributes(s, f.v, f.n);
    fields_clear(&f);
    Py_RETURN_NONE;
}

static PyObject *span_event(PyObject *self, PyObject *args)
{
    const char *name;
    PyObject *mapping = NULL;
    long long at = 0;
    struct fields f;
    if (!PyArg_ParseTuple(args, "s|OL", &name, &mapping, &at))
        return NULL;
    struct sonde_span *s = span_handle(self);
    if (!s)
        Py_RETURN_NONE;
    if (fields_fill(&f, mapping) != 0)
        return NULL;
    sonde_span_event_with(s, name, at, f.v, f.n);
    fields_clear(&f);
    Py_RETURN_NONE;
}

static PyObject *span_status(PyObject *self, PyObject *args)
{
    int code;
    const char *message = NULL;
    if (!PyArg_ParseTuple(args, "i|z", &code, &message))
        return NULL;
    if (span_handle(self) && code >= SONDE_STATUS_UNSET && code <= SONDE_STATUS_ERROR)
        sonde_span_status(span_handle(self), (enum sonde_status)code, message);
    Py_RETURN_NONE;
}

static PyObject *span_exception(PyObject *self, PyObject *args)
{
    struct sonde_exception e = {.type = NULL};
    PyObject *mapping = NULL;
    struct fields f;
    if (!PyArg_ParseTuple(args, "s|zzO", &e.type, &e.message, &e.stack, &mapping))
        return NULL;
    struct sonde_span *s = span_handle(self);
    if (!s)
        Py_RETURN_NONE;
    if (fields_fill(&f, mapping) != 0)
        return NULL;
    e.fields = f.v;
    e.n_fields = f.n;
    sonde_span_exception(s, &e);
    fields_clear(&f);
    Py_RETURN_NONE;
}

static PyObject *span_link(PyObject *self, PyObject *args)
{
    PyObject *to, *mapping = NULL;
    struct fields f;
    if (!PyArg_ParseTuple(args, "O|O", &to, &mapping))
        return NULL;
    struct sonde_link link = {.context = context_of(to)};
    struct sonde_span *s = span_handle(self);
    if (PyErr_Occurred())
        return NULL;
    if (!s || !link.context)
        Py_RETURN_NONE;
    if (fields_fill(&f, mapping) != 0)
        return NULL;
    link.attributes = f.v;
    link.n_attributes = f.n;
    sonde_span_link(s, &link);
    fields_clear(&f);
    Py_RETURN_NONE;
}

static PyObject *span_rename(PyObject *self, PyObject *args)
{
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    if (span_handle(self))
        sonde_span_name(span_handle(self), name);
    Py_RETURN_NONE;
}

static PyObject *span_context(PyObject *self, void *closure)
{
    (void)closure;
    return context_new(sonde_span_context(((struct span_object *)self)->span));
}

static PyObject *span_recording(PyObject *self, void *closure)
{
    struct sonde_span *s = span_handle(self);
    (void)closure;
    return PyBool_FromLong(s && sonde_span_is_recording(s));
}

static PyMethodDef span_methods[] = {
    {"end", span_end, METH_VARARGS,
     "end(end_ns=0): the span is over; now, or at a time in ns since 1970. Later calls do nothing."},
    {"set", span_set, METH_O, "set(mapping): attributes."},
    {"event", span_event, METH_VARARGS, "event(name, fields=None, time_ns=0)"},
    {"status", span_status, METH_VARARGS, "status(code, message=None): 0 unset, 1 ok, 2 error."},
    {"exception", span_exception, METH_VARARGS, "exception(type, message=None, stack=None, fields=None)"},
    {"link", span_link, METH_VARARGS, "link(span_or_context, fields=None)"},
    {"rename", span_rename, METH_VARARGS, "rename(name)"},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef span_getset[] = {
    {"context", span_context, NULL, "its ids, as a Context", NULL},
    {"recording", span_recording, NULL, "whether what is said about it is kept", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot span_slots[] = {
    {Py_tp_new, span_new},
    {Py_tp_dealloc, span_free},
    {Py_tp_methods, span_methods},
    {Py_tp_getset, span_getset},
    {Py_tp_doc, "A span of libsonde. sonde.span() is the way to make one."},
    {0, NULL},
};
static PyType_Spec span_spec = {"sonde._sonde.Span", sizeof(struct span_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                span_slots};

// ---- headers --------------------------------------------------------------------------------------------------------
// Carriers
// are dicts with names in lower case; values are str, or lists of str where a header came several times.
static const char *carrier_get(void *carrier, const char *name, int nth, size_t *len)
{
    PyObject *v = PyDict_GetItemString(carrier, name);
    if (v && PyList_Check(v))
        v = nth < PyList_Size(v) ? PyList_GetItem(v, nth) : NULL;
    else if (nth > 0)
        v = NULL;
    Py_ssize_t n = 0;
    const char *p = v && PyUnicode_Check(v) ? PyUnicode_AsUTF8AndSize(v, &n) : NULL;
    PyErr_Clear();
    *len = (size_t)n;
    return p;
}

static void carrier_set(void *carrier, const char *name, const char *value, size_t len)
{
    PyObject *v = PyUnicode_DecodeUTF8(value, (Py_ssize_t)len, "replace");
    if (!v || PyDict_SetItemString(carrier, name, v) != 0)
        PyErr_Clear();
    Py_XDECREF(v);
}

static PyObject *extract(PyObject *self, PyObject *carrier)
{
    struct sonde_context c;
    (void)self;
    if (!PyDict_Check(carrier)) {
        PyErr_SetString(PyExc_TypeError, "extract(carrier): a dict of header names in lower case");
        return NULL;
    }
    sonde_extract(&c, carrier_get, carrier);
    return context_new(&c);
}

static PyObject *inject(PyObject *self, PyObject *args)
{
    PyObject *from, *carrier;
    int dynamo = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO!|p", &from, &PyDict_Type, &carrier, &dynamo))
        return NULL;
    const struct sonde_context *c = context_of(from);
    if (PyErr_Occurred())
        return NULL;
    (dynamo ? sonde_inject_dynamo : sonde_inject)(c, carrier_set, carrier);
    Py_RETURN_NONE;
}

// context(request_id="", parent=None): parent's ids (or none) with that request id; ValueError when it is not allowed in a
// header.
static PyObject *make_context(PyObject *self, PyObject *args)
{
    const char *id = "";
    Py_ssize_t n = 0;
    PyObject *parent = NULL;
    struct sonde_context c;
    (void)self;
    if (!PyArg_ParseTuple(args, "|s#O", &id, &n, &parent))
        return NULL;
    const struct sonde_context *from = context_of(parent);
    if (PyErr_Occurred())
        return NULL;
    memset(&c, 0, sizeof c);
    if (from)
        c = *from;
    if (n && !sonde_set_request_id(&c, id, (size_t)n)) {
        PyErr_SetString(PyExc_ValueError, "a request id is 1 to 128 printable ASCII characters");
        return NULL;
    }
    return context_new(&c);
}

static PyMethodDef functions[] = {
    {"extract", extract, METH_O, "extract(carrier): the Context that a dict of headers (names in lower case) tells."},
    {"inject", inject, METH_VARARGS, "inject(span_or_context, carrier, dynamo=False): writes the headers into a dict."},
    {"context", make_context, METH_VARARGS, "context(request_id='', parent=None): a Context."},
    {NULL, NULL, 0, NULL},
};

int span_ready(PyObject *module)
{
    context_type = (PyTypeObject *)PyType_FromSpec(&context_spec);
    span_type = (PyTypeObject *)PyType_FromSpec(&span_spec);
    if (!context_type || !span_type || PyModule_AddFunctions(module, functions) != 0)
        return -1;
    Py_INCREF(context_type); // these two references are the file's own
    Py_INCREF(span_type);
    return PyModule_AddObject(module, "Context", (PyObject *)context_type) != 0 ||
                   PyModule_AddObject(module, "Span", (PyObject *)span_type) != 0
               ? -1
               : 0;
}
