"""Crash safety: SIGKILL at random moments while clients push; nothing acknowledged may be missing, nothing there twice."""
import http.client
import json
import random
import re
import threading
import time
import urllib.request

from conftest import Server, wait_for

KILLS = 22


def log_lines(name, base, numbers):
    values = [[str(base + i * 1000), f"n={i} some payload"] for i in numbers]
    return "/loki/api/v1/push", json.dumps({"streams": [{"stream": {"app": name}, "values": values}]}).encode(), "application/json"


def spans(name, base, numbers):
    made = [{"traceId": f"{i // 5 + 1:032x}", "spanId": f"{i + 1:016x}", "name": f"op{i % 7}", "kind": 1, "startTimeUnixNano": str(base + i * 1000),
             "endTimeUnixNano": str(base + i * 1000 + 500)} for i in numbers]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]}
    return "/v1/traces", json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": made}]}]}).encode(), "application/json"


def samples(name, base, numbers):
    text = "".join(f'pushed{{c="{name}",m="{i % 10}"}} {i} {base // 10**6 + i // 10}\n' for i in numbers)
    return "/api/v1/import/prometheus", text.encode(), "text/plain"


class Pusher(threading.Thread):
    """Pushes numbered events; a batch without an answer is sent again, as a client would, and some that have one as well."""

    def __init__(self, server, make, name, stop):
        super().__init__(daemon=True)
        self.server, self.make, self.stream, self.stop = server, make, name, stop
        self.acked, self.sent = set(), 0
        self.base = time.time_ns()

    def send(self, request, seconds=10):
        path, body, kind = request
        try:
            r = urllib.request.Request(self.server.url(path), body, {"Content-Type": kind})
            with urllib.request.urlopen(r, timeout=seconds) as a:
                a.read()
            return True
        except (OSError, http.client.HTTPException):
            return False

    def run(self):
        while not self.stop.is_set():
            numbers = range(self.sent, self.sent + 50)
            self.sent += 50
            request = self.make(self.stream, self.base, numbers)
            if self.sent % 500 == 0:
                self.send(request, 0.002)  # given up while it waits for the disk, or so
            while not self.send(request):
                time.sleep(0.01)
            self.acked.update(numbers)
            if self.sent % 350 == 0:
                self.send(request)


def stored(server, pusher):
    """Every number in the store of that stream, with repeats."""
    out, at, end = [], pusher.base, pusher.base + pusher.sent * 1000 + 1
    while True:
        got = server.lines('{app="%s"}' % pusher.stream, at, end)
        out += [int(line.split()[0][2:]) for _, line in got]
        if len(got) < 5000:
            return out
        at = got[-1][0] + 1


def test_kill_9_loses_nothing_and_doubles_nothing(sonde_program, tmp_path):
    rng = random.Random(time.time_ns())
    server = Server(sonde_program, tmp_path / "data", "--head-size", "256KiB")  # small: parts are written all the time
    stop = threading.Event()
    pushers = [Pusher(server, log_lines, f"s{i}", stop) for i in range(3)]
    others = [Pusher(server, spans, "spans", stop), Pusher(server, samples, "samples", stop)]
    for p in pushers + others:
        p.start()
    ready = []
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.02, 0.5))
        server.kill()
        began = time.monotonic()
        server.start()
        ready.append(time.monotonic() - began)
    time.sleep(0.3)
    stop.set()
    for p in pushers + others:
        p.join(120)
        assert not p.is_alive()
    server.kill()
    server.start()
    for p in pushers:
        got = stored(server, p)
        assert len(p.acked) > 200
        assert not p.acked - set(got), f"{len(p.acked - set(got))} acknowledged lines are missing"
        assert len(got) == len(set(got)), f"{len(got) - len(set(got))} lines are there twice"
    rows = re.findall(r"^sonde_store_(?:head|part)_rows (\S+)$", server.call("/metrics")[1].decode(), re.M)
    assert len(rows) == 2 and sum(map(float, rows)) == sum(p.sent for p in pushers + others)
    assert server.stop() == 0
    print(f"restart to ready: median {sorted(ready)[len(ready) // 2]:.3f} s, worst {max(ready):.3f} s")


def test_a_stopped_server_has_everything_after_a_start(server):
    now = time.time_ns()
    for i in range(20):
        assert server.push({"app": "x", "part": str(i % 3)}, [(now + i, f"line {i}")])[0] == 204
    before = server.lines('{app="x"}', now, now + 100)
    assert server.stop() == 0
    server.start()
    assert server.lines('{app="x"}', now, now + 100) == before and len(before) == 20


def test_what_is_acknowledged_is_visible_at_once(server):
    now = time.time_ns()
    for i in range(50):
        server.push({"app": "x"}, [(now + i, f"line {i}")])
        assert len(server.lines('{app="x"}', now, now + 100)) == i + 1


def test_two_servers_may_not_share_a_directory(server, sonde_program):
    import subprocess
    p = subprocess.run([str(sonde_program), "serve", "--data", server.data, "--http", "127.0.0.1:0", "--otlp-grpc", "off", "--otlp-http", "off"],
                       capture_output=True, text=True, timeout=10)
    assert p.returncode != 0 and server.data in p.stderr


def test_a_damaged_log_tail_is_cut_and_said(server):
    import pathlib
    now = time.time_ns()
    assert server.push({"app": "x"}, [(now, "kept")])[0] == 204
    server.kill()
    wal = sorted((pathlib.Path(server.data) / "wal").glob("*.wal"))[-1]
    with open(wal, "ab") as f:
        f.write(b"\x40\x00\x00\x00 this is no record")
    server.start()
    assert server.lines('{app="x"}', now, now + 1) == [(now, "kept")]
    assert wait_for(lambda: wal.name in open(server.data + ".log").read())
