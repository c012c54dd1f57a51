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


HEAD = "import asyncio, sonde, sonde.middleware, sys\nTP = '00-' + 'a' * 32 + '-' + 'b' * 16 + '-01'\n"


@pytest.fixture
def go(run, tmp_path):
    """go(source): (stdout, spans by order of end, records). Spans come from OTLP written into a file."""

    def execute(source, **env):
        file = tmp_path / "spans.jsonl"
        code, out, lines = run(HEAD + source, env={"OTEL_TRACES_EXPORTER": "otlp/file", "OTEL_LOGS_EXPORTER": "none", "SONDE_OTLP_FILE": str(file), "OTEL_EXPORT_ENABLED": "1", **env})
        assert code == 0, (out, run.other)
        spans = []
        for line in file.read_text().splitlines() if file.exists() else ():
            for r in json.loads(line).get("resourceSpans", ()):
                for scope in r["scopeSpans"]:
                    spans += scope["spans"]
        for s in spans:
            s["attributes"] = {a["key"]: next(iter(a["value"].values())) for a in s.get("attributes", ())}
        return out, sorted(spans, key=lambda s: int(s["endTimeUnixNano"])), lines

    return execute
