"""The standard logging module through libsonde.

    import sonde.logging
    sonde.logging.configure(service_name="decode", worker_id=7)

From then on every record of every logger goes into the ring and, where the filter (DYN_LOG) lets it, out as a line and over OTLP:
target module.function, file and line of the call, `extra=` as typed fields, exceptions with type, message, frames, causes and stack, the
ids of the current span. Levels: CRITICAL and ERROR are ERROR, WARNING is WARN, below DEBUG is TRACE.
"""
from __future__ import annotations

import logging
import sys
from typing import Any, Mapping, Optional, Union

from . import _sonde
from ._life import init
from ._log import exception_fields, text
from ._trace import Span, _current, span_of

__all__ = ["Handler", "TRACE", "configure", "configure_dynamo_logging", "prefix"]

TRACE = 5  # a level below DEBUG for Python's side; logging.addLevelName is called for it by configure()

_OWN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime"}  # no names for extra=
_TOLD = "_sonde"  # in a record that one of several handlers of libsonde has told
_PLAIN = _OWN | {"taskName", _TOLD}
_PLAIN_COUNT = len(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)


def _level(number: int) -> int:
    if number >= 40:
        return 1
    if number >= 30:
        return 2
    if number >= 20:
        return 3
    return 4 if number >= 10 else 5


def _fields_of(info: Any) -> dict[str, Any]:
    return {} if info[1] is None else exception_fields(info[1], info[2])


def prefix(service_name: Optional[str], worker_id: Union[int, str, None]) -> str:
    """Dynamo's: "[svc:7] ", "[svc] ", "[:7] " or nothing."""
    if service_name is None and worker_id is None:
        return ""
    return f"[{service_name or ''}{'' if worker_id is None else f':{worker_id}'}] "


class Handler(logging.Handler):
    """Hands records to libsonde. Needs no lock and takes none; a formatter that was set formats the message alone."""

    def __init__(self, prefix: str = "", level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._prefix = prefix

    def createLock(self) -> None:
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        if _TOLD in record.__dict__:
            return False
        if self.filters:
            passed: Any = self.filter(record)
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):
                record = passed
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            d = record.__dict__
            try:
                message: object = self.formatter.format(record) if self.formatter is not None else record.getMessage()
            except Exception:  # told as the programmer's mistake, and the record as it was given
                self.handleError(record)
                message = f"{text(record.msg)} {text(record.args)}" if record.args else text(record.msg)
            if self._prefix and self.formatter is None:
                message = f"{self._prefix}{message}"
            fields: Optional[dict[str, Any]] = None
            if len(d) > _PLAIN_COUNT:
                fields = {k: v for k, v in d.items() if k not in _PLAIN}
            if record.exc_info and self.formatter is None:
                fields = {**_fields_of(record.exc_info), **(fields or {})}
            if record.stack_info and self.formatter is None:
                fields = {**(fields or {}), "stack_info": record.stack_info}
            span, made = _current.get(), None
            if span is None and record.exc_info:
                context = span_of(record.exc_info[1])  # told behind the end of its request, as asyncio does
                if context is not None:
                    span = made = Span("exception told", 1, context, None, 0, "sonde.logging", record.pathname, record.lineno)
            d[_TOLD] = True
            name, function = record.name, record.funcName
            module = record.module if name == "root" else name
            _sonde.log(_level(record.levelno), module if function is None or function == "<module>" else f"{module}.{function}",
                       record.pathname, record.lineno, message, fields, span)
            if made is not None:
                made.end()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)


# The short way (logger.c): no LogRecord where libsonde's handler is the only one that would see it.
# A step that somebody has replaced, before us or later, is one that looks: such records go the long way.
_STEPS = tuple(f if getattr(getattr(f, "__code__", None), "co_filename", None) == logging._srcfile else object() for f in (
    getattr(logging.Logger, name) for name in ("makeRecord", "findCaller", "handle", "callHandlers")))
_log = _sonde.logger_method(logging.Logger, _STEPS, Handler, logging.Logger._log, sys._getframe,
                            _current.get, vars(logging), logging.LogRecord, _OWN)


def _flight_level() -> int:
    """The lowest of Python's levels that somebody may want: the flight recorder's, asked for by a target that no filter names."""
    for level, python in ((5, 1), (4, 10), (3, 20), (2, 30)):
        if _sonde.enabled(level, "sonde.logging.probe"):
            return python
    return 40


def _is_enabled_for(self: logging.Logger, level: int) -> bool:
    if self.disabled or self.manager.disable >= level or level < self.getEffectiveLevel():
        return False
    return _sonde.enabled(_level(level), self.name)


def is_configured() -> bool:
    """Whether libsonde's handler is at the root logger."""
    return any(isinstance(h, Handler) for h in logging.getLogger().handlers)


def configure(service_name: Optional[str] = None, worker_id: Union[int, str, None] = None, *, capture_warnings: bool = True) -> Handler:
    """Makes libsonde the one handler of the root logger; handlers that were there are removed. May be called again.

    The message gets the prefix "[service_name:worker_id] ". Levels are libsonde's business from now on: the root logger lets
    everything through that the filter or the flight recorder may want, and changes while running reach Python's loggers at once.
    Loggers with a level of their own keep it.
    """
    init(service_name)
    logging.addLevelName(TRACE, "TRACE")
    root = logging.getLogger()
    for old in list(root.handlers):
        if not getattr(old, "sonde_keep", False):  # the pytest plug-in's log of the test stays
            root.removeHandler(old)
    handler = Handler(prefix(service_name, worker_id))
    root.addHandler(handler)
    root.setLevel(1)
    if _log is not None:
        setattr(logging.Logger, "_log", _log)
    if _flight_level() > 1:  # not everything is kept: a call below is to cost little, and to be asked for each time
        logging.Logger.isEnabledFor = _is_enabled_for  # type: ignore[method-assign]
    if capture_warnings:
        logging.captureWarnings(True)
    return handler


def configure_dynamo_logging(service_name: Optional[str] = None, worker_id: Union[int, str, None] = None) -> None:
    """configure(), and what Dynamo does beside it: the logger `tag` is quiet below ERROR, vLLM's and SGLang's loggers go the same way
    unless DYN_SKIP_VLLM_LOG_FORMATTING or DYN_SKIP_SGLANG_LOG_FORMATTING is set. What engines and servers configure later (uvicorn,
    basicConfig(force=True)) does not take their lines away: a handler that would write to the console gives way to libsonde's."""
    configure(service_name, worker_id)
    from ._hold import hold
    hold(prefix(service_name, worker_id))
    tag = logging.getLogger("tag")
    tag.handlers.clear()
    tag.setLevel(logging.ERROR)
    tag.propagate = True
    from . import engines
    engines.configure_loggers()
