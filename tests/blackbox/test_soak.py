"""libsonde at full rate for SOAK_SECONDS (12; `make soak`: 300): several threads, spans, an error now and then, two files that are
rotated, a collector that works and then one that is dead. Its memory stays flat, and every record is written or counted."""
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import pytest

SECONDS = int(os.environ.get("SOAK_SECONDS", "12"))
THREADS = int(os.environ.get("SOAK_THREADS", "3"))


@pytest.fixture
def place():
    """Files that are overwritten all the time: in memory, so that the machine's disk is left alone."""
    path = pathlib.Path(f"/dev/shm/sonde-soak-{os.getpid()}")
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def soak(build_dir, place, endpoint, seconds, more={}):
    env = {"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(place), "DYN_LOG": "info", "SONDE_LOG_STDERR": "off",
           "SONDE_LOG_FILE": str(place / "text"), "SONDE_LOG_FILE_FILTER": "debug", "SONDE_LOG_FILE_ROTATE_SIZE": "8M",
           "SONDE_LOG_FILE_KEEP": "1", "OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    program = build_dir / "tests/unit/sdk/soak"
    out = subprocess.run([str(program), str(seconds), str(THREADS), str(place / "json")], env=env, capture_output=True, text=True,
                         timeout=seconds * 3 + 60)
    assert out.returncode == 0, (out.returncode, out.stderr[-3000:])
    rows = [[int(x) for x in line.split()] for line in out.stdout.splitlines() if not line.startswith("sink")]
    sinks = [[int(x) for x in line.split()[1:]] for line in out.stdout.splitlines() if line.startswith("sink")]
    return rows, sinks


def flatness(what, rows, seconds, room_kib=4096):
    """Fails when the resident memory grew from the run's second quarter to its last; prints the figures."""
    assert len(rows) == seconds
    resident = [row[2] for row in rows]
    quarter = max(seconds // 4, 1)
    early, late = statistics.median(resident[quarter:2 * quarter]), statistics.median(resident[-quarter:])
    last = rows[-1]
    print(f"\n{what}, {THREADS} threads, {seconds} s: {last[1] / seconds / 1e6:.2f} M records/s, "
          f"resident {early / 1024:.1f} MiB in the second quarter, {late / 1024:.1f} MiB in the last, at most "
          f"{max(resident) / 1024:.1f} MiB; lost by the ring {last[3] + last[4]}, exported {last[5]}, dropped by the exporter {last[6]}",
          file=sys.stderr)
    if seconds >= 30:  # before, queues and buffers still fill up
        assert late <= early + max(room_kib, early * 0.05), resident
    assert max(resident) < 300 * 1024 or "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ, resident


@pytest.mark.parametrize("collector", ["working", "dead"])
def test_flat_memory(build_dir, server, place, collector):
    seconds = max(SECONDS // 3, 4)
    endpoint = server.url(port="otlp-grpc")
    if collector == "dead":
        assert server.stop() == 0
    rows, sinks = soak(build_dir, place, endpoint, seconds)
    last = rows[-1]
    # Requests in flight to a server that shares the processor take now more, now less.
    flatness(f"{collector} collector", rows, seconds, 12288 if collector == "working" else 4096)
    if collector == "working":
        assert last[5] > 0
    assert len(sinks) == 2
    for number, records, written, lost in sinks:  # the library's own lines are written too; of spans it may lose records as well
        assert written <= records * 1.001 + 2000 and records <= written + lost, (number, records, written, lost)


def test_flat_memory_while_nothing_is_lost(build_dir, place):
    """The calls wait for the files."""
    seconds = max(SECONDS // 3, 4)
    rows, sinks = soak(build_dir, place, "", seconds, {"DYN_LOG": "debug", "SONDE_LOG_FILE_FILTER": "", "OTEL_EXPORT_ENABLED": "0",
                                                       "SONDE_LOG_FILE_LOSS": "block:10000", "SONDE_FLIGHT_LEVEL": "debug"})
    flatness("waiting for the files", rows, seconds)
    for number, records, written, lost in sinks:
        assert lost == 0 and records <= written <= records * 1.001 + 2000, (number, records, written, lost)
