"""Folders of test results as objects: what `sonde results` finds, read by the program.

    found = sonde.results.run("test-results/", sla=2.5, min_success=90)
    for r in found.results:
        print(r.test, r.load.success_percent, [c.name for c in r.components if c.crash_loop])
    worse = [c for c in sonde.results.compare("before/", "after/") if c.worse]

Times are UTC; what is not known is None.
"""
from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any, List, Optional, Type, TypeVar, Union

__all__ = ["Case", "Change", "Component", "ErrorShape", "Fault", "Load", "Phase", "Request", "Result", "Results", "ResultsError", "compare", "run"]

Path = Union[str, "os.PathLike[str]"]
Time = Optional[datetime.datetime]
T = TypeVar("T")


class ResultsError(Exception):
    """The program could not be run, or could not read the folder; the text is its own."""


@dataclass
class Load:
    """What the clients of a test measured; seconds."""

    clients: int = 0
    cancelled_clients: int = 0
    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    success_percent: Optional[float] = None
    latency_s: Optional[float] = None
    latency_p50_s: Optional[float] = None
    latency_p90_s: Optional[float] = None
    latency_p99_s: Optional[float] = None
    ttft_s: Optional[float] = None
    itl_s: Optional[float] = None
    throughput: Optional[float] = None


@dataclass
class Phase:
    """The requests before, during or after the fault."""

    phase: str = ""
    succeeded: int = 0
    failed: int = 0
    violations: int = 0
    latency_s: Optional[float] = None
    deviation_s: Optional[float] = None


@dataclass
class Component:
    """A process of the deployment, from its logs."""

    name: str = ""
    startup_s: Optional[float] = None
    recovery_s: Optional[float] = None
    starts: int = 0
    crash_loop: bool = False
    first: Time = None
    last: Time = None


@dataclass
class Fault:
    """A failure that was injected on purpose."""

    time: Time = None
    pod: str = ""
    command: str = ""


@dataclass
class Request:
    """One of the slowest, or one that failed."""

    id: str = ""
    start: Time = None
    latency_s: Optional[float] = None
    ttft_s: Optional[float] = None
    error: str = ""


@dataclass
class ErrorShape:
    """Lines that differ only in numbers and ids."""

    level: str = ""
    count: int = 0
    shape: str = ""
    sample: str = ""
    file: str = ""
    line: int = 0


@dataclass
class Case:
    """A test case of JUnit or of the pytest plug-in."""

    name: str = ""
    outcome: str = ""
    seconds: Optional[float] = None
    message: str = ""


@dataclass
class Result:
    """One folder of results."""

    test: str = ""
    path: str = ""
    kind: str = ""
    outcome: str = ""
    message: str = ""
    seconds: Optional[float] = None
    failure: str = ""
    fault_pod: str = ""
    fault_command: str = ""
    faults: List[Fault] = field(default_factory=list)
    start: Time = None
    ready: Time = None
    fault: Time = None
    end: Time = None
    startup_s: Optional[float] = None
    recovery_s: Optional[float] = None
    load: Load = field(default_factory=Load)
    phases: List[Phase] = field(default_factory=list)
    components: List[Component] = field(default_factory=list)
    slowest: List[Request] = field(default_factory=list)
    failed_requests: List[Request] = field(default_factory=list)
    log_lines: int = 0
    log_bytes: int = 0
    errors: int = 0
    warnings: int = 0
    error_shapes: List[ErrorShape] = field(default_factory=list)
    cases: List[Case] = field(default_factory=list)
    unreadable: int = 0
    notes: List[str] = field(default_factory=list)


@dataclass
class Results:
    """All of a tree. missed_targets: how often sla or min_success was missed."""

    path: str = ""
    missed_targets: int = 0
    results: List[Result] = field(default_factory=list)

    def __getitem__(self, test: str) -> Result:
        for r in self.results:
            if r.test == test:
                return r
        raise KeyError(test)


@dataclass
class Change:
    """One figure of one test in two trees. p: how likely such a difference is by chance alone, None without repetitions."""

    test: str = ""
    metric: str = ""
    unit: str = ""
    before: Optional[float] = None
    after: Optional[float] = None
    repetitions_before: int = 0
    repetitions_after: int = 0
    p: Optional[float] = None
    worse: bool = False
    better: bool = False


_PARTS: dict[str, type] = {"load": Load, "faults": Fault, "phases": Phase, "components": Component, "slowest": Request, "failed_requests": Request,
                           "error_shapes": ErrorShape, "cases": Case, "results": Result}
_TIMES = frozenset(("start", "ready", "fault", "end", "first", "last", "time"))


def _time(text: Optional[str]) -> Time:
    return None if text is None else datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)


def _value(key: str, v: Any) -> Any:
    if key in _TIMES:
        return _time(v)
    part = _PARTS.get(key)
    if part is None:
        return v
    return [_made(part, x) for x in v] if isinstance(v, list) else _made(part, v)


def _made(cls: Type[T], source: dict[str, Any]) -> T:
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{k: _value(k, v) for k, v in source.items() if k in known})  # what a later program tells beside is left out


def _asked(words: List[str], program: Optional[str]) -> Any:
    found = program or os.environ.get("SONDE_PROGRAM") or shutil.which("sonde")
    if not found:
        raise ResultsError("there is no program `sonde`: not in PATH, and SONDE_PROGRAM is not set")
    try:
        p = subprocess.run([found, "results", "--format", "json", *words], capture_output=True, text=True, errors="replace")
    except OSError as e:
        raise ResultsError(f"{found}: {e.strerror}") from e
    try:
        return json.loads(p.stdout)
    except ValueError:
        raise ResultsError(p.stderr.strip() or f"{found} results ended with {p.returncode} and without results") from None


def _options(sla: Optional[float], min_success: Optional[float], force_parser: Optional[str]) -> List[str]:
    pairs = (("--sla", sla), ("--min-success", min_success), ("--force-parser", force_parser))
    return [word for flag, v in pairs if v is not None for word in (flag, str(v))]


def run(directory: Path, *, sla: Optional[float] = None, min_success: Optional[float] = None, force_parser: Optional[str] = None,
        program: Optional[str] = None) -> Results:
    """Reads a tree. sla: seconds that no test's mean latency may exceed; min_success: percent of requests that must succeed; both are
    counted in missed_targets. program: default SONDE_PROGRAM, else `sonde` in PATH. ResultsError: it cannot be read."""
    return _made(Results, _asked([*_options(sla, min_success, force_parser), os.fspath(directory)], program))


def compare(before: Path, after: Path, *, force_parser: Optional[str] = None, program: Optional[str] = None) -> List[Change]:
    """What differs between two trees."""
    told = _asked([*_options(None, None, force_parser), os.fspath(before), os.fspath(after)], program)
    return [_made(Change, c) for c in told]
