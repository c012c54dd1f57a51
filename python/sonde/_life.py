"""Start, flush and end of the library in this process."""
from __future__ import annotations

import os
import sys
from typing import Any, Dict, Mapping, Optional

from . import _sonde

__version__ = "0.1.0"


def init(service: Optional[str] = None, resource: Optional[Mapping[str, object]] = None) -> None:
    """Starts libsonde. Not needed: the first record or span does the same with the environment's settings.

    service: service.name where OTEL_SERVICE_NAME does not say. resource: more resource attributes; OTEL_RESOURCE_ATTRIBUTES wins.
    Later calls do nothing.
    """
    if not resource:
        return _sonde.init(service, None)
    from urllib.parse import quote
    text = ",".join(f"{quote(str(k), safe='.-_')}={quote(str(v), safe='.-_/:')}" for k, v in resource.items())
    _sonde.init(service, text)


def flush(timeout: float = 2.0) -> bool:
    """Writes out and exports what is pending, for at most timeout seconds. Returns whether everything got out."""
    return _sonde.flush(int(timeout * 1000))


def shutdown(timeout: float = 2.0) -> bool:
    """flush(), then the end: later records go to stderr directly. Happens by itself when the process exits."""
    return _sonde.shutdown(int(timeout * 1000))


def set_filter(directives: Optional[str], seconds: Optional[float] = None) -> bool:
    """Levels while running, in DYN_LOG's words ("info,my.module=debug"); for so many seconds, or for good. None: back to the start's.

    Returns False, with a line on stderr, when the directives were not understood; nothing changes then. Python's loggers follow.
    """
    return _sonde.set_filter(directives, max(1, int(seconds * 1000)) if seconds is not None else 0)


def counts() -> Dict[str, int]:
    """What this process lost, dropped and sent so far: records_lost, held_lost, logs_sent, logs_dropped, spans_sent, spans_dropped."""
    return _sonde.counts()


# ---- processes of multiprocessing: they leave by os._exit(), which asks nobody, but they run their finalizers --------------------
_finalized = False


def _finalize(util: Any) -> None:
    util.Finalize(None, _sonde.shutdown, exitpriority=-100)


def _before_fork() -> None:
    global _finalized
    util = sys.modules.get("multiprocessing.util")
    if util is not None and not _finalized:
        _finalized = True
        util.register_after_fork(util, _finalize)


os.register_at_fork(before=_before_fork)
if "multiprocessing.util" in sys.modules and getattr(sys.modules.get("multiprocessing.process"), "_parent_process", None) is not None:
    _finalize(sys.modules["multiprocessing.util"])  # forked by a server that did not know us yet
