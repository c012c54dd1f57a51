"""Health of the process and its small HTTP server: /health, /live, /metrics, /metadata, callbacks of the engine, /debug.

    port = status.start("127.0.0.1:0")            # or DYN_SYSTEM_PORT in the environment
    status.metrics(sonde.metrics.runtime())
    generate = status.endpoint("generate")
    generate.ready()

    @status.route("pause")
    def pause(request):                           # POST /engine/pause
        return {"paused": request.body.get("seconds", 1)}

Callbacks run on the server's one thread, one request at a time.
"""
from __future__ import annotations

import atexit
import json
from dataclasses import dataclass
from typing import Any, Callable, Optional, Tuple, Union

from . import _sonde
from .metrics import Registry

__all__ = ["Endpoint", "Request", "endpoint", "is_ready", "metadata", "metrics", "port", "ready", "route", "start", "stop"]


@dataclass
class Request:
    """What an engine callback is asked."""

    method: str
    path: str   # what stands behind the registered one where that ends in "*", else ""
    query: str
    body: Any   # of the JSON that came; {} without one


_registered = False


def _at_end() -> None:
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_sonde.over)
        atexit.register(_sonde.status_stop)  # runs first


def start(address: Optional[str] = None) -> int:
    """Listens on "host:port" (port 0: any), or as DYN_SYSTEM_HOST and DYN_SYSTEM_PORT say. Returns the port, -1 when nobody asked for
    one. OSError tells why it cannot. Already listening: fine."""
    _at_end()
    return _sonde.status_start(address)


def stop() -> None:
    """Ends it, after the request under way."""
    _sonde.status_stop()


def port() -> int:
    """Where it listens; -1: it does not."""
    return _sonde.status_port()


def ready(value: bool = True) -> None:
    """Whether the process is ready; endpoints may decide in its place (include/sonde/status.h)."""
    _sonde.status_ready(value)


def is_ready() -> bool:
    """As /health tells it."""
    return _sonde.status_ready()


def metrics(registry: Registry) -> None:
    """One more registry on /metrics; at most 16."""
    if not _sonde.status_metrics(registry._h):
        raise ValueError("16 registries are on /metrics already")


def metadata(value: Any) -> None:
    """What /metadata answers, anything that json.dumps takes; None: 404."""
    _sonde.status_metadata(None if value is None else json.dumps(value))


class Endpoint:
    """An endpoint whose health the server tells."""

    def __init__(self, name: str, ready: bool = False, canary: Optional[Callable[[str, float], bool]] = None, payload: Optional[str] = None) -> None:
        self.name = name
        if canary is not None:
            _at_end()
        self._h = _sonde.endpoint_new(name, ready, canary, payload)

    def ready(self, value: bool = True) -> None:
        """It serves, or does not."""
        _sonde.endpoint_ready(self._h, value)

    def traffic(self) -> None:
        """A request was served: no canary is needed for a while."""
        _sonde.endpoint_traffic(self._h)


def endpoint(name: str, ready: bool = False, canary: Optional[Callable[[str, float], bool]] = None, payload: Optional[str] = None) -> Endpoint:
    """A new endpoint, for as long as the process lives. canary(payload, seconds) sends the payload through the normal path when there was
    no traffic for a while, and returns whether it was answered. ValueError: there is one of that name."""
    return Endpoint(name, ready, canary, payload)


Answer = Union[None, Any, Tuple[int, Any]]


def route(path: str, fn: Optional[Callable[[Request], Answer]] = None, *, any_path: bool = False) -> Any:
    """fn(request) answers /engine/PATH (any_path: PATH itself); a path that ends in "*" takes all that begin so. It returns what
    json.dumps takes, or (status, that); what it raises is a 500. Without fn: a decorator."""
    if fn is None:
        return lambda f: route(path, f, any_path=any_path)
    given = fn

    def call(method: str, rest: str, query: Optional[str], body: bytes) -> Tuple[int, Optional[str]]:
        answer = given(Request(method, rest, query or "", json.loads(body or "{}")))
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        return status, None if value is None else json.dumps(value)

    _at_end()
    if not _sonde.engine_route(path, call, any_path):
        raise ValueError(f"the route {path!r} was not taken: 64 are there, or it is no path")
    return given
