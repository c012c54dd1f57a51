"""The folder of a test: named like its node, ours by a marker file, never another's."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import zlib
from typing import Dict, Iterable, Optional

MARKER = ".sonde-test"
NAME_MAX = 200
ATTEMPT = "attempt-"


def folder_name(name: str, tail: str = "") -> str:
    """test_x[a/b] → test_x[a_b]: one path component, at most NAME_MAX bytes, tail included."""
    clean = re.sub(r"[\x00-\x1f\x7f/\\]", "_", name).strip(". ") or "_"
    raw = clean.encode(errors="backslashreplace")
    return raw[:NAME_MAX - len(tail)].decode(errors="ignore") + tail


def names_of(items: Iterable[object]) -> Dict[str, str]:
    """Node id → folder name; tests of one name in several files get the file's in front, and a number where even that is one name."""
    plain = {str(getattr(item, "nodeid")): folder_name(getattr(item, "name")) for item in items}
    out = dict(plain)
    for nodeid in _shared(out):
        stem = re.sub(r"\.py$", "", nodeid.split("::")[0]).replace("/", ".")
        inner = ".".join(nodeid.split("[")[0].split("::")[1:-1])
        out[nodeid] = folder_name(f"{stem}.{inner + '.' if inner else ''}{plain[nodeid]}")
    for nodeid in _shared(out):
        out[nodeid] = folder_name(plain[nodeid], f"-{zlib.crc32(nodeid.encode(errors='backslashreplace')):08x}")
    return out


def _shared(names: Dict[str, str]) -> list[str]:
    """The node ids whose name another has too."""
    owners: Dict[str, list[str]] = {}
    for nodeid, name in names.items():
        owners.setdefault(name, []).append(nodeid)
    return [nodeid for group in owners.values() if len(group) > 1 for nodeid in group]


def owner(path: pathlib.Path) -> Optional[str]:
    """The node id that the folder belongs to; None: not one of ours."""
    try:
        return str(json.loads((path / MARKER).read_text(encoding="utf-8"))["nodeid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def mark(path: pathlib.Path, nodeid: str, **more: object) -> None:
    """Writes whose folder it is, and what is known of the run."""
    (path / MARKER).write_text(json.dumps({"nodeid": nodeid, "pid": os.getpid(), **more}), encoding="utf-8")


def make(root: pathlib.Path, name: str, nodeid: str, earlier: str) -> pathlib.Path:
    """An empty folder for the test. Its own earlier run goes, also one called `earlier`; what belongs to others stays, and the folder
    gets a number then."""
    if earlier != name:
        drop(root / earlier, nodeid)
    for i in range(1000):
        path = root / (name if i == 0 else f"{name}.{i}")
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            continue
        if path.is_dir() and any(path.iterdir()):
            if owner(path) != nodeid:
                continue
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        mark(path, nodeid)
        return path
    raise FileExistsError(f"{root / name}: a thousand folders of that name belong to others")


def put_aside(path: pathlib.Path, attempt: int) -> pathlib.Path:
    """Moves all of an attempt that is over into a folder of its own, so that the next one begins with none."""
    aside = path / f"{ATTEMPT}{attempt}"
    aside.mkdir()
    for entry in list(path.iterdir()):
        if entry.name != MARKER and not entry.name.startswith(ATTEMPT):
            entry.rename(aside / entry.name)
    return aside


def drop(path: pathlib.Path, nodeid: str) -> None:
    """Removes the folder if it is the test's."""
    if not path.is_symlink() and owner(path) == nodeid:
        shutil.rmtree(path, ignore_errors=True)
