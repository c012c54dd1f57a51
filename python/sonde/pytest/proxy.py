"""A slow network as a TCP proxy; and the marks that faults leave."""
from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from typing import List, Optional, Tuple

from .. import _log as records
from .._trace import _current

_log = logging.getLogger("sonde.faults")


def mark(target: str, command: str) -> None:
    """Dynamo's line (its result parser and `sonde results` look for it), and the same as a record and an event of the test's span."""
    _log.warning("Injecting failure for: Failure(pod_name='%s', command='%s')", target, command)
    _told("fault injected", target, command)


def over(target: str, command: str) -> None:
    """The end of a fault that has one."""
    _log.warning("Failure ends for: Failure(pod_name='%s', command='%s')", target, command)
    _told("fault ended", target, command)


def _told(what: str, target: str, command: str) -> None:
    records.warning(what, **{"fault.target": target, "fault.command": command})
    span = _current.get()
    if span is not None:
        span.event(what, {"fault.target": target, "fault.command": command})


class SlowNetwork:
    """A TCP proxy with a delay and a rate. cut() ends its connections and takes no new ones; heal() takes them again."""

    PIECE, AHEAD = 16384, 1024  # bytes read at once; pieces on their way

    def __init__(self, host: str, port: int, delay: float, rate: Optional[int]) -> None:
        self.delay, self.rate = delay, rate
        self._to, self._cut, self._closed = (host, port), False, False
        self._name = f"{host}:{port}"
        self._lock = threading.Lock()
        self._sockets: List[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        mark(self._name, "connection lost")
        self._cut = True
        self._drop()

    def heal(self) -> None:
        self._cut = False
        over(self._name, "connections taken again")

    def close(self) -> None:
        self._closed = self._cut = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for s in sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to, timeout=10)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        with self._lock:
            self._sockets += [client, server]
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        self._copy(client, server)
        back.join()
        with self._lock:
            self._sockets = [s for s in self._sockets if s is not client and s is not server]
        client.close()
        server.close()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        """Reads at once and sends when it is time: each piece waits from when it came, not for those before it."""
        way: "queue.Queue[Tuple[float, bytes]]" = queue.Queue(self.AHEAD)
        over = threading.Event()
        threading.Thread(target=self._gather, args=(source, way, over), daemon=True).start()
        with contextlib.suppress(OSError):
            while True:
                due, data = way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                if self.rate:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        over.set()
        for s, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                s.shutdown(how)

    def _gather(self, source: socket.socket, way: "queue.Queue[Tuple[float, bytes]]", over: threading.Event) -> None:
        data = b"-"
        while data and not over.is_set():
            try:
                data = source.recv(self.PIECE if not self.rate else max(1, min(self.PIECE, self.rate // 10)))
            except OSError:
                data = b""
            came = time.monotonic()
            while not over.is_set():
                with contextlib.suppress(queue.Full):
                    way.put((came + self.delay, data), timeout=0.5)
                    break
