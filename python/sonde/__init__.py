"""Sonde in Python: logs, spans and metrics of a serving process through libsonde.

    import sonde
    sonde.init(service="decode-worker")

    with sonde.span("prefill", tokens=512) as span:
        sonde.info("prefill done", worker="w-1", ms=1.25)

Everything works before init() too, from any thread and any asyncio task. What is written, where and at which level is decided by the
environment (DYN_LOG, DYN_LOGGING_JSONL, OTEL_*, SONDE_*), as in every process that has libsonde in it.
"""
from ._life import __version__, counts, flush, init, set_filter, shutdown
from ._log import critical, debug, enabled, error, exception, info, log, trace, warning
from ._trace import (Context, Span, context, current_context, current_span, extract, inject, request, span, start_span,
                     use_span)

__all__ = [
    "Context", "Span", "__version__", "context", "counts", "critical", "current_context", "current_span", "debug", "enabled", "error",
    "exception", "extract", "flush", "info", "init", "inject", "log", "request", "set_filter", "shutdown", "span", "start_span", "trace",
    "use_span", "warning",
]
