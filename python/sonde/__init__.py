"""Sonde in Python: logs, spans and metrics of a serving process through libsonde.

    import sonde
    sonde.init(service="decode-worker")

    with sonde.span("prefill", tokens=512) as span:
        sonde.info("prefill done", worker="w-1", ms=1.25)

Everything works before init() too, from any thread and any asyncio task. What is written, where and at which level is decided by the
environment (DYN_LOG, DYN_LOGGING_JSONL, OTEL_*, SONDE_*), as in every process that has libsonde in it.
"""
from __future__ import annotations

import typing as _typing

from ._life import __version__, counts, flush, init, set_filter, shutdown
from ._log import critical, debug, enabled, error, exception, info, log, trace, warning
from ._trace import (Context, Span, context, current_context, current_span, extract, inject, request, span, start_span,
                     use_span)

if _typing.TYPE_CHECKING:
    from ._config import add_dump_argument, config_hash, dump_config, dump_config_text, register_encoder


def __getattr__(name: str) -> _typing.Any:  # what few processes need at once costs its import when it is needed
    if name in ("add_dump_argument", "config_hash", "dump_config", "dump_config_text", "register_encoder"):
        from . import _config
        return getattr(_config, name)
    if name in ("crash", "engines", "metrics", "middleware", "otel", "results", "status"):
        import importlib
        return importlib.import_module(f"sonde.{name}")
    raise AttributeError(f"module 'sonde' has no attribute {name!r}")


__all__ = [
    "Context", "Span", "__version__", "add_dump_argument", "config_hash", "context", "counts", "critical", "current_context", "current_span",
    "debug", "dump_config", "dump_config_text", "enabled", "error", "exception", "extract", "flush", "info", "init", "inject", "log",
    "register_encoder", "request", "set_filter", "shutdown", "span", "start_span", "trace", "use_span", "warning",
]
