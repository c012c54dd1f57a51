"""Faults on purpose, each marked in the test's log, as a record and as an event, so that who reads the logs later knows the truth."""
from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from typing import Iterator, List, Optional

from .. import _log as records
from .._trace import _current
from .process import ManagedProcess

_log = logging.getLogger("sonde.faults")


def mark(target: str, command: str) -> None:
    """Dynamo's line (its result parser and `sonde results` look for it), and the same as a record and an event of the test's span."""
    _log.warning("Injecting failure for: Failure(pod_name='%s', command='%s')", target, command)
    records.warning("fault injected", **{"fault.target": target, "fault.command": command})
    span = _current.get()
    if span is not None:
        span.event("fault injected", {"fault.target": target, "fault.command": command})


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

    @contextlib.contextmanager
    def frozen(self, process: ManagedProcess) -> Iterator[None]:
        """SIGSTOP for the length of a block: alive, holding its connections, not answering."""
        mark(process.name, "SIGSTOP")
        process.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if process.running:
                process.process.send_signal(signal.SIGCONT)
            _log.warning("%s goes on", process.name)

    def pause(self, process: ManagedProcess, seconds: float) -> None:
        """frozen() for so many seconds."""
        with self.frozen(process):
            time.sleep(seconds)

    def slow_network(self, port: int, *, delay: float = 0.0, bytes_per_second: Optional[int] = None, host: str = "127.0.0.1") -> "SlowNetwork":
        """A proxy in front of a port: each piece of data waits `delay` seconds, and goes at that rate. Clients use proxy.port."""
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


class SlowNetwork:
    """A TCP proxy with a delay and a rate. cut() ends its connections and takes no new ones; heal() takes them again."""

    def __init__(self, host: str, port: int, delay: float, rate: Optional[int]) -> None:
        self.delay, self.rate = delay, rate
        self._to, self._cut, self._closed = (host, port), False, False
        self._sockets: List[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        mark(f"{self._to[0]}:{self._to[1]}", "connection lost")
        self._cut = True
        self._drop()

    def heal(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._closed = self._cut = True
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        for s in self._sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                client.close()
                continue
            try:
                server = socket.create_connection(self._to, timeout=10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(16384 if not self.rate else max(1, min(16384, self.rate // 10)))
                if not data:
                    break
                if self.delay:
                    time.sleep(self.delay)
                if self.rate:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
