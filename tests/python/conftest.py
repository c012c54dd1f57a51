"""Tests of the Python package. Programs run in processes of their own: what they write is looked at, as their users would."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def sonde_program():
    return os.environ.get("SONDE_PROGRAM") or str(pathlib.Path(os.environ.get("SONDE_BUILD", ROOT / "build")) / "sonde")


@pytest.fixture(autouse=True)
def program_at_hand(sonde_program, monkeypatch):
    monkeypatch.setenv("SONDE_PROGRAM", sonde_program)
    for name in list(os.environ):
        if name.startswith(("DYN_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def run(tmp_path):
    """run(source, env={…}): a Python program; (exit code, stdout, its JSON lines)."""

    def go(source, env=None, timeout=60):
        file = tmp_path / "program.py"
        file.write_text(source)
        p = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=timeout, cwd=tmp_path,
                           env={**os.environ, "DYN_LOGGING_JSONL": "1", **(env or {})})
        lines, other = [], []
        for line in p.stderr.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                other.append(line)
        go.other = other
        return p.returncode, p.stdout, lines

    return go
