"""What is left when a Python process dies or hangs: stacks of all threads, and exceptions with the request that they ended.

    import sonde.crash
    sonde.crash.enable()

A fatal signal (SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL) writes the Python stack of every thread into NAME.stacks, beside the ring NAME.ring
whose last records `sonde inspect ring` shows; so does SIGUSR2, which does not end the process and is a record, too. What a dead process
left there is a record of the next one that calls enable(). Exceptions that nobody handled, in the main thread, in others and in asyncio
tasks, are records of the span they passed through.
"""
from __future__ import annotations

import atexit
import faulthandler
import glob
import os
import signal
import sys
import threading
import traceback
from types import TracebackType
from typing import IO, Any, Optional, Type

from . import _sonde
from ._life import init
from ._log import exception_fields, type_name
from ._trace import Span, _current, span_of

__all__ = ["Hang", "dump", "enable", "hang", "stacks", "watch"]

_STACKS_MAX = 200_000
_file: Optional[IO[str]] = None
_hooks: dict[str, Any] = {}


# ---- where stacks are written ---------------------------------------------------------------------------------------------------
def directories() -> list[str]:
    """Where the ring may be."""
    own = os.environ.get("SONDE_RING_DIR")
    run = os.environ.get("XDG_RUNTIME_DIR")
    return [d for d in (own, os.path.join(run, "sonde") if run else None, f"/dev/shm/sonde-{os.geteuid()}") if d and os.path.isdir(d)]


def _path() -> str:
    """Beside the ring that this process has mapped: one of a dead process with our number may lie there, too."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as f:
            for line in f:
                path = line.rstrip("\n").partition("/")
                if path[2].endswith(f"-{os.getpid()}.ring"):
                    return "/" + path[2][:-5] + ".stacks"
    except OSError:
        pass
    import tempfile
    return os.path.join((directories() or [tempfile.gettempdir()])[0], f"python-{os.getpid()}.stacks")


def _alive(pid: str) -> bool:
    return not pid.isdigit() or os.path.exists(f"/proc/{pid}")


def _tell_earlier() -> None:
    """What processes that are gone left: one record each, told once."""
    for d in directories():
        for path in glob.glob(os.path.join(glob.escape(d), "*.stacks")):
            pid = path[:-7].rpartition("-")[2]
            if pid != str(os.getpid()) and _alive(pid):  # ours: in a container each start may have the same number
                continue
            try:
                os.rename(path, path + ".told")  # one of several that start at once wins
                with open(path + ".told", encoding="utf-8", errors="replace") as f:
                    text = f.read(_STACKS_MAX)
                if not text:
                    os.unlink(path + ".told")
            except OSError:
                continue
            if text:
                ring = path[:-7] + ".ring"
                _sonde.log(1, "sonde.crash", __file__, 0, f"an earlier process died: {text.splitlines()[0]}",
                           {"process.pid": int(pid), "stacks": text, "file": path + ".told", "ring": ring if os.path.exists(ring) else None})


def _at_exit() -> None:
    global _file
    if _file is not None:
        faulthandler.disable()
        path, _file = _file.name, None
        try:
            if os.path.getsize(path) == 0:
                os.unlink(path)
        except OSError:
            pass


# ---- exceptions -----------------------------------------------------------------------------------------------------------------
def _tell(what: str, e: BaseException, **fields: Any) -> None:
    try:
        context = span_of(e)
        span = _current.get()
        made = None
        if span is None and context is not None:
            span = made = Span("unhandled exception", 1, context, {"exception.type": type_name(e)}, 0, "sonde.crash", __file__, 0)
        tb = e.__traceback__
        while tb is not None and tb.tb_next is not None:
            tb = tb.tb_next
        code = tb.tb_frame.f_code if tb is not None else None
        _sonde.log(1, "sonde.crash", code.co_filename if code else __file__, tb.tb_lineno if tb is not None else 0, f"{what}: {type_name(e)}: {e}",
                   {**exception_fields(e), **fields}, span)
        if made is not None:
            made.status(2, str(e) or type(e).__name__)
            made.end()
    except Exception:  # the exception itself is still told by the hook that was there
        pass


def _excepthook(kind: Type[BaseException], e: BaseException, tb: Optional[TracebackType]) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _tell("unhandled exception", e.with_traceback(tb))
    _hooks["sys"](kind, e, tb)


def _thread_excepthook(args: Any) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _tell("unhandled exception in a thread", args.exc_value, **{"thread.name": args.thread.name if args.thread else "?"})
    _hooks["threading"](args)


def _logged() -> bool:
    logs = sys.modules.get("sonde.logging")
    return logs is not None and logs.is_configured()  # asyncio logs what it is told here


def _loop_handler(loop: Any, context: dict[str, Any]) -> None:
    e = context.get("exception")
    if e is not None and not _logged():
        task = context.get("future") or context.get("task")
        name = task.get_name() if task is not None and hasattr(task, "get_name") else None
        _tell(str(context.get("message", "asyncio")), e, **{"asyncio.task": name})
    _hooks["asyncio"](loop, context)


def watch(loop: Any) -> None:
    """Records what this event loop (uvloop's, too) reports of failed tasks and callbacks. asyncio's own loops need no such call."""
    before = loop.get_exception_handler()

    def handler(at: Any, context: dict[str, Any]) -> None:
        e = context.get("exception")
        if e is not None and not _logged():
            _tell(str(context.get("message", "asyncio")), e)
        if before is None:
            at.default_exception_handler(context)
        else:
            before(at, context)

    loop.set_exception_handler(handler)


# ---- stacks -----------------------------------------------------------------------------------------------------------------------
def stacks() -> str:
    """The Python stacks of all threads, as text."""
    names = {t.ident: t.name for t in threading.enumerate()}
    out = []
    for ident, frame in sys._current_frames().items():
        out.append(f"Thread {names.get(ident, '?')} (0x{ident:x}):\n" + "".join(traceback.format_stack(frame)))
    return "\n".join(out)


def dump(reason: str = "asked for", level: int = 2) -> None:
    """A record with the stacks of all threads."""
    text = stacks()
    _sonde.log(level, "sonde.crash", __file__, 0, f"stacks of all threads: {reason}", {"stacks": text[:_STACKS_MAX], "threads": threading.active_count()},
               _current.get())


def _on_signal(number: int, frame: Any) -> None:
    dump(f"signal {signal.Signals(number).name}")


class Hang:
    """A watchdog: without beat() for so many seconds, stacks are dumped, once per hang."""

    def __init__(self, seconds: float, exit: bool = False) -> None:
        self._seconds, self._exit = seconds, exit
        self._beaten = threading.Event()
        self._over = False
        self._arm()
        threading.Thread(target=self._watch, name="sonde-hang", daemon=True).start()

    def _arm(self) -> None:
        if _file is not None:  # by a thread of C: it comes even where Python's lock is held for good
            faulthandler.dump_traceback_later(self._seconds + 0.5, file=_file, exit=self._exit)

    def _watch(self) -> None:
        while not self._over:
            if self._beaten.wait(self._seconds):
                self._beaten.clear()
                continue
            if not self._over:
                dump(f"no sign of life for {self._seconds:g} s", 1)
                self._beaten.wait()

    def beat(self) -> None:
        """It is alive."""
        self._beaten.set()
        self._arm()

    def cancel(self) -> None:
        """No longer watched."""
        self._over = True
        faulthandler.cancel_dump_traceback_later()
        self._beaten.set()

    def __enter__(self) -> "Hang":
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def hang(seconds: float, exit: bool = False) -> Hang:
    """Watches what follows: when beat() or the end of the block does not come within so many seconds, an ERROR record and the file of
    stacks (half a second later) tell where every thread stands. exit: the process ends then. One at a time writes to the file."""
    return Hang(seconds, exit)


def enable(*, stacks_on: Optional[int] = signal.SIGUSR2, faults: bool = True, asyncio: Optional[bool] = None) -> Optional[str]:
    """Everything of this module. stacks_on: the signal that dumps stacks (None: none). faults: fatal signals as well. asyncio: its loops
    report to us; None: if it has been imported. Returns the file of stacks, None if there can be none. Later calls do nothing."""
    global _file
    if _hooks:
        return _file.name if _file else None
    init()
    _hooks["sys"], sys.excepthook = sys.excepthook, _excepthook
    _hooks["threading"], threading.excepthook = threading.excepthook, _thread_excepthook
    if asyncio or asyncio is None and "asyncio" in sys.modules:
        from asyncio.base_events import BaseEventLoop
        _hooks["asyncio"] = BaseEventLoop.call_exception_handler
        setattr(BaseEventLoop, "call_exception_handler", _loop_handler)
    _tell_earlier()  # before a file of that name is begun anew
    try:
        _file = open(_path(), "w", encoding="utf-8")
    except OSError as e:
        _sonde.log(2, "sonde.crash", __file__, 0, "stacks cannot be written into a file", {"error": str(e)})
        _file = None
    if _file is not None:
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forked)
        if faults:
            faulthandler.enable(file=_file, all_threads=True)
    if stacks_on is not None:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(stacks_on) in (signal.SIG_DFL, None):
                signal.signal(stacks_on, _on_signal)
        if _file is not None:
            faulthandler.register(stacks_on, file=_file, all_threads=True, chain=True)
            _hooks["signal"] = stacks_on
    return _file.name if _file else None


def _forked() -> None:
    """A child has a file of its own."""
    global _file
    if _file is None:
        return
    was = faulthandler.is_enabled()
    try:
        _file = open(_path(), "w", encoding="utf-8")
    except OSError:
        return
    if was:
        faulthandler.enable(file=_file, all_threads=True)
    if "signal" in _hooks:
        faulthandler.register(_hooks["signal"], file=_file, all_threads=True, chain=True)
