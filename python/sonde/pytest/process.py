"""Processes under test: their output kept, their readiness awaited, their whole tree ended."""
from __future__ import annotations

import logging
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional, Pattern, Sequence, Tuple, Union

from .._trace import inject
from .folder import folder_name
from .logs import LINE, tail
from .reaper import end, family, send, session

_log = logging.getLogger("sonde.process")


class ProcessDied(AssertionError):
    """A process ended though nobody asked it to."""


class ProcessNotReady(AssertionError):
    """A process was not ready in time."""


def sonde_program() -> Optional[str]:
    """The `sonde` program: SONDE_PROGRAM, else in PATH; None if there is none."""
    given = os.environ.get("SONDE_PROGRAM")
    return given if given and os.access(given, os.X_OK) else shutil.which("sonde")


def ended(process: "subprocess.Popen[Any]") -> str:
    """ended with exit status 3"""
    code = process.returncode
    if code is None or code >= 0:
        return f"ended with exit status {code}"
    try:
        return f"ended with signal {signal.Signals(-code).name}"
    except ValueError:
        return f"ended with signal {-code}"


def default_name(command: Union[str, Sequence[str]]) -> str:
    """What a process is called that was given no name: its program."""
    return pathlib.Path((command.split() or ["sh"])[0] if isinstance(command, str) else str(command[0])).name


class ManagedProcess:
    """A command that runs during a test. Made by the fixture managed_process."""

    def __init__(self, command: Union[str, Sequence[str]], folder: pathlib.Path, name: Optional[str] = None, *,
                 env: Optional[Mapping[str, str]] = None, cwd: Union[str, os.PathLike[str], None] = None, echo: bool = False,
                 file_limit: Optional[int] = None) -> None:
        self.command = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(c) for c in command]
        self.name = name or default_name(command)
        plain = folder_name(self.name)
        self.log_path = folder / f"{plain}.log.txt"
        self.ring_dir = folder / f"{plain}.ring"
        self.ring_dir.mkdir(mode=0o700, exist_ok=True)
        self._mark = f"SONDE_TEST_PROCESS={uuid.uuid4().hex}"
        self._echo, self._ended = echo, False
        self._patterns: List[Tuple[Pattern[str], threading.Event]] = []
        self._lock = threading.Lock()  # the patterns, and what was written when one is added
        context: Dict[str, str] = {}
        inject(context)
        self.env = {**os.environ, "SONDE_RING_DIR": str(self.ring_dir), "PYTHONUNBUFFERED": "1",
                    **{k.upper().replace("-", "_"): v for k, v in context.items() if k in ("traceparent", "tracestate", "baggage")},
                    **dict(mark.split("=", 1) for mark in (self._mark, session())), **(env or {})}
        limit = None if file_limit is None else _limiter(file_limit)
        _log.info("starting %s: %s", self.name, " ".join(self.command))
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.env,
                                        cwd=cwd, start_new_session=True, preexec_fn=limit)
        self._reader = threading.Thread(target=self._read, name=f"log of {self.name}", daemon=True)
        self._reader.start()

    # ---- output -----------------------------------------------------------------------------------------------------------------
    def _read(self) -> None:
        prefix = f"[{self.name.upper()}] ".encode()
        assert self.process.stdout is not None
        with self.process.stdout, open(self.log_path, "ab", buffering=0) as out:
            for line in iter(lambda: self.process.stdout.readline(LINE), b""):  # type: ignore[union-attr]
                text = prefix + line if line.endswith(b"\n") else prefix + line + b"\n"
                with self._lock:
                    out.write(text)
                    self._look(line)
                if self._echo:
                    print(text.decode(errors="replace"), end="", flush=True)

    def _look(self, line: bytes) -> None:
        if self._patterns:
            text = line.decode(errors="replace").rstrip("\r\n")
            for pattern, seen in self._patterns:
                if pattern.search(text):
                    seen.set()

    def _watch(self, log: str) -> threading.Event:
        """Set as soon as a line matches, also one from before."""
        pattern, seen = re.compile(log, re.MULTILINE), threading.Event()
        with self._lock:
            if pattern.search(self.output()):
                seen.set()
            else:
                self._patterns.append((pattern, seen))
        return seen

    def output(self) -> str:
        """Everything it wrote so far, without the prefix."""
        cut = len(self.name) + 3
        if not self.log_path.exists():
            return ""
        return "".join(line[cut:] + "\n" for line in self.log_path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1])

    # ---- readiness ----------------------------------------------------------------------------------------------------------------
    def wait_ready(self, *, url: Optional[str] = None, port: Optional[int] = None, log: Optional[str] = None, timeout: float = 60.0,
                   host: str = "127.0.0.1") -> "ManagedProcess":
        """Until all that is given holds: url answers with 2xx, port takes a connection, a line matches log. ProcessDied or
        ProcessNotReady with the last lines."""
        wanted: List[Tuple[str, Callable[[], bool]]] = []
        if log:
            wanted.append((f"a line like {log!r}", self._watch(log).is_set))
        if port:
            wanted.append((f"port {port}", lambda: _listens(host, port)))
        if url:
            wanted.append((f"{url} to answer", lambda: _answers(url)))
        deadline = time.monotonic() + timeout
        while wanted:
            what, holds = wanted[0]
            code = self.process.poll()
            if code is not None:
                self._reader.join(1)  # its last lines
            if not code and holds():
                del wanted[0]
                continue
            if code or (code == 0 and not family(self._mark)):  # a process that leaves a daemon behind ends with 0
                raise ProcessDied(self._story(f"{self.name} {ended(self.process)} while the test waited for {what}"))
            if time.monotonic() > deadline:
                raise ProcessNotReady(self._story(f"{self.name}: waited {timeout:g} s for {what}"))
            time.sleep(0.02)
        _log.info("%s is ready", self.name)
        return self

    # ---- end ----------------------------------------------------------------------------------------------------------------------
    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """To the process alone. One that was ended by this is expected to be dead."""
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV):
            self._ended = True
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and waits for it."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def died(self) -> Optional[str]:
        """What happened if it ended though nobody asked it to; None otherwise."""
        if self._ended or self.process.poll() is None or self.process.returncode == 0:
            return None
        return self._story(f"{self.name} {ended(self.process)}")

    def ended_well(self) -> Optional[str]:
        """That it ended with exit status 0 though nobody asked it to, which may be what it is there for; None otherwise."""
        return f"{self.name} ended with exit status 0" if not self._ended and self.process.poll() == 0 else None

    def _story(self, what: str) -> str:
        self._reader.join(1)
        lines = tail(self.log_path)
        ring = self.ring_lines()
        text = what + ("\nlast lines:\n  " + "\n  ".join(lines) if lines else "\nit wrote nothing")
        return text + ("\nlast records of its ring:\n  " + "\n  ".join(ring) if ring else "")

    def ring_lines(self, n: int = 20) -> List[str]:
        """The last records that its ring still holds (needs the sonde program)."""
        program, out = sonde_program(), []
        for ring in sorted(self.ring_dir.glob("*")) if program else []:
            done = subprocess.run([str(program), "inspect", "ring", str(ring)], capture_output=True, text=True, errors="replace", timeout=30)
            out += done.stdout.splitlines()[-n:]
        return out[-n:]

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, after grace seconds SIGKILL; then whatever else it started, in whichever group or session."""
        unexpected = self.died()
        if unexpected:
            _log.error("%s", unexpected)
        self._ended = True
        known = family(self._mark, [self.pid])
        send(self.pid, signal.SIGCONT, group=True)
        send(self.pid, signal.SIGTERM, group=True)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            _log.warning("%s did not end within %g s of SIGTERM: killed", self.name, grace)
        send(self.pid, signal.SIGKILL, group=True)
        self.process.wait()
        end(self._mark, known - {self.pid})
        self._reader.join(2)


def _limiter(n: int) -> Any:
    def limit() -> None:
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
    return limit


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
