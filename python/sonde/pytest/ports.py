"""TCP ports that nobody else gets: not another test, not another worker of xdist."""
from __future__ import annotations

import collections
import fcntl
import os
import pathlib
import socket
import tempfile
from typing import Deque, Optional, Tuple

KEPT = 4096  # ports of this process that stay its own, the latest
_held: Deque[int] = collections.deque()
_file: Optional[Tuple[int, int]] = None  # the process that opened it, descriptor


def _lock_file() -> int:
    """One file for all of a user's test processes: the lock on its n-th byte is that on port n. It goes with the process."""
    global _file
    if _file is None or _file[0] != os.getpid():
        path = pathlib.Path(tempfile.gettempdir()) / f"sonde-test-ports-{os.getuid()}"
        _file = os.getpid(), os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        _held.clear()
    return _file[1]


def free_port() -> int:
    """A TCP port that nobody has, and that no other test process of this user gets while this one lives."""
    lock = _lock_file()
    for _ in range(1000):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        if port in _held:
            continue
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            continue
        _held.append(port)
        if len(_held) > KEPT:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1, _held.popleft())
        return port
    raise OSError("no free port that another test does not hold")
