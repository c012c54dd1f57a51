// logging.Logger._log without a LogRecord, where libsonde's handler is the only one that would see it. Everything else goes the
// way it always went: the method that was there is called with what came in.
#include "module.h"
#include <string.h>

// The methods through which a record goes, by which it is told whether somebody put another in their place.
enum { N_STEPS = 4 };
// What Python's side gives, once in a process: by the interpreter that asks first. References are never given back.
static struct {
    PyInterpreterState *owner;
    PyObject *logger, *handler;    // types
    PyObject *steps[N_STEPS];      // methods of Logger as they were
    PyObject *by_record;           // Logger._log as it was
    PyObject *getframe, *current;  // sys._getframe, ContextVar.get of the current span
    PyObject *factory_of, *record; // vars(logging), logging.LogRecord
    PyObject *own;                 // names that extra= may not have
    PyObject *source;              // file of the logging module
    PyObject *one, *nothing;       // 1 and ()
} setup;

static PyObject *s_handlers, *s_propagate, *s_parent, *s_filters, *s_formatter, *s_level, *s_prefix, *s_name, *s_steps[N_STEPS],
    *s_factory;

// ---- whether nobody else looks ----------------------------------------------------------------------------------------
// Of an attribute, which may be made anew for each look: whether it is what is wanted.
static bool is_same(PyObject *o, PyObject *name, PyObject *wanted)
{
    PyObject *v = PyObject_GetAttr(o, name);
    Py_XDECREF(v);
    return v == wanted;
}

static bool is_empty_list(PyObject *o, PyObject *name)
{
    PyObject *v = PyObject_GetAttr(o, name);
    bool is = v && PyList_Check(v) && PyList_Size(v) == 0;
    Py_XDECREF(v);
    return is;
}

static bool is_bare(PyObject *handler)
{
    if ((PyObject *)Py_TYPE(handler) != setup.handler || !is_empty_list(handler, s_filters) ||
        !is_same(handler, s_formatter, Py_None))
        return false;
    PyObject *level = PyObject_GetAttr(handler, s_level);
    bool is = level && PyLong_Check(level) && PyLong_AsLong(level) == 0;
    Py_XDECREF(level);
    return is;
}

// Whether all handlers of the list are bare ones of libsonde; *found is the first that there ever was.
static bool only_bare(PyObject *handlers, PyObject **found)
{
    if (!handlers || !PyList_Check(handlers))
        return false;
    for (Py_ssize_t i = 0; i < PyList_Size(handlers); i++) {
        PyObject *handler = PyList_GetItem(handlers, i);
        if (!is_bare(handler))
            return false;
        if (!*found) {
            Py_INCREF(handler);
            *found = handler;
        }
    }
    return true;
}

// The logger to which records of this one go on; null if to none, *ok false if that cannot be told.
static PyObject *above(PyObject *logger, bool *ok)
{
    PyObject *propagate = PyObject_GetAttr(logger, s_propagate);
    int up = propagate ? PyObject_IsTrue(propagate) : -1;
    PyObject *parent = up > 0 ? PyObject_GetAttr(logger, s_parent) : NULL;
    Py_XDECREF(propagate);
    *ok = up == 0 || (up > 0 && parent);
    if (parent == Py_None) {
        Py_DECREF(parent);
        parent = NULL;
    }
    return parent;
}

// The first handler of libsonde on the way to the root, if there are no others; a reference.
static PyObject *only_handler(PyObject *logger)
{
    PyObject *found = NULL;
    bool ok = true;
    Py_INCREF(logger);
    while (logger && ok) {
        PyObject *handlers = PyObject_GetAttr(logger, s_handlers), *next = NULL;
        ok = only_bare(handlers, &found);
        Py_XDECREF(handlers);
        if (ok)
            next = above(logger, &ok);
        Py_DECREF(logger);
        logger = next;
    }
    if (ok)
        return found;
    Py_XDECREF(logger);
    Py_XDECREF(found);
    return NULL;
}

// Nothing on a record's way was replaced: by a class, by one who looks at records there (Sentry), by a factory, by a filter.
static bool makes_plain_records(PyObject *logger)
{
    for (size_t i = 0; i < N_STEPS; i++)
        if (!is_same((PyObject *)Py_TYPE(logger), s_steps[i], setup.steps[i]))
            return false;
    return PyDict_GetItem(setup.factory_of, s_factory) == setup.record && is_empty_list(logger, s_filters);
}

// ---- call sites by code and line -----------------------------------------------------------------------------------------
enum { NEAR_SITES = 4096 };
static struct near_site {
    PyObject *name, *code; // held, so that no other object comes to lie there
    int line;
    long level;
    struct sonde_site *site;
} near_sites[NEAR_SITES]; // the last that was asked for of those that share a place

static struct near_site *near_site(PyObject *name, PyObject *code, int line, long level)
{
    uintptr_t h = ((uintptr_t)name >> 4) * 31 + ((uintptr_t)code >> 4) * 17 + (uintptr_t)line * 5 + (uintptr_t)level;
    return &near_sites[(h ^ h >> 12) % NEAR_SITES];
}

// "module.function" of a record: the logger's name, for the root the name of the file.
static PyObject *target_of(PyObject *name, PyObject *code, PyObject *file)
{
    PyObject *function = PyObject_GetAttrString(code, "co_name"), *target = NULL;
    if (function && PyUnicode_CompareWithASCIIString(name, "root") == 0) {
        PyObject *path = PyImport_ImportModule("posixpath");
        PyObject *base = path ? PyObject_CallMethod(path, "basename", "O", file) : NULL;
        PyObject *parts = base ? PyObject_CallMethod(path, "splitext", "O", base) : NULL;
        name = parts ? PyTuple_GetItem(parts, 0) : NULL;
        Py_XINCREF(name);
        Py_XDECREF(parts);
        Py_XDECREF(base);
        Py_XDECREF(path);
    } else {
        Py_INCREF(name);
    }
    if (function && name)
        target = PyUnicode_CompareWithASCIIString(function, "<module>") == 0 ? PyUnicode_FromFormat("%U", name)
                                                                             : PyUnicode_FromFormat("%U.%U", name, function);
    Py_XDECREF(function);
    Py_XDECREF(name);
    return target;
}

static struct sonde_site *far_site(PyObject *name, PyObject *code, PyObject *file, int line, long level)
{
    PyObject *target = target_of(name, code, file), *number = PyLong_FromLong(line);
    struct sonde_site *site = target && number ? call_site_get(target, file, number, level) : NULL;
    Py_XDECREF(target);
    Py_XDECREF(number);
    if (!site)
        return NULL;
    struct near_site *place = near_site(name, code, line, level), old = *place;
    Py_INCREF(name);
    Py_INCREF(code);
    *place = (struct near_site){name, code, line, level, site};
    Py_XDECREF(old.name);
    Py_XDECREF(old.code);
    return site;
}

// The site of a frame; null without an exception: the frame is one of the logging module.
static struct sonde_site *site_of_frame(PyObject *name, PyObject *frame, long level)
{
    PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
    int line = PyFrame_GetLineNumber((PyFrameObject *)frame);
    struct near_site *place = near_site(name, code, line, level);
    struct sonde_site *site = NULL;
    if (place->name == name && place->code == code && place->line == line && place->level == level) {
        site = place->site;
    } else {
        PyObject *file = PyObject_GetAttrString(code, "co_filename");
        if (file && PyUnicode_Check(file) && PyUnicode_Compare(file, setup.source) != 0)
            site = far_site(name, code, file, line, level);
        Py_XDECREF(file);
    }
    Py_DECREF(code);
    return site;
}

// The call is in the first frame above Logger.info() and its kin that is not the logging module's: a LoggerAdapter,
// logging.info().
static struct sonde_site *site_of_call(PyObject *logger, long level)
{
    PyObject *name = PyObject_GetAttr(logger, s_name);
    PyObject *frame = name && PyUnicode_Check(name) ? PyObject_CallFunctionObjArgs(setup.getframe, setup.one, NULL) : NULL;
    struct sonde_site *site = NULL;
    while (frame && frame != Py_None && !(site = site_of_frame(name, frame, level)) && !PyErr_Occurred()) {
        PyObject *back = PyObject_GetAttrString(frame, "f_back");
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    Py_XDECREF(name);
    return site;
}

// ---- the record ---------------------------------------------------------------------------------------------------------
// msg % args, as LogRecord.getMessage; null: let the record say what is wrong.
static PyObject *formatted(PyObject *msg, PyObject *args)
{
    PyObject *with = args, *only = PyTuple_Size(args) == 1 ? PyTuple_GetItem(args, 0) : NULL;
    if (only && PyDict_Check(only) && PyDict_Size(only) > 0)
        with = only;
    else if (only && !PyUnicode_Check(only) && PyMapping_Check(only) && !PyList_Check(only) && !PyTuple_Check(only) &&
             !PyDict_Check(only))
        return NULL; // may be a mapping of another kind
    return PyUnicode_Format(msg, with);
}

static PyObject *message_of(PyObject *msg, PyObject *args, PyObject *prefix)
{
    PyObject *message = PyObject_Str(msg);
    if (message && PyTuple_Size(args) > 0) {
        PyObject *done = formatted(message, args);
        Py_DECREF(message);
        message = done;
    }
    if (message && PyUnicode_Check(prefix) && PyUnicode_GetLength(prefix) > 0) {
        PyObject *whole = PyUnicode_Concat(prefix, message);
        Py_DECREF(message);
        message = whole;
    }
    return message;
}

static bool write_record(struct sonde_site *site, PyObject *message, PyObject *extra)
{
    struct fields f;
    Py_ssize_t n;
    PyObject *current = PyObject_CallObject(setup.current, setup.nothing);
    if (!current || fields_fill(&f, extra) != 0) {
        Py_XDECREF(current);
        return false;
    }
    struct sonde_span *span = span_handle(current);
    const char *text = text_of(message, &n, &f);
    if (span)
        sonde_span_enter(span);
    sonde_log_array(site, text, (size_t)n, f.v, f.n);
    if (span)
        sonde_span_exit(span);
    fields_clear(&f);
    Py_DECREF(current);
    return true;
}

static bool is_allowed(PyObject *extra)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    if (!extra || extra == Py_None)
        return true;
    if (!PyDict_CheckExact(extra))
        return false;
    while (PyDict_Next(extra, &at, &key, &value))
        if (PySet_Contains(setup.own, key) != 0)
            return false;
    return true;
}

static long level_of(long python)
{
    return python >= 40   ? SONDE_LEVEL_ERROR
           : python >= 30 ? SONDE_LEVEL_WARN
           : python >= 20 ? SONDE_LEVEL_INFO
           : python >= 10 ? SONDE_LEVEL_DEBUG
                          : SONDE_LEVEL_TRACE;
}

// Whether the record was told, or nobody wants it; else the long way, an exception cleared.
static bool short_way(PyObject *logger, PyObject *const *args, PyObject *extra)
{
    PyObject *handler = PyLong_Check(args[0]) && PyTuple_Check(args[2]) && is_allowed(extra) && makes_plain_records(logger)
                            ? only_handler(logger)
                            : NULL;
    struct sonde_site *site = handler ? site_of_call(logger, level_of(PyLong_AsLong(args[0]))) : NULL;
    bool done = site && !PyErr_Occurred();
    if (done && sonde_site_wanted(site)) {
        PyObject *prefix = PyObject_GetAttr(handler, s_prefix);
        PyObject *message = prefix ? message_of(args[1], args[2], prefix) : NULL;
        done = message && write_record(site, message, extra);
        Py_XDECREF(message);
        Py_XDECREF(prefix);
    }
    Py_XDECREF(handler);
    PyErr_Clear();
    return done;
}

static PyObject *long_way(PyObject *logger, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    Py_ssize_t n_names = names ? PyTuple_Size(names) : 0;
    PyObject *all = PyTuple_New(n + 1), *kw = PyDict_New(), *out = NULL;
    if (!all || !kw)
        goto out;
    Py_INCREF(logger);
    PyTuple_SetItem(all, 0, logger);
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_INCREF(args[i]);
        PyTuple_SetItem(all, i + 1, args[i]);
    }
    for (Py_ssize_t i = 0; i < n_names; i++)
        if (PyDict_SetItem(kw, PyTuple_GetItem(names, i), args[n + i]) != 0)
            goto out;
    out = PyObject_Call(setup.by_record, all, kw);
out:
    Py_XDECREF(all);
    Py_XDECREF(kw);
    return out;
}

// _log(level, msg, args, exc_info=None, extra=None, stack_info=False, stacklevel=1), of a Logger.
static PyObject *logger_log(PyObject *logger, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    Py_ssize_t n_names = names ? PyTuple_Size(names) : 0;
    PyObject *extra = NULL;
    bool quick = n == 3;
    for (Py_ssize_t i = 0; quick && i < n_names; i++) {
        PyObject *name = PyTuple_GetItem(names, i), *value = args[n + i];
        if (PyUnicode_CompareWithASCIIString(name, "extra") == 0)
            extra = value;
        else
            quick = value == Py_None || value == Py_False; // exc_info and stack_info that say no
    }
    if (quick && short_way(logger, args, extra))
        Py_RETURN_NONE;
    return long_way(logger, args, n, names);
}

static PyMethodDef log_method = {"_log", (PyCFunction)(void (*)(void))logger_log, METH_FASTCALL | METH_KEYWORDS,
                                 "_log(level, msg, args, exc_info=None, extra=None, stack_info=False, stacklevel=1)"};

static bool names_ready(void)
{
    const struct {
        PyObject **to;
        const char *text;
    } names[] = {{&s_handlers, "handlers"},        {&s_propagate, "propagate"}, {&s_parent, "parent"},
                 {&s_filters, "filters"},          {&s_formatter, "formatter"}, {&s_level, "level"},
                 {&s_prefix, "_prefix"},           {&s_name, "name"},           {&s_steps[0], "makeRecord"},
                 {&s_steps[1], "findCaller"},      {&s_steps[2], "handle"},     {&s_steps[3], "callHandlers"},
                 {&s_factory, "_logRecordFactory"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!*names[i].to && !(*names[i].to = PyUnicode_InternFromString(names[i].text)))
            return false;
    return true;
}

PyObject *py_logger_method(PyObject *self, PyObject *args)
{
    PyObject *v[9];
    (void)self;
    if (!PyArg_ParseTuple(args, "O!O!O!OOOO!O!O!", &PyType_Type, &v[0], &PyTuple_Type, &v[1], &PyType_Type, &v[2], &v[3], &v[4],
                          &v[5], &PyDict_Type, &v[6], &PyType_Type, &v[7], &PyFrozenSet_Type, &v[8]))
        return NULL;
    if (PyObject_TypeCheck(v[3], &PyMethodDescr_Type) && setup.by_record)
        v[3] = setup.by_record; // the module was loaded again
    PyObject *source = PyDict_GetItemString(v[6], "_srcfile");
    if ((setup.owner && setup.owner != PyInterpreterState_Get()) || !source || !PyUnicode_Check(source))
        Py_RETURN_NONE; // another interpreter's: it goes the long way
    if (PyTuple_Size(v[1]) != N_STEPS) {
        PyErr_SetString(PyExc_ValueError, "steps are makeRecord, findCaller, handle and callHandlers");
        return NULL;
    }
    if (!names_ready() || (!setup.one && !(setup.one = PyLong_FromLong(1))) ||
        (!setup.nothing && !(setup.nothing = PyTuple_New(0))))
        return NULL;
    PyObject *steps;
    PyObject **to[] = {&setup.logger,     &steps,        &setup.handler, &setup.by_record, &setup.getframe, &setup.current,
                       &setup.factory_of, &setup.record, &setup.own};
    for (size_t i = 0; i < 9; i++) {
        Py_INCREF(v[i]);
        *to[i] = v[i];
    }
    for (Py_ssize_t i = 0; i < N_STEPS; i++)
        setup.steps[i] = PyTuple_GetItem(steps, i);
    Py_INCREF(source);
    setup.source = source;
    setup.owner = PyInterpreterState_Get();
    return PyDescr_NewMethod((PyTypeObject *)setup.logger, &log_method);
}
