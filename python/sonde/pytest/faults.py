"""Faults on purpose, each marked in the test's log, as a record and as an event, so that who reads the logs later knows the truth."""
from __future__ import annotations

import contextlib
import signal
import time
from typing import Iterator, List, Optional

from .process import ManagedProcess
from .proxy import SlowNetwork, mark, over


class Faults:
    """Made by the fixture faults; what it started ends with the test."""

    def __init__(self) -> None:
        self._proxies: List[SlowNetwork] = []

    def kill(self, process: ManagedProcess) -> None:
        """SIGKILL, as by the kernel's out-of-memory killer."""
        mark(process.name, "SIGKILL")
        process.kill()

    def crash(self, process: ManagedProcess) -> None:
        """SIGSEGV."""
        mark(process.name, "SIGSEGV")
        process.signal(signal.SIGSEGV)

    def terminate(self, process: ManagedProcess) -> None:
        """SIGTERM, as when a pod is deleted."""
        mark(process.name, "SIGTERM")
        process.signal(signal.SIGTERM)

    def freeze(self, process: ManagedProcess) -> None:
        """SIGSTOP: alive, holding its connections, not answering; until thaw(), or until the test ends."""
        mark(process.name, "SIGSTOP")
        process.process.send_signal(signal.SIGSTOP)
        _until_stopped(process.pid)

    def thaw(self, process: ManagedProcess) -> None:
        """SIGCONT: it goes on."""
        if process.running:
            process.process.send_signal(signal.SIGCONT)
        over(process.name, "SIGCONT")

    @contextlib.contextmanager
    def frozen(self, process: ManagedProcess) -> Iterator[None]:
        """freeze() for the length of a block."""
        self.freeze(process)
        try:
            yield
        finally:
            self.thaw(process)

    def pause(self, process: ManagedProcess, seconds: float) -> None:
        """frozen() for so many seconds."""
        with self.frozen(process):
            time.sleep(seconds)

    def slow_network(self, port: int, *, delay: float = 0.0, bytes_per_second: Optional[int] = None, host: str = "127.0.0.1") -> "SlowNetwork":
        """A proxy in front of a port: what is sent arrives `delay` seconds later, at no more than that rate. Clients use proxy.port."""
        mark(f"{host}:{port}", f"delay {delay:g} s" + (f", {bytes_per_second} bytes/s" if bytes_per_second else ""))
        proxy = SlowNetwork(host, port, delay, bytes_per_second)
        self._proxies.append(proxy)
        return proxy

    def disk_full(self, name: str, limit: int) -> int:
        """Marks a file limit, to be given to managed_process(file_limit=…): no file of it grows beyond that many bytes (EFBIG)."""
        mark(name, f"files end at {limit} bytes")
        return limit

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()


def _until_stopped(pid: int) -> None:
    """A signal is delivered when the process is next scheduled: a busy machine may take its time."""
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                if f.read().rpartition(b")")[2].split()[0] in (b"T", b"t", b"Z"):
                    return
        except OSError:
            return
        time.sleep(0.01)
