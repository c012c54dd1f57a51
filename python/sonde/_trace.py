"""Spans and what travels with a request. The current span is a context variable: right in threads, tasks and executors alike."""
from __future__ import annotations

import contextlib
import functools
import sys
from contextvars import ContextVar, Token
from typing import Any, Callable, Iterator, MutableMapping, Optional, TypeVar, Union, cast

from . import _sonde
from ._sonde import Context

__all__ = ["Context", "Span", "context", "current_context", "current_span", "extract", "inject", "request", "span", "start_span", "use_span"]

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"unset": 0, "ok": 1, "error": 2}
F = TypeVar("F", bound=Callable[..., Any])
Parent = Union["Span", Context, None]

_current: ContextVar[Optional["Span"]] = ContextVar("sonde_span", default=None)
_remote: ContextVar[Optional[Context]] = ContextVar("sonde_context", default=None)


class Span(_sonde.Span):
    """A span. Methods may be called from any thread and task; behind its end they do nothing."""

    __slots__ = ()

    def set_attribute(self, key: str, value: Any) -> None:
        """One attribute; bool, int, float, str, bytes, sequences of one such type; else str(value)."""
        self.set({key: value})

    def set_attributes(self, **attributes: Any) -> None:
        """Attributes by keyword."""
        self.set(attributes)

    def add_event(self, name: str, /, time_ns: int = 0, **fields: Any) -> None:
        """Something that happened, now or at time_ns."""
        self.event(name, fields, time_ns)

    def set_status(self, status: str, message: Optional[str] = None) -> None:
        """unset, ok or error; ok is final."""
        self.status(_STATUS[status], message)

    def record_exception(self, e: BaseException, **fields: Any) -> None:
        """The exception as an event with type, message and stack, its causes included."""
        from ._log import stack, text, type_name
        self.exception(type_name(e), text(e), stack(e), fields)


def _parent(given: Union[Parent, str]) -> Parent:
    if isinstance(given, str):  # "current"
        return _current.get() or _remote.get()
    return given


def start_span(name: str, /, *, kind: str = "internal", parent: Union[Parent, str] = "current", start_ns: int = 0, depth: int = 1,
               **attributes: Any) -> Span:
    """A free-standing span, not made current; end() it. parent None: a new trace."""
    frame = sys._getframe(depth)
    return Span(name, _KINDS[kind], _parent(parent), attributes, start_ns, frame.f_globals.get("__name__", "?"),
                frame.f_code.co_filename, frame.f_lineno)


class span(contextlib.AbstractContextManager["Span"]):
    """A span around a block or a function, sync or async, current meanwhile; an exception makes it an error and goes on.

        with sonde.span("prefill", kind="server", tokens=512) as s: ...

        @sonde.span("select_worker")
        async def select(): ...
    """

    __slots__ = ("_name", "_kind", "_given", "_attributes", "_place", "_span", "_token")

    def __init__(self, name: Optional[str] = None, /, *, kind: str = "internal", parent: Union[Parent, str] = "current", **attributes: Any):
        frame = sys._getframe(1)
        self._name, self._kind, self._given, self._attributes = name, _KINDS[kind], parent, attributes
        self._place = (frame.f_globals.get("__name__", "?"), frame.f_code.co_filename, frame.f_lineno)
        self._span: Optional[Span] = None
        self._token: Optional[Token[Optional[Span]]] = None

    def __enter__(self) -> Span:
        self._span = Span(self._name or "span", self._kind, _parent(self._given), self._attributes, 0, *self._place)
        self._token = _current.set(self._span)
        return self._span

    def __exit__(self, kind: object, e: Optional[BaseException], tb: object) -> None:
        s, token = self._span, self._token
        self._span = self._token = None
        if s is None:
            return
        if e is not None and not isinstance(e, (GeneratorExit, StopIteration, StopAsyncIteration)):
            _mark(e, s.context)
            from ._log import text
            s.record_exception(e)
            s.set_status("error", text(e) or type(e).__name__)
        if token is not None:
            try:
                _current.reset(token)
            except ValueError:  # left in another context than it was entered in: a generator that was moved
                pass
        s.end()

    def _again(self, fn: Callable[..., Any]) -> "span":
        copy = span.__new__(span)
        copy._name, copy._kind, copy._given, copy._attributes = self._name or fn.__qualname__, self._kind, self._given, self._attributes
        copy._place, copy._span, copy._token = self._place, None, None
        return copy

    def __call__(self, fn: F) -> F:
        code = getattr(fn, "__code__", None)
        if code is not None and code.co_flags & 0x180:  # async def, types.coroutine
            @functools.wraps(fn)
            async def run_async(*args: Any, **kw: Any) -> Any:
                with self._again(fn):
                    return await fn(*args, **kw)
            return cast(F, run_async)

        @functools.wraps(fn)
        def run(*args: Any, **kw: Any) -> Any:
            with self._again(fn):
                return fn(*args, **kw)
        return cast(F, run)


def _mark(e: BaseException, c: Context) -> None:
    """The innermost span that an exception passed through; whoever tells of it later knows the request."""
    try:
        if span_of(e) is None:
            e.__sonde_context__ = c  # type: ignore[attr-defined]
    except Exception:  # a class with slots
        pass


def span_of(e: Optional[BaseException]) -> Optional[Context]:
    """The context of the span that the exception came out of first; None if there was none."""
    c = getattr(e, "__sonde_context__", None)
    return c if isinstance(c, Context) else None


def current_span() -> Optional[Span]:
    """The span that is current in this thread or task; None if there is none."""
    return _current.get()


def current_context() -> Optional[Context]:
    """The ids of the current span, else those that request() took over; None if there are none."""
    s = _current.get()
    return s.context if s is not None else _remote.get()


@contextlib.contextmanager
def use_span(s: Span) -> Iterator[Span]:
    """Makes a free-standing span current for a block; it is not ended."""
    token = _current.set(s)
    try:
        yield s
    finally:
        _current.reset(token)


def context(request_id: str = "", parent: Parent = None) -> Context:
    """A context with that x-request-id, and parent's ids if there is one. ValueError: not allowed in a header."""
    return _sonde.context(request_id, parent)


def _lower(headers: Any) -> dict[str, Union[str, list[str]]]:
    out: dict[str, Union[str, list[str]]] = {}
    items = headers.items() if hasattr(headers, "items") else headers
    for k, v in items:
        key = (k.decode("latin-1") if isinstance(k, bytes) else str(k)).lower()
        for text in v if isinstance(v, (list, tuple)) else (v,):
            value = text.decode("latin-1") if isinstance(text, bytes) else str(text)
            if key in out:
                before = out[key]
                out[key] = (before if isinstance(before, list) else [before]) + [value]
            else:
                out[key] = value
    return out


def extract(headers: Any) -> Context:
    """The context that headers tell: any mapping or list of pairs, names in any case, str or bytes. Without valid ids: context.valid is
    False; the request id may be there all the same."""
    return _sonde.extract(_lower(headers))


def inject(headers: Optional[MutableMapping[str, str]] = None, source: Union[Parent, str] = "current", *, dynamo: bool = False) -> MutableMapping[str, str]:
    """Writes traceparent, tracestate, baggage and the request ids of the current span into headers, and returns them. dynamo: also what
    Dynamo's workers expect (request-id, x-frontend-send-ts-ns)."""
    out: dict[str, str] = {}
    _sonde.inject(_parent(source), out, dynamo)
    headers = {} if headers is None else headers
    for k, v in out.items():
        headers[k] = v
    return headers


@contextlib.contextmanager
def request(headers: Any = (), *, request_id: str = "", new_id: bool = False) -> Iterator[Context]:
    """What comes in with a request is the parent of the spans of this block. new_id: a request id is made (UUID 4) where none came."""
    c = extract(headers)
    if new_id and not request_id and not c.request_id:
        import uuid
        request_id = str(uuid.uuid4())
    if request_id:
        c = context(request_id, c)
    token = _remote.set(c)
    none = _current.set(None)
    try:
        yield c
    except BaseException as e:
        _mark(e, c)
        raise
    finally:
        _current.reset(none)
        _remote.reset(token)
