"""The test's own log, as text and as JSON lines; and what the logs of a folder say."""
from __future__ import annotations

import collections
import contextlib
import datetime
import json
import logging
import os
import pathlib
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Deque, Dict, Iterator, List, Optional

from .._log import type_name
from .._trace import _current
from .folder import ATTEMPT

REPORTS = ("report.txt", "flaky.txt")
WHOLE, LINE, TAIL = 16 << 20, 64 << 10, 256 << 10  # bytes read of a large file, of a line, of the end
BEFORE = 50  # lines that are looked at for the time of one that has none
SHOWN = 400  # characters of a line in a report
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC)\b")
_CRASH = ("Traceback (most recent call last)", "panicked at", "egmentation fault", "out of memory", "terminate called")
_FAULT = re.compile(r"\[TEST\] (\S+) \w+ sonde\.faults: (Injecting failure|Failure ends) for: Failure\(pod_name='(.*)', command='(.*)'\)$")
_SHAPES = ((re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b"), "<id>"), (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b"), "<id>"),
           (re.compile(r"\d+(?:\.\d+)*"), "<n>"))


def utc(seconds: float) -> str:
    """2026-11-22T10:00:00.123Z"""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class TestLog(logging.Handler):
    """Writes test.log.txt ("[TEST] time LEVEL logger: message") and test.log.jsonl."""

    __test__ = False

    def __init__(self, folder: pathlib.Path, nodeid: str, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._text = open(folder / "test.log.txt", "w", encoding="utf-8", errors="backslashreplace")
        self._json = open(folder / "test.log.jsonl", "w", encoding="utf-8", errors="backslashreplace")
        self._nodeid = nodeid
        self.sonde_keep = True  # sonde.logging.configure() removes all handlers but those

    def emit(self, record: logging.LogRecord) -> None:
        if self._text.closed:  # a thread that outlives its test
            return
        try:
            message = record.getMessage()
            line: Dict[str, Any] = {"time": utc(record.created), "level": "WARN" if record.levelname == "WARNING" else record.levelname,
                                    "target": record.name, "message": message, "test": self._nodeid}
            if record.exc_info and record.exc_info[1] is not None:
                text = logging.Formatter().formatException(record.exc_info)
                line["exception.type"] = type_name(record.exc_info[1])
                line["exception.stacktrace"] = text
                message += "\n" + text
            span = _current.get()
            if span is not None:
                line["trace_id"], line["span_id"] = span.context.trace_id, span.context.span_id
            self._text.write(f"[TEST] {utc(record.created)} {record.levelname} {record.name}: {message}\n")
            self._json.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
            self._text.flush()
            self._json.flush()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        self.acquire()
        try:
            self._text.close()
            self._json.close()
        finally:
            self.release()
        super().close()


@dataclass(order=True)
class ErrorLine:
    time: str  # "" where the line has none
    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.text}"


def _is_error(line: str) -> bool:
    if line.startswith("{"):
        return '"level":"ERROR"' in line or '"level": "ERROR"' in line or '"level":"CRITICAL"' in line
    return bool(_LEVEL.search(line[:120])) or any(mark in line for mark in _CRASH)


def _time_of(line: str) -> str:
    found = _TIME.search(line[:200])
    return found.group(0).replace(" ", "T").replace(",", ".") if found else ""


def _logs(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The logs of a test: neither its reports nor its earlier attempts."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix in (".txt", ".log") and not (inside.parts[0].startswith(ATTEMPT) or str(inside) in REPORTS) and path.is_file():
            yield path


def error_lines(folder: pathlib.Path, most: int = 40) -> List[ErrorLine]:
    """The error lines of all logs below the folder, in order of time; a line without a time has that of a line
    shortly before it."""
    first: List[ErrorLine] = []
    for path in _logs(folder):
        found = 0
        ends: Deque[ErrorLine] = collections.deque(maxlen=most)
        before: Deque[str] = collections.deque(maxlen=BEFORE)
        for number, line in enumerate(_lines(path), 1):
            before.append(line)
            if _is_error(line):
                found += 1
                last = next((t for t in map(_time_of, reversed(before)) if t), "")
                one = ErrorLine(last, str(path.relative_to(folder)), number, told(line))
                if found <= most:
                    first.append(one)
                else:
                    ends.append(one)
        first += ends
    first.sort()
    return first[:most // 2] + first[-(most - most // 2):] if len(first) > most else first


def _readable(line: str) -> str:
    """Without escape sequences; other control characters as \\x1b."""
    if not line.isprintable():
        line = _CONTROL.sub(lambda m: f"\\x{ord(m.group()):02x}", _ESCAPE.sub("", line))
    return line


def _lines(path: pathlib.Path, whole: int = 0) -> Iterator[str]:
    """Its lines; of a large file those of its beginning and of its end, of a long line the beginning."""
    whole = whole or WHOLE
    try:
        size = path.stat().st_size
        with open(path, "rb") as f:
            yield from _lines_of(f, min(size, whole // 2) if size > whole else size)
            if size > whole:
                yield f"({size - whole} bytes are left out here: the file is large)"
                f.seek(size - whole // 2)
                f.readline()
                yield from _lines_of(f, whole)
    except OSError as e:
        yield f"ERROR cannot read {path.name}: {e.strerror}"


def _lines_of(f: BinaryIO, n: int) -> Iterator[str]:
    end = f.tell() + n
    while f.tell() < end:
        raw = f.readline(LINE)
        if not raw:
            return
        rest = raw
        while len(rest) == LINE and not rest.endswith(b"\n"):
            rest = f.readline(LINE)
        yield _readable(raw.rstrip(b"\r\n").decode(errors="replace"))


def told(line: str) -> str:
    """As a person reads it: a JSON line as text, the message before its fields; cut at SHOWN characters."""
    prefix, brace, rest = line.partition("{")
    if brace and (not prefix or prefix.startswith("[")) and rest.endswith("}"):
        with contextlib.suppress(ValueError):
            found = json.loads(brace + rest)
            head = [str(found.pop(k, "")) for k in ("time", "level", "target", "message")]
            fields = " ".join(f"{k}={v if isinstance(v, str) and v.isalnum() else json.dumps(v, ensure_ascii=False)}"
                              for k, v in found.items() if k not in ("file", "line") and not k.startswith("otel."))
            line = f"{prefix}{head[0]} {head[1]} {head[2]}: {head[3]} {fields}".replace("\n", "\\n").rstrip()
    return line if len(line) <= SHOWN else line[:SHOWN - 1] + "…"


def faults(folder: pathlib.Path) -> List[str]:
    """What the test broke on purpose, with the time: the marks of faults in its own log."""
    found = (_FAULT.match(line) for line in _lines(folder / "test.log.txt"))
    return [f"{m[1]} {m[3]}: {m[4]}{' (the fault ends)' if m[2] == 'Failure ends' else ''}" for m in found if m]


def tail(path: pathlib.Path, n: int = 20) -> List[str]:
    """The last n lines, a long one by its last characters."""
    try:
        with open(path, "rb") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - TAIL))
            lines = f.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    if lines and not lines[-1]:
        lines.pop()
    return [told(_readable(line.rstrip("\r"))) for line in (lines[1:] if size > TAIL and len(lines) > 1 else lines)[-n:]]


def shapes(folder: pathlib.Path) -> Dict[str, int]:
    """Lines by shape: time cut off, numbers and ids masked."""
    out: Dict[str, int] = {}
    for path in _logs(folder):
        for line in _lines(path, WHOLE // 4):
            text = _TIME.sub("", line)[:300].strip()
            for pattern, mask in _SHAPES:
                text = pattern.sub(mask, text)
            if text and (text in out or len(out) < 5000):
                out[text] = out.get(text, 0) + 1
    return out


def differences(passed: Optional[Dict[str, int]], failed: Dict[str, int], most: int = 10) -> List[str]:
    """What only the failing run said, and what it did not say any more."""
    if not passed:
        return []
    new = sorted((s for s in failed if s not in passed), key=lambda s: (not _is_error(s), failed[s]))
    gone = sorted((s for s in passed if s not in failed), key=lambda s: passed[s])
    return [f"+ {s}  ({failed[s]}×)" for s in new[:most]] + [f"- {s}  ({passed[s]}×)" for s in gone[:most]]
