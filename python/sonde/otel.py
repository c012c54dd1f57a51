"""OpenTelemetry's Python API on libsonde, with opentelemetry-api alone (no SDK): instrumentation that is there records through libsonde.

    import sonde.otel
    sonde.otel.install()

Spans of either side are the other's parents: a span of sonde is what opentelemetry.trace.get_current_span() returns, and one of theirs
is sonde.current_span(). Headers are read and written by libsonde, x-request-id and x-dynamo-request-id included.
"""
from __future__ import annotations

import contextlib
import sys
import typing
from contextvars import Token
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context.context import Context as OtelContext
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, TextMapPropagator, default_getter, default_setter

from . import _sonde
from ._life import init
from ._trace import Context, _current, _remote

__all__ = ["OtelSpan", "Propagator", "Tracer", "TracerProvider", "install"]

_KEY = "sonde-context"  # in their context: libsonde's Context of what came in, request ids and all
_KINDS = {trace.SpanKind.INTERNAL: 1, trace.SpanKind.SERVER: 2, trace.SpanKind.CLIENT: 3, trace.SpanKind.PRODUCER: 4, trace.SpanKind.CONSUMER: 5}
_STATUS = {trace.StatusCode.UNSET: 0, trace.StatusCode.OK: 1, trace.StatusCode.ERROR: 2}
_HEADERS = ("traceparent", "tracestate", "baggage", "x-request-id", "x-dynamo-request-id", "request-id")


def _theirs(c: Context) -> trace.SpanContext:
    state = trace.TraceState.from_header([c.tracestate]) if c.tracestate else None
    return trace.SpanContext(int(c.trace_id, 16), int(c.span_id, 16), c.remote, trace.TraceFlags(1 if c.sampled else 0), state)


def _ours(c: trace.SpanContext) -> Context:
    carrier: dict[str, Union[str, list[str]]] = {"traceparent": f"00-{c.trace_id:032x}-{c.span_id:016x}-{int(c.trace_flags):02x}"}
    if c.trace_state:
        carrier["tracestate"] = c.trace_state.to_header()
    return _sonde.extract(carrier)


class OtelSpan(trace.Span):  # type: ignore[misc]
    """A span of sonde as OpenTelemetry knows spans."""

    def __init__(self, span: _sonde.Span, record_exception: bool = True, set_status: bool = True) -> None:
        self.sonde = span
        self._context = _theirs(span.context)
        self._record, self._status = record_exception, set_status

    def get_span_context(self) -> trace.SpanContext:
        return self._context

    def is_recording(self) -> bool:
        return self.sonde.recording

    def end(self, end_time: Optional[int] = None) -> None:
        self.sonde.end(end_time or 0)

    def set_attribute(self, key: str, value: Any) -> None:
        self.sonde.set({key: value})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.sonde.set(dict(attributes))

    def add_event(self, name: str, attributes: Optional[Mapping[str, Any]] = None, timestamp: Optional[int] = None) -> None:
        self.sonde.event(name, dict(attributes or {}), timestamp or 0)

    def add_link(self, context: trace.SpanContext, attributes: Optional[Mapping[str, Any]] = None) -> None:
        self.sonde.link(_ours(context), dict(attributes or {}))

    def update_name(self, name: str) -> None:
        self.sonde.rename(name)

    def set_status(self, status: Union[trace.Status, trace.StatusCode], description: Optional[str] = None) -> None:
        if isinstance(status, trace.Status):
            status, description = status.status_code, status.description
        self.sonde.status(_STATUS[status], description)

    def record_exception(self, exception: BaseException, attributes: Optional[Mapping[str, Any]] = None, timestamp: Optional[int] = None,
                         escaped: bool = False) -> None:
        from ._log import exception_fields, type_name
        fields = {**exception_fields(exception), "exception.escaped": str(escaped), **(attributes or {})}
        if timestamp:
            self.sonde.event("exception", fields, timestamp)
        else:
            self.sonde.exception(type_name(exception), str(exception), fields["exception.stacktrace"], dict(attributes or {}))

    def __exit__(self, kind: Any, e: Optional[BaseException], tb: Any) -> None:
        if isinstance(e, Exception):
            if self._record:
                self.record_exception(e)
            if self._status:
                self.set_status(trace.StatusCode.ERROR, f"{type(e).__name__}: {e}")
        self.end()


def _parent(context: Optional[OtelContext]) -> Union[_sonde.Span, Context, None]:
    span = trace.get_current_span(context)
    if isinstance(span, OtelSpan):
        return span.sonde
    came: Any = otel_context.get_value(_KEY, context)
    c = span.get_span_context()
    if isinstance(came, Context) and (not c.is_valid or int(came.span_id or "0", 16) == c.span_id):
        return came
    return _ours(c) if c.is_valid else None


class Tracer(trace.Tracer):  # type: ignore[misc]
    """Makes spans of libsonde; the instrumentation's name is their target."""

    def __init__(self, name: str, version: Optional[str] = None) -> None:
        self._name, self._version = name, version

    def start_span(self, name: str, context: Optional[OtelContext] = None, kind: trace.SpanKind = trace.SpanKind.INTERNAL,
                   attributes: Optional[Mapping[str, Any]] = None, links: Optional[Sequence[trace.Link]] = None, start_time: Optional[int] = None,
                   record_exception: bool = True, set_status_on_exception: bool = True) -> OtelSpan:
        from ._trace import Span
        frame = sys._getframe(1)
        span = Span(name, _KINDS[kind], _parent(context), dict(attributes or {}), start_time or 0, self._name, frame.f_code.co_filename, frame.f_lineno)
        out = OtelSpan(span, record_exception, set_status_on_exception)
        for link in links or ():
            out.add_link(link.context, link.attributes)
        return out

    @contextlib.contextmanager
    def _current_span(self, name: str, context: Optional[OtelContext], kind: trace.SpanKind, attributes: Optional[Mapping[str, Any]],
                      links: Optional[Sequence[trace.Link]], start_time: Optional[int], record_exception: bool, set_status_on_exception: bool,
                      end_on_exit: bool) -> Iterator[OtelSpan]:
        span = self.start_span(name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span

    def start_as_current_span(self, name: str, context: Optional[OtelContext] = None, kind: trace.SpanKind = trace.SpanKind.INTERNAL,
                              attributes: Optional[Mapping[str, Any]] = None, links: Optional[Sequence[trace.Link]] = None,
                              start_time: Optional[int] = None, record_exception: bool = True, set_status_on_exception: bool = True,
                              end_on_exit: bool = True) -> Any:
        """A block or a decorator, as OpenTelemetry's."""
        return self._current_span(name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception, end_on_exit)


class TracerProvider(trace.TracerProvider):  # type: ignore[misc]
    """Tracers of libsonde."""

    def get_tracer(self, instrumenting_module_name: str, instrumenting_library_version: Optional[str] = None, schema_url: Optional[str] = None,
                   attributes: Optional[Mapping[str, Any]] = None) -> Tracer:
        return Tracer(instrumenting_module_name, instrumenting_library_version)


class Propagator(TextMapPropagator):  # type: ignore[misc]
    """traceparent, tracestate, baggage and the request ids, by libsonde. OpenTelemetry's own baggage is beside it (propagate.composite)."""

    def extract(self, carrier: CarrierT, context: Optional[OtelContext] = None, getter: Getter[CarrierT] = default_getter) -> OtelContext:
        found: dict[str, Union[str, list[str]]] = {}
        for name in _HEADERS:
            values = getter.get(carrier, name)
            if values:
                found[name] = list(values)
        c = _sonde.extract(found)
        context = context if context is not None else otel_context.get_current()
        if c.valid or c.request_id:
            context = otel_context.set_value(_KEY, c, context)
        return trace.set_span_in_context(trace.NonRecordingSpan(_theirs(c)), context) if c.valid else context

    def inject(self, carrier: CarrierT, context: Optional[OtelContext] = None, setter: Setter[CarrierT] = default_setter) -> None:
        out: dict[str, str] = {}
        _sonde.inject(_parent(context), out)
        for k, v in out.items():
            setter.set(carrier, k, v)

    @property
    def fields(self) -> set[str]:
        return set(_HEADERS[:5])


class _Runtime:
    """OpenTelemetry's holder of its current context, with our current span beside it: each side sees what the other made current."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def attach(self, context: OtelContext) -> Any:
        span = trace.get_current_span(context)
        came: Any = otel_context.get_value(_KEY, context)
        ours = _current.get()
        mine: Optional[Token[Any]] = None
        other: Optional[Token[Any]] = None
        if isinstance(span, OtelSpan):
            if span.sonde is not ours:
                mine = _current.set(typing.cast(Any, span.sonde))
        elif isinstance(came, Context) or span.get_span_context().is_valid:
            mine, other = _current.set(None), _remote.set(typing.cast(Any, _parent(context)))
        return self._inner.attach(context), mine, other

    def get_current(self) -> OtelContext:
        context: OtelContext = self._inner.get_current()
        ours = _current.get()
        span = trace.get_current_span(context) if _SPAN_KEY in context else None
        if ours is not None:
            if not isinstance(span, OtelSpan) or span.sonde is not ours:
                return _with_span(context, OtelSpan(ours))
        elif span is None or isinstance(span, OtelSpan):
            came = _remote.get()
            if came is not None and came.valid:
                context = OtelContext({**context, _KEY: came})
                return _with_span(context, trace.NonRecordingSpan(_theirs(came)))
        return context

    def detach(self, token: Any) -> None:
        inner, mine, other = token
        for variable, t in ((_current, mine), (_remote, other)):
            if t is not None:
                try:
                    variable.reset(t)
                except ValueError:  # in another context than it was attached in
                    pass
        self._inner.detach(inner)


def _with_span(context: OtelContext, span: trace.Span) -> OtelContext:
    return OtelContext({**context, _SPAN_KEY: span})


_installed = False


def install(propagator: bool = True) -> TracerProvider:
    """Makes libsonde the global tracer provider, its propagator the global one, and the current spans one. RuntimeError: another provider
    was set before. May be called again."""
    global _installed
    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        return provider
    init()
    ours = TracerProvider()
    trace.set_tracer_provider(ours)
    now: object = trace.get_tracer_provider()
    if now is not ours:
        raise RuntimeError("OpenTelemetry has a tracer provider already; call sonde.otel.install() before it is set")
    if propagator:
        from opentelemetry.baggage.propagation import W3CBaggagePropagator
        from opentelemetry.propagators.composite import CompositePropagator
        propagate.set_global_textmap(CompositePropagator([W3CBaggagePropagator(), Propagator()]))
    if not _installed:
        otel_context.get_current()  # makes the holder
        otel_context._RUNTIME_CONTEXT = _Runtime(otel_context._RUNTIME_CONTEXT)
        _installed = True
    return ours
