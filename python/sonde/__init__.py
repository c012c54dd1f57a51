"""Sonde in Python: logs, spans and metrics of a serving process through libsonde.

    import sonde
    sonde.init(service="decode-worker")

    with sonde.span("prefill", tokens=512) as span:
        sonde.info("prefill done", worker="w-1", ms=1.25)

Everything works before init() too, from any thread and any asyncio task. What is written, where and at which level is decided by the
environment (DYN_LOG, DYN_LOGGING_JSONL, OTEL_*, SONDE_*), as in every process that has libsonde in it.
"""
