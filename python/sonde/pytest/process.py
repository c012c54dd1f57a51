"""Processes under test: their output kept, their readiness awaited, their whole tree ended."""
from __future__ import annotations

import fcntl
import logging
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .._trace import inject
from .logs import tail

_log = logging.getLogger("sonde.process")
_held: List[Any] = []


class ProcessDied(AssertionError):
    """A process ended though nobody asked it to."""


class ProcessNotReady(AssertionError):
    """A process was not ready in time."""


def sonde_program() -> Optional[str]:
    """The `sonde` program: SONDE_PROGRAM, else in PATH; None if there is none."""
    given = os.environ.get("SONDE_PROGRAM")
    return given if given and os.access(given, os.X_OK) else shutil.which("sonde")


def free_port() -> int:
    """A TCP port that nobody has, and that no other test process of this user gets while this one lives."""
    directory = pathlib.Path(tempfile.gettempdir()) / f"sonde-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    for _ in range(200):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        lock = open(directory / str(port), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port
    raise OSError("no free port that another test does not hold")


class ManagedProcess:
    """A command that runs during a test. Made by the fixture managed_process."""

    def __init__(self, command: Union[str, Sequence[str]], folder: pathlib.Path, name: Optional[str] = None, *,
                 env: Optional[Mapping[str, str]] = None, cwd: Union[str, os.PathLike[str], None] = None, echo: bool = False,
                 file_limit: Optional[int] = None) -> None:
        self.command = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(c) for c in command]
        self.name = name or pathlib.Path(self.command[0] if not isinstance(command, str) else command.split()[0]).name
        self.log_path = folder / f"{self.name}.log.txt"
        self.ring_dir = folder / f"{self.name}.ring"
        self.ring_dir.mkdir(mode=0o700, exist_ok=True)
        self._mark = f"SONDE_TEST_PROCESS={uuid.uuid4().hex}"
        self._echo, self._ended = echo, False
        context: Dict[str, str] = {}
        inject(context)
        self.env = {**os.environ, "SONDE_RING_DIR": str(self.ring_dir), "PYTHONUNBUFFERED": "1",
                    **{k.upper().replace("-", "_"): v for k, v in context.items() if k in ("traceparent", "tracestate", "baggage")},
                    **dict([self._mark.split("=", 1)]), **(env or {})}
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
        with open(self.log_path, "ab", buffering=0) as out:
            for line in self.process.stdout:
                out.write(prefix + line if line.endswith(b"\n") else prefix + line + b"\n")
                if self._echo:
                    print((prefix + line).decode(errors="replace"), end="", flush=True)

    def output(self) -> str:
        """Everything it wrote so far, without the prefix."""
        cut = len(self.name) + 3
        return "".join(line[cut:] + "\n" for line in self.log_path.read_text(errors="replace").splitlines()) if self.log_path.exists() else ""

    # ---- readiness ----------------------------------------------------------------------------------------------------------------
    def wait_ready(self, *, url: Optional[str] = None, port: Optional[int] = None, log: Optional[str] = None, timeout: float = 60.0,
                   host: str = "127.0.0.1") -> "ManagedProcess":
        """Until url answers with 2xx, port takes a connection, or a line matches log. ProcessDied or ProcessNotReady with the last lines."""
        end, pattern = time.monotonic() + timeout, re.compile(log) if log else None
        what = f"{url} to answer" if url else f"port {port}" if port else f"a line like {log!r}" if log else "its start"
        while True:
            if (url and _answers(url)) or (port and _listens(host, port)) or (pattern and pattern.search(self.output())) or what == "its start":
                _log.info("%s is ready", self.name)
                return self
            if self.process.poll() is not None:
                raise ProcessDied(self._story(f"{self.name} ended with {self._code()} while the test waited for {what}"))
            if time.monotonic() > end:
                raise ProcessNotReady(self._story(f"{self.name}: waited {timeout:g} s for {what}"))
            time.sleep(0.02)

    def _code(self) -> str:
        code = self.process.returncode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"

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
        return self._story(f"{self.name} ended with {self._code()}")

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
        _signal_group(self.pid, signal.SIGCONT)
        _signal_group(self.pid, signal.SIGTERM)
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            _log.warning("%s did not end within %g s of SIGTERM: killed", self.name, grace)
        _signal_group(self.pid, signal.SIGKILL)
        self.process.wait()
        for _ in range(50):
            left = self._descendants()
            for pid in left:
                _signal(pid, signal.SIGKILL)
            if not left:
                break
            time.sleep(0.02)
        self._reader.join(2)

    def _descendants(self) -> List[int]:
        mark, out = self._mark.encode(), []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as f:
                    if mark in f.read().split(b"\0"):
                        out.append(int(entry))
            except OSError:
                continue
        return out


def _limiter(n: int) -> Any:
    def limit() -> None:
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
    return limit


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


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
