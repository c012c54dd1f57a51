"""Every JSON line that a real Dynamo wrote, written again by a program on libsonde.so from calls with the same fields: the same
bytes, but for the time and the ids that a library cannot be told (a span's own, and a new trace's). (tests/unit/sdk/
test_golden_dynamo.c does it inside of the library, with span fields as span fields, and has the list of decided differences.)"""
import json
import os
import re
import subprocess

from conftest import shared

SPAN = ("span_name", "trace_id", "parent_id", "span_id", "x_request_id", "tracestate")
PLACE = ("time", "level", "file", "line", "target", "message")


def kind(value):
    if isinstance(value, bool):
        return "b", "true" if value else "false"
    if isinstance(value, int):
        return ("u" if value > 2**63 - 1 else "i"), str(value)
    if isinstance(value, float):
        return "f", repr(value)
    return "s", value


def words(row):
    fields = [(k, v) for k, v in row.items() if k not in PLACE and not ("span_name" in row and k in SPAN)]
    out = [row["level"], row.get("file", ""), str(row.get("line", 0)), row["target"], row["message"], row.get("span_name", ""),
           row.get("trace_id", ""), row.get("parent_id", ""), row.get("x_request_id", "") if "span_name" in row else "", str(len(fields))]
    for key, value in fields:
        out += [key, *kind(value)]
    return out


def without_ids(line, row):
    line = re.sub(r'^\{"time":"[^"]*"', '{"time":""', line)
    line = re.sub(r'"span_id":"[0-9a-f]{16}"', '"span_id":""', line)
    return line if "parent_id" in row else re.sub(r'"trace_id":"[0-9a-f]{32}"', '"trace_id":""', line)


def test_lines_of_dynamo(build_dir, tmp_path):
    lines = []
    for folder in ("info-jsonl", "debug-jsonl-faults"):
        for path in sorted(shared(f"testdata/dynamo/{folder}").glob("*.log")):
            lines += [x for x in path.read_text(encoding="utf-8").split("\n") if x.startswith("{")]
    rows = [json.loads(x) for x in lines]
    taken = list(zip(lines, rows))
    assert len(taken) > 1000
    given = "".join(w + "\0" for _, r in taken for w in words(r)).encode()
    env = {"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(tmp_path), "DYN_LOGGING_JSONL": "1", "DYN_LOG": "trace",
           "SONDE_RING_BYTES": "67108864", "SONDE_LOG_STDERR_LOSS": "block:10000"}
    env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
    out = subprocess.run([str(build_dir / "tests/unit/sdk/golden")], input=given, capture_output=True, env=env, timeout=60)
    assert out.returncode == 0, out.stderr[-2000:]
    written = out.stderr.decode().split("\n")[:-1]
    assert len(written) == len(taken)
    differ = [(a, b) for (a, r), b in zip(taken, written) if without_ids(a, r) != without_ids(b, r)]
    assert differ == [], "\n".join(differ[0])
