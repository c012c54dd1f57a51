"""The small programs of examples/libsonde do what the guide says."""
import json
import os
import re
import subprocess

import pytest


@pytest.fixture
def example(build_dir, tmp_path):
    def run(name, *arguments, **env):
        program = build_dir / "examples/libsonde" / f"example_{name}"
        keep = {k: v for k, v in os.environ.items() if k == "PATH" or k.endswith("SAN_OPTIONS")}
        return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=30, cwd=tmp_path,
                              env={**keep, "SONDE_RING_DIR": str(tmp_path / "rings"), **env})
    return run


def without_time(text):
    return [re.sub(r"^\S+ +", "", line) for line in text.splitlines()]


def test_hello(example):
    out = example("hello")
    assert out.returncode == 0, out
    lines = without_time(out.stderr)
    assert len(lines) == 3
    assert re.fullmatch(r'INFO \S+: worker ready worker="w-1" slots=8 load=0.25', lines[0]), lines
    assert re.match(r'WARN handle: \S+: peer lost error="?Connection refused \(os error 111\)"? after=1.25ms', lines[1]), lines
    assert re.match(r'INFO handle: \S+: loaded model.bin in 42 ms gpu=0', lines[2]), lines


def test_hello_as_json(example):
    out = example("hello", DYN_LOGGING_JSONL="1")
    rows = [json.loads(line) for line in out.stderr.splitlines()]
    assert [r["message"] for r in rows] == ["worker ready", "peer lost", "loaded model.bin in 42 ms"]
    assert rows[0]["slots"] == 8 and "trace_id" not in rows[0]
    assert rows[1]["trace_id"] == rows[2]["trace_id"] and rows[1]["span_name"] == "handle"


def test_levels(example):
    out = example("levels", SONDE_FLIGHT_LEVEL="off")
    assert out.returncode == 2, out
    assert re.findall(r"(INFO|DEBUG) .*when=\"(.*?)\"", out.stderr) == [
        ("INFO", "at first"), ("INFO", "with debug"), ("DEBUG", "with debug"), ("INFO", "for a while"), ("DEBUG", "for a while"),
        ("INFO", "at last")]


def test_sinks(example, tmp_path):
    out = example("sinks", tmp_path / "log")
    assert out.returncode == 0, out
    assert re.search(r"^alert 1: .*ERROR .*disk is slow took=2.5s$", out.stdout, re.M), out.stdout
    assert "file: 1002 lines, 0 lost, 0 rotations" in out.stdout
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [r["i"] for r in rows if r["message"] == "step"] == list(range(1000))
    assert "step" not in out.stderr and "half way" in out.stderr


def test_flight(example, tmp_path):
    out = example("flight", tmp_path / "dump.txt")
    assert out.returncode == 0, out
    assert [re.sub(r".*: ", "", line) for line in out.stderr.splitlines()] == [
        "queued request=2 retro=true", "prefill request=2 tokens=200 retro=true", "out of blocks request=2"]
    dump = (tmp_path / "dump.txt").read_text()
    assert dump.count("DEBUG") == 6 and dump.count("ERROR") == 1


def test_cxx(example):
    out = example("hello_cxx")
    assert out.returncode == 0, out
    assert out.stderr.rstrip().endswith('model loaded model="tiny-llama" blocks=[1, 2, 3] took=1.25s'), out.stderr
