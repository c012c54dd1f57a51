"""The test's own log, as text and as JSON lines; and what the logs of a folder say."""
from __future__ import annotations

import datetime
import json
import logging
import pathlib
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional

from .._log import type_name
from .._trace import _current

_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC)\b")
_CRASH = ("Traceback (most recent call last)", "panicked at", "egmentation fault", "out of memory", "terminate called")
_FAULT = re.compile(r"\[TEST\] (\S+) \w+ sonde\.faults: Injecting failure for: Failure\(pod_name='(.*)', command='(.*)'\)$")
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

    def emit(self, record: logging.LogRecord) -> None:
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
        self._text.close()
        self._json.close()
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


def error_lines(folder: pathlib.Path, most: int = 40) -> List[ErrorLine]:
    """The error lines of all logs below the folder, in order of time; a line without a time stands where its file's last one did."""
    out: List[ErrorLine] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".log") or not path.is_file():
            continue
        last = ""
        for number, line in enumerate(_lines(path), 1):
            last = _time_of(line) or last
            if _is_error(line):
                out.append(ErrorLine(last, str(path.relative_to(folder)), number, line[:500]))
    out.sort()
    return out[:most // 2] + out[-(most - most // 2):] if len(out) > most else out


def _lines(path: pathlib.Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                yield _ESCAPE.sub("", line.rstrip("\n"))
    except OSError as e:
        yield f"ERROR cannot read {path.name}: {e.strerror}"


def faults(folder: pathlib.Path) -> List[str]:
    """What the test broke on purpose, with the time: the marks of faults in its own log."""
    found = (_FAULT.match(line) for line in _lines(folder / "test.log.txt"))
    return [f"{m.group(1)} {m.group(2)}: {m.group(3)}" for m in found if m]


def tail(path: pathlib.Path, n: int = 20) -> List[str]:
    """The last n lines."""
    return list(_lines(path))[-n:] if path.exists() else []


def shapes(folder: pathlib.Path) -> Dict[str, int]:
    """Lines by shape: time cut off, numbers and ids masked."""
    out: Dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".txt", ".log") or not path.is_file():
            continue
        for line in _lines(path):
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
