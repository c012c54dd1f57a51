"""Requests of servers and clients as spans, for what serving processes are built with. Each takes over traceparent, tracestate, baggage
and x-request-id, makes a request id where none came and returns it; each outgoing call carries them on. Nothing is imported that is not used.

    app.add_middleware(sonde.middleware.ASGI)                                   # FastAPI, Starlette
    web.Application(middlewares=[sonde.middleware.aiohttp_server()])            # aiohttp
    aiohttp.ClientSession(trace_configs=[sonde.middleware.aiohttp_client()])
    grpc.server(pool, interceptors=[sonde.middleware.grpc_server()])            # gRPC, and grpc_aio_… for grpc.aio
    grpc.intercept_channel(channel, sonde.middleware.grpc_client())

Spans: http-request with method, uri, version; rpc with rpc.service and rpc.method; the status of the answer, ERROR for 5xx, for codes that
are the server's fault, and for exceptions.
"""
from __future__ import annotations

import contextlib
import contextvars
from typing import Any, Awaitable, Callable, Iterable, Iterator, MutableMapping, Tuple

from ._trace import Span, inject, request, span, start_span

__all__ = ["ASGI", "aiohttp_client", "aiohttp_server", "grpc_aio_client", "grpc_aio_server", "grpc_client", "grpc_server"]

_QUIET = ("/health", "/live", "/metrics", "/ping")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@contextlib.contextmanager
def _serve(name: str, headers: Any, **attributes: Any) -> Iterator[Tuple[Span, str]]:
    with request(headers, new_id=True) as c, span(name, kind="server", **attributes) as s:
        yield s, c.request_id


def _http_status(s: Span, status: int, error_from: int) -> None:
    s.set({"http.response.status_code": status})
    if status >= error_from:
        s.set_status("error", f"HTTP {status}")


# ---- ASGI ---------------------------------------------------------------------------------------------------------------------------
class ASGI:
    """Around any ASGI application. quiet: paths without a span."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], quiet: Iterable[str] = _QUIET) -> None:
        self.app, self.quiet = app, frozenset(quiet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self.quiet:
            await self.app(scope, receive, send)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        uri = scope["path"] + (f"?{query}" if query else "")
        attributes = {"method": scope.get("method", "WEBSOCKET"), "uri": uri, "version": f"HTTP/{scope.get('http_version', '1.1')}"}
        with _serve("http-request", scope["headers"], **attributes) as (s, request_id):
            answered = False

            async def answer(message: MutableMapping[str, Any]) -> None:
                nonlocal answered
                answered = True
                if message["type"] in ("http.response.start", "websocket.accept"):
                    headers = [(k, v) for k, v in message.get("headers", ()) if k.lower() != b"x-request-id"]
                    message = {**message, "headers": headers + [(b"x-request-id", request_id.encode("latin-1"))]}
                    if "status" in message:
                        _http_status(s, message["status"], 500)
                await send(message)

            try:
                await self.app(scope, receive, answer)
            except Exception:
                if not answered and scope["type"] == "http":  # what the server is about to say
                    s.set({"http.response.status_code": 500})
                raise


# ---- aiohttp --------------------------------------------------------------------------------------------------------------------------
def aiohttp_server(quiet: Iterable[str] = _QUIET) -> Any:
    """A middleware for aiohttp.web.Application. quiet: paths without a span."""
    from aiohttp import web
    skip = frozenset(quiet)

    @web.middleware  # type: ignore[untyped-decorator]
    async def middleware(req: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if req.path in skip:
            return await handler(req)
        version = f"HTTP/{req.version.major}.{req.version.minor}"
        with _serve("http-request", req.headers, method=req.method, uri=req.path_qs, version=version) as (s, request_id):
            async def prepared(_: Any, response: web.StreamResponse) -> None:
                response.headers["x-request-id"] = request_id

            try:
                response = await handler(req)
            except web.HTTPException as e:  # an answer, no failure
                e.headers["x-request-id"] = request_id
                _http_status(s, e.status, 500)
                told = e
            else:
                if not response.prepared:
                    await prepared(req, response)
                _http_status(s, response.status, 500)
                return response
        raise told

    return middleware


def aiohttp_client() -> Any:
    """A TraceConfig for aiohttp.ClientSession: a client span per request, whose context is sent along."""
    import aiohttp
    config = aiohttp.TraceConfig()

    async def start(_: Any, ctx: Any, params: Any) -> None:
        attributes = {"http.request.method": params.method, "url.full": str(params.url.with_user(None)), "server.address": params.url.host,
                      "server.port": params.url.port}
        ctx.sonde = start_span(params.method, kind="client", **attributes)
        inject(params.headers, ctx.sonde)

    async def end(_: Any, ctx: Any, params: Any) -> None:
        _http_status(ctx.sonde, params.response.status, 400)
        ctx.sonde.end()

    async def failed(_: Any, ctx: Any, params: Any) -> None:
        ctx.sonde.record_exception(params.exception)
        ctx.sonde.set_status("error", str(params.exception) or type(params.exception).__name__)
        ctx.sonde.end()

    config.on_request_start.append(start)
    config.on_request_end.append(end)
    config.on_request_exception.append(failed)
    return config


# ---- gRPC -------------------------------------------------------------------------------------------------------------------------------
_SERVERS_FAULT = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))


def _rpc(method: Any) -> dict[str, Any]:
    text = method.decode() if isinstance(method, bytes) else method
    service, _, name = text.lstrip("/").rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _code(s: Span, code: Any, client: bool) -> None:
    if code is None:
        name, number = "OK", 0
    elif isinstance(code, int):
        import grpc
        name, number = next(((c.name, code) for c in grpc.StatusCode if c.value[0] == code), ("UNKNOWN", code))
    else:
        name, number = code.name, code.value[0]
    s.set({"rpc.grpc.status_code": number})
    if name in _SERVERS_FAULT or (client and number != 0):
        s.set_status("error", name)


def _return_id(context: Any, request_id: str) -> None:
    before = context.trailing_metadata() or ()
    context.set_trailing_metadata((*before, ("x-request-id", request_id)))


def _text_only(metadata: Any) -> list[Tuple[str, str]]:
    return [(k, v) for k, v in metadata or () if isinstance(v, str)]


def _sent(details: Any, s: Span) -> Any:
    """The call's details with our headers among its metadata."""
    headers = inject({}, s)
    metadata = [(k, v) for k, v in details.metadata or () if k not in headers] + list(headers.items())
    return details, metadata


def _wrapped(handler: Any, behaviour: Any) -> Any:
    import grpc
    make = {(False, False): grpc.unary_unary_rpc_method_handler, (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler, (True, True): grpc.stream_stream_rpc_method_handler}
    return make[handler.request_streaming, handler.response_streaming](behaviour, handler.request_deserializer, handler.response_serializer)


def _behaviour(handler: Any) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


def grpc_server() -> Any:
    """An interceptor for grpc.server()."""
    import grpc

    class Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = continuation(details)
            if handler is None:
                return None
            fn, attributes, headers = _behaviour(handler), _rpc(details.method), _text_only(details.invocation_metadata)

            def unary(given: Any, context: Any) -> Any:
                with _serve("rpc", headers, **attributes) as (s, request_id):
                    try:
                        return fn(given, context)
                    finally:
                        _code(s, context.code(), False)
                        _return_id(context, request_id)

            def stream(given: Any, context: Any) -> Iterator[Any]:
                # The parts may be asked for by several threads: all run in one context of variables.
                own, block = contextvars.copy_context(), _serve("rpc", headers, **attributes)
                s, request_id = own.run(block.__enter__)
                try:
                    it = iter(own.run(fn, given, context))
                    while True:
                        try:
                            item = own.run(next, it)
                        except StopIteration:
                            break
                        yield item
                except BaseException as e:
                    _code(s, context.code(), False)
                    failed: Any = e
                    if isinstance(e, GeneratorExit):  # the client went
                        own.run(block.__exit__, None, None, None)
                    else:
                        with contextlib.suppress(type(failed)):
                            own.run(block.__exit__, type(failed), failed, failed.__traceback__)
                    raise
                _code(s, context.code(), False)
                _return_id(context, request_id)
                own.run(block.__exit__, None, None, None)

            return _wrapped(handler, stream if handler.response_streaming else unary)

    return Interceptor()


def grpc_aio_server() -> Any:
    """An interceptor for grpc.aio.server()."""
    import inspect
    import grpc
    import grpc.aio

    class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)
            if handler is None:
                return None
            fn, attributes, headers = _behaviour(handler), _rpc(details.method), _text_only(details.invocation_metadata)

            async def unary(given: Any, context: Any) -> Any:
                with _serve("rpc", headers, **attributes) as (s, request_id):
                    try:
                        answer = fn(given, context)
                        return await answer if inspect.isawaitable(answer) else answer
                    finally:
                        _code(s, context.code(), False)
                        _return_id(context, request_id)

            async def stream(given: Any, context: Any) -> Any:
                with _serve("rpc", headers, **attributes) as (s, request_id):
                    try:
                        answer = fn(given, context)
                        if hasattr(answer, "__aiter__"):
                            async for item in answer:
                                yield item
                        else:  # writes by itself
                            await answer
                    finally:
                        _code(s, context.code(), False)
                        _return_id(context, request_id)

            return _wrapped(handler, stream if handler.response_streaming else unary)

    return Interceptor()


def _details(details: Any, metadata: Any, base: type) -> Any:
    class Details(base):  # type: ignore[misc]
        pass

    out = Details()
    for name in ("method", "timeout", "credentials", "wait_for_ready", "compression"):
        setattr(out, name, getattr(details, name, None))
    out.metadata = metadata
    return out


def grpc_client() -> Any:
    """An interceptor for grpc.intercept_channel(), of all four kinds of calls."""
    import grpc

    class Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
                      grpc.StreamUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):  # type: ignore[misc]
        def _call(self, continuation: Any, details: Any, given: Any) -> Any:
            s = start_span("rpc", kind="client", **_rpc(details.method))
            _, metadata = _sent(details, s)
            try:
                call = continuation(_details(details, metadata, grpc.ClientCallDetails), given)
            except BaseException as e:
                s.record_exception(e)
                s.set_status("error", str(e))
                s.end()
                raise

            def done(*_: Any) -> None:
                _code(s, call.code(), True)
                s.end()

            if hasattr(call, "add_done_callback"):
                call.add_done_callback(done)
            elif not call.add_callback(done):  # over already
                done()
            return call

        intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _call

    return Interceptor()


def grpc_aio_client() -> list[Any]:
    """Interceptors for grpc.aio.insecure_channel(…, interceptors=…), one for each kind of call."""
    import grpc.aio

    async def call(self: Any, continuation: Any, details: Any, given: Any) -> Any:
        s = start_span("rpc", kind="client", **_rpc(details.method))
        _, headers = _sent(details, s)
        metadata = grpc.aio.Metadata(*headers)
        try:
            made = await continuation(grpc.aio.ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready), given)
        except BaseException as e:
            s.record_exception(e)
            s.set_status("error", str(e))
            s.end()
            raise

        def done(over: Any) -> None:
            # The status is there when the call is over; asking for it is a coroutine that does not wait.
            try:
                over.code().send(None)
            except StopIteration as e:
                _code(s, e.value, True)
            except Exception:
                s.set_status("error", "the call ended without a status")
            s.end()

        made.add_done_callback(done)
        return made

    kinds = (("UnaryUnary", "unary_unary"), ("UnaryStream", "unary_stream"), ("StreamUnary", "stream_unary"), ("StreamStream", "stream_stream"))
    return [type(f"Sonde{name}", (getattr(grpc.aio, f"{name}ClientInterceptor"),), {f"intercept_{method}": call})() for name, method in kinds]
