"""Records without the logging module: sonde.info("prefill done", tokens=512)."""
from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Optional

from . import _sonde
from ._trace import _current

ERROR, WARN, INFO, DEBUG, TRACE = 1, 2, 3, 4, 5
_FRAMES_MAX, _CAUSES_MAX = 64, 16


def _write(level: int, message: object, fields: dict[str, Any], depth: int = 2) -> bool:
    frame = sys._getframe(depth)
    code = frame.f_code
    module = frame.f_globals.get("__name__", "?")
    target = module if code.co_name == "<module>" else f"{module}.{code.co_name}"
    return _sonde.log(level, target, code.co_filename, frame.f_lineno, message, fields, _current.get())


def log(level: int, message: object, /, **fields: Any) -> bool:
    """A record; level 1 (ERROR) to 5 (TRACE). Fields keep their types. Returns whether anyone wanted it."""
    return _write(level, message, fields)


def error(message: object, /, **fields: Any) -> bool:
    """A record of level ERROR. Within a trace it brings out what the flight recorder holds of it."""
    return _write(ERROR, message, fields)


critical = error


def warning(message: object, /, **fields: Any) -> bool:
    """A record of level WARN."""
    return _write(WARN, message, fields)


def info(message: object, /, **fields: Any) -> bool:
    """A record of level INFO."""
    return _write(INFO, message, fields)


def debug(message: object, /, **fields: Any) -> bool:
    """A record of level DEBUG: kept in the ring, written out when the filter says so or an ERROR of its trace asks for it."""
    return _write(DEBUG, message, fields)


def trace(message: object, /, **fields: Any) -> bool:
    """A record of level TRACE."""
    return _write(TRACE, message, fields)


def exception(message: object, /, **fields: Any) -> bool:
    """A record of level ERROR with the exception that is being handled: with its frames and causes."""
    e = sys.exc_info()[1]
    if e is not None:
        fields = {**exception_fields(e), **fields}
    return _write(ERROR, message, fields)


def _causes(e: BaseException) -> list[str]:
    """What led to it, and what a group holds with what led to that."""
    out: list[str] = []
    seen = {id(e)}
    todo: list[BaseException] = [e]
    while todo and len(out) < _CAUSES_MAX:
        at = todo.pop(0)
        if at is not e:
            out.append(f"{type_name(at)}: {text(at)}")
        link = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
        for one in ([link] if link is not None else []) + list(getattr(at, "exceptions", ())):
            if isinstance(one, BaseException) and id(one) not in seen:
                seen.add(id(one))
                todo.append(one)
    return out


def exception_fields(e: BaseException, tb: Optional[TracebackType] = None) -> dict[str, Any]:
    """The fields that tell of an exception: exception.type, .message, .stacktrace, .frames (the innermost last), .causes. tb: its
    traceback, where that is not its own."""
    import traceback
    tb = tb or e.__traceback__
    out: dict[str, Any] = {"exception.type": type_name(e), "exception.message": text(e), "exception.stacktrace": stack(e, tb)}
    frames = [f"{f.name} ({f.filename}:{f.lineno})" for f in traceback.StackSummary.extract(traceback.walk_tb(tb), lookup_lines=False)][-_FRAMES_MAX:]
    if frames:
        out["exception.frames"] = frames
    causes = _causes(e)
    if causes:
        out["exception.causes"] = causes
    return out


def text(o: object) -> str:
    """str(o), of objects whose __str__ raises, too."""
    try:
        return str(o)
    except Exception as e:
        return f"<{type(o).__name__}: {type(e).__name__} from __str__>"


def stack(e: BaseException, tb: Optional[TracebackType] = None) -> str:
    """Its traceback with those of its causes, as Python prints it."""
    import traceback
    tb = tb or e.__traceback__
    try:
        return "".join(traceback.format_exception(type(e), e, tb))
    except Exception:  # a part of it raises when it is told
        return "".join(traceback.format_tb(tb))


def type_name(e: BaseException) -> str:
    """module.Class, the module left out for builtins."""
    t = type(e)
    return t.__qualname__ if t.__module__ in ("builtins", "__main__") else f"{t.__module__}.{t.__qualname__}"


def enabled(level: int, target: str) -> bool:
    """Whether the filter or the flight recorder wants records of that level and target (for work that only a record needs)."""
    return _sonde.enabled(level, target)
