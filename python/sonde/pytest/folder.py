"""The folder of a test: named like its node, ours by a marker file, never another's."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
from typing import Dict, Iterable, Optional

MARKER = ".sonde-test"
NAME_MAX = 200


def folder_name(name: str) -> str:
    """test_x[a/b] → test_x[a_b]: one path component, at most NAME_MAX bytes."""
    clean = re.sub(r"[\x00-\x1f/\\]", "_", name).strip(". ") or "_"
    raw = clean.encode()
    return clean if len(raw) <= NAME_MAX else raw[:NAME_MAX].decode(errors="ignore")


def names_of(items: Iterable[object]) -> Dict[str, str]:
    """Node id → folder name; tests of one name in several files get the file's in front."""
    seen: Dict[str, list[tuple[str, str]]] = {}
    for item in items:
        nodeid, name = getattr(item, "nodeid"), getattr(item, "name")
        seen.setdefault(folder_name(name), []).append((nodeid, name))
    out: Dict[str, str] = {}
    for plain, owners in seen.items():
        for nodeid, _ in owners:
            stem = re.sub(r"\.py$", "", nodeid.split("::")[0]).replace("/", ".")
            inner = ".".join(nodeid.split("::")[1:-1])
            out[nodeid] = plain if len(owners) == 1 else folder_name(f"{stem}.{inner + '.' if inner else ''}{plain}")
    return out


def owner(path: pathlib.Path) -> Optional[str]:
    """The node id that the folder belongs to; None: not one of ours."""
    try:
        return str(json.loads((path / MARKER).read_text())["nodeid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make(root: pathlib.Path, name: str, nodeid: str) -> pathlib.Path:
    """An empty folder for the test. Its own earlier run goes; what belongs to others stays, and the folder gets a number then."""
    for i in range(1000):
        path = root / (name if i == 0 else f"{name}.{i}")
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            continue
        if path.is_dir() and any(path.iterdir()):
            if owner(path) != nodeid:
                continue
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        (path / MARKER).write_text(json.dumps({"nodeid": nodeid, "pid": os.getpid()}))
        return path
    raise FileExistsError(f"{root / name}: a thousand folders of that name belong to others; choose another --sonde-dir")


def drop(path: pathlib.Path, nodeid: str) -> None:
    """Removes the folder if it is the test's."""
    if owner(path) == nodeid:
        shutil.rmtree(path, ignore_errors=True)
