"""The end of processes whatever becomes of pytest: every one that a test started carries a mark in its environment, or descends from one
that does. A helper waits for the end of pytest (killed, or left by os._exit() as pytest-timeout's thread method does) and ends them."""
from __future__ import annotations

import atexit
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Dict, Iterable, List, Optional, Set

SESSION = "SONDE_TEST_SESSION"
_helper: Optional["subprocess.Popen[bytes]"] = None
_owner = 0  # who started it: not the process before a fork


def _parent(pid: int) -> int:
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def family(mark: str, known: Iterable[int] = ()) -> Set[int]:
    """Processes with the mark ("NAME=value"), those in known, and all that descend from either; never this one."""
    parents: Dict[int, int] = {int(e): _parent(int(e)) for e in os.listdir("/proc") if e.isdigit()}
    found = {pid for pid in parents if _marked(pid, mark.encode())} | (set(known) & set(parents))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= more
        grown = bool(more)
    return found - {os.getpid()}


def alive(pid: int) -> bool:
    """Whether it runs: neither gone nor a zombie that waits for its parent."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def send(pid: int, number: int, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def end(mark: str, known: Iterable[int] = ()) -> None:
    """SIGKILL for the family, until none of it runs any more."""
    for _ in range(100):
        left: List[int] = [pid for pid in family(mark, known) if alive(pid)]
        for pid in left:
            send(pid, signal.SIGKILL)
        if not left:
            return
        time.sleep(0.02)


def session() -> str:
    """The mark of all processes of this pytest; starts the helper that ends them."""
    global _helper, _owner
    mark = f"{SESSION}={os.getpid()}-{pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19]}"  # pid and start
    if _owner != os.getpid():
        env = {k: v for k, v in os.environ.items() if k != SESSION}
        _helper, _owner = subprocess.Popen([sys.executable, "-I", __file__, mark], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, env=env, start_new_session=True), os.getpid()
        atexit.register(_leave)
    return mark


def _leave() -> None:
    if _helper is not None and _owner == os.getpid() and _helper.stdin is not None:
        _helper.stdin.close()
        _helper.wait(30)


if __name__ == "__main__":
    sys.stdin.buffer.read()  # until pytest is gone
    end(sys.argv[1])
