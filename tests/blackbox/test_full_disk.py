"""A full disk: what cannot be kept is refused, what was acknowledged stays, and with room again all goes on without a restart."""
import json
import os
import resource
import subprocess
import time

import pytest

from conftest import Server, wait_for

NOW = time.time_ns() // 10**9 * 10**9 - 60 * 10**9
LINES = 100  # a push


class TinyDisk:
    """A file system of 8 MB in memory, with room again by making it larger. Needs the right to mount."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "sonde-test", str(path)], capture_output=True).returncode:
            pytest.skip("may not mount a small file system here")

    def fill(self, server, push):
        while push()[0] == 204:
            pass

    def make_room(self, server):
        subprocess.run(["mount", "-o", "remount,size=256m", str(self.path)], check=True)

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)


class Limit:
    """The server may suddenly not make any file longer: EFBIG, which it treats as the full disk it stands for."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def fill(self, server, push):
        for _ in range(5):
            assert push()[0] == 204
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def make_room(self, server):
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def close(self):
        pass


class Sender:
    def __init__(self, server):
        self.server, self.n, self.kept, self.refused = server, 0, set(), set()

    def push(self):
        """One request of lines that do not compress; remembers what was acknowledged."""
        first, self.n = self.n, self.n + LINES
        lines = [(NOW + (first + i) * 1000, f"{first + i} {os.urandom(500).hex()}") for i in range(LINES)]
        status, answer = self.server.push({"app": "full"}, lines)
        (self.kept if status == 204 else self.refused).update(lines)
        assert status in (204, 503), (status, answer)
        return status, answer

    def stored(self):
        got, start = [], NOW - 1
        while True:
            page = self.server.lines('{app="full"}', start, NOW + 10**10, limit=5000)
            got += page
            if len(page) < 5000:
                return got
            start = page[-1][0] + 1

    def check(self):
        got = self.stored()
        assert len(got) == len(set(got)), "a line is there twice"
        assert set(got) == self.kept, f"{len(self.kept - set(got))} acknowledged lines are missing, {len(set(got) - self.kept)} refused ones are there"


@pytest.fixture(params=[TinyDisk, Limit])
def disk(request, tmp_path):
    d = request.param(tmp_path / "disk")
    yield d
    d.close()


@pytest.fixture
def server(disk, sonde_program):
    s = Server(sonde_program, disk.path / "data")
    yield s
    if s.process.poll() is None:
        s.stop()


def otlp(server):
    doc = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": str(NOW), "body": {"stringValue": os.urandom(60000).hex()}}]}]}]}
    return server.call("/v1/logs", json.dumps(doc).encode(), {"Content-Type": "application/json"})


def test_a_full_disk(disk, server):
    sender = Sender(server)
    disk.fill(server, sender.push)
    assert len(sender.kept) >= LINES

    status, answer = wait_for(lambda: (lambda r: r if r[0] == 503 else None)(sender.push()))
    assert b"full" in answer and b"free some space" in answer, answer
    status, answer = otlp(server)
    assert status == 503 and b"full" in answer, answer
    # it is alive, and what was acknowledged is found
    assert server.get("/ready")[0] == 200
    assert server.get("/metrics")[0] == 200
    assert server.json("/loki/api/v1/labels", start=NOW - 1, end=NOW + 10**10)["data"]
    for _ in range(20):
        sender.push()
    sender.check()

    disk.make_room(server)
    wait_for(lambda: sender.push()[0] == 204, seconds=60)
    for _ in range(20):
        assert sender.push()[0] == 204
    assert otlp(server)[0] == 200
    sender.check()

    server.kill()
    server.start()
    sender.check()
    # what was refused may be sent again now
    lines = sorted(sender.refused)[:LINES]
    assert server.push({"app": "full"}, lines)[0] == 204
    sender.kept.update(lines)
    sender.check()


def test_a_server_killed_on_a_full_disk_starts_there(disk, server):
    sender = Sender(server)
    disk.fill(server, sender.push)
    for _ in range(10):
        sender.push()
    server.kill()
    server.start()  # the disk is still as full as it was
    sender.check()
    assert server.get("/ready")[0] == 200
    disk.make_room(server)
    wait_for(lambda: sender.push()[0] == 204, seconds=60)
    sender.check()


def test_flushing_on_a_full_disk_loses_nothing(disk, server):
    sender = Sender(server)
    disk.fill(server, sender.push)
    for _ in range(3):
        server.call("/flush", b"", timeout=60)  # writes parts, for which there is no room
        sender.check()
    disk.make_room(server)
    wait_for(lambda: sender.push()[0] == 204, seconds=60)
    assert server.call("/flush", b"", timeout=60)[0] in (200, 204)
    sender.check()
    assert server.stop() == 0
    server.start()
    sender.check()
