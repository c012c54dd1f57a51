"""Records without the logging module: sonde.info("prefill done", tokens=512)."""
from __future__ import annotations

import sys
from typing import Any

from . import _sonde
from ._trace import _current

ERROR, WARN, INFO, DEBUG, TRACE = 1, 2, 3, 4, 5


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
    """A record of level ERROR with the exception that is being handled: exception.type, exception.message, exception.stacktrace."""
    e = sys.exc_info()[1]
    if e is not None:
        fields = {**exception_fields(e), **fields}
    return _write(ERROR, message, fields)


def exception_fields(e: BaseException) -> dict[str, Any]:
    """What is told of an exception, its causes included."""
    return {"exception.type": type_name(e), "exception.message": text(e), "exception.stacktrace": stack(e)}


def text(o: object) -> str:
    """str(o), of objects whose __str__ raises, too."""
    try:
        return str(o)
    except Exception as e:
        return f"<{type(o).__name__}: {type(e).__name__} from __str__>"


def stack(e: BaseException) -> str:
    """Its traceback with those of its causes, as Python prints it."""
    import traceback
    try:
        return "".join(traceback.format_exception(type(e), e, e.__traceback__))
    except Exception:  # a part of it raises when it is told
        return "".join(traceback.format_tb(e.__traceback__))


def type_name(e: BaseException) -> str:
    """module.Class, the module left out for builtins."""
    t = type(e)
    return t.__qualname__ if t.__module__ in ("builtins", "__main__") else f"{t.__module__}.{t.__qualname__}"


def enabled(level: int, target: str) -> bool:
    """Whether the filter or the flight recorder wants records of that level and target (for work that only a record needs)."""
    return _sonde.enabled(level, target)
