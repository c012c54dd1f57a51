"""What is kept of a test while it runs."""
from __future__ import annotations

import logging
import pathlib
import time
from typing import List, Optional

from .. import _trace
from . import folder, logs
from .process import ManagedProcess
from .server import SondeServer


class State:
    """One test; of its attempts (pytest-rerunfailures) the one that runs."""

    def __init__(self, path: pathlib.Path, nodeid: str, level: int) -> None:
        self.folder, self.nodeid, self._level = path, nodeid, level
        self.attempt, self._root_level = 0, logging.getLogger().level
        self.begin()

    def begin(self) -> None:
        """The next attempt, the first included."""
        if self.attempt:
            self.end()
            folder.put_aside(self.folder, self.attempt)
        self.attempt += 1
        self.begun = time.monotonic()
        self.set_up = False
        self.outcome, self.message = "interrupted", ""  # until a report says otherwise
        self.processes: List[ManagedProcess] = []
        self.server: Optional[SondeServer] = None
        self.log = logs.TestLog(self.folder, self.nodeid, self._level)
        self.span = _trace.start_span(self.nodeid, parent=None)
        self.span.set_attribute("test.case.name", self.nodeid)
        root = logging.getLogger()
        root.addHandler(self.log)
        if self._level < (root.level or logging.WARNING):
            root.setLevel(self._level)

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"

    def saw(self, when: str, outcome: str, message: str) -> None:
        """A report of a phase: a failure stays one, a skip too; a test has passed when its call has."""
        if outcome == "failed":
            self.outcome, self.message = outcome, self.message or message
        elif not self.failed and (outcome == "skipped" or (when == "call" and self.outcome != "skipped")):
            self.outcome = outcome

    def end(self) -> None:
        """Of the attempt: its log and span end, and the folder says how it ended."""
        root = logging.getLogger()
        root.removeHandler(self.log)
        root.setLevel(self._root_level)
        self.span.set_status("error" if self.failed else "ok")
        self.span.end()
        self.log.close()
        folder.mark(self.folder, self.nodeid, outcome=self.outcome, message=self.message, attempts=self.attempt,
                    seconds=round(time.monotonic() - self.begun, 3))
