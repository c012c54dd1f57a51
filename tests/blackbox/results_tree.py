"""Trees of test results for the tests of `sonde results`: written file by file, as a person finds them on a disk."""
import json
import subprocess

import pytest

START = "[TEST] 2026-11-22T10:00:00Z INFO root: Starting Deployment fault-tolerance-test\n"
READY = "[TEST] 2026-11-22T10:01:30Z INFO root: Deployment fault-tolerance-test is ready\n"
FAULT = ("[TEST] 2026-11-22T10:02:00Z INFO root: Injecting failure for: "
         "Failure(pod_name='VllmDecodeWorker', command='delete_pod')\n")
END = "[TEST] 2026-11-22T10:05:00Z INFO root: test done\n"


class Tree:
    def __init__(self, root):
        self.root = root

    def write(self, path, text):
        p = self.root / path
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(text)
        return p

    def aiperf(self, test, client, n=50, latency=800.0, errors=0, attempt=0, **more):
        doc = {
            "request_count": {"unit": "requests", "avg": float(n)},
            "error_request_count": {"unit": "requests", "avg": float(errors)},
            "request_latency": {"unit": "ms", "avg": latency, "p50": latency * 0.9, "p90": latency * 1.2, "p99": latency * 2},
            "time_to_first_token": {"unit": "ms", "avg": 120.0},
            "inter_token_latency": {"unit": "ms", "avg": 5.5},
            "request_throughput": {"unit": "requests/sec", "avg": 3.5},
            **more,
        }
        return self.write(f"{test}/client_{client}/attempt_{attempt}/profile_export_aiperf.json", json.dumps(doc))

    def legacy(self, test, client, times, ok=lambda i: True, latency=1.0, tail=""):
        lines = []
        for i, t in enumerate(times):
            content = "x" * (120 if ok(i) else 5)
            lines.append(json.dumps({"time": t, "results": [{"status": 200, "request_elapsed_time": latency + i / 10,
                                                             "result": {"choices": [{"message": {"content": content}}]}}]}))
        return self.write(f"{test}/client_{client}.log.txt", "\n".join(lines) + "\n" + tail)


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tree").mkdir()
    return Tree(tmp_path / "tree")


@pytest.fixture
def results(sonde_program, tree):
    def go(*args, folder=None):
        p = subprocess.run([str(sonde_program), "results", *([str(folder or tree.root)] if folder is not False else []), *map(str, args)],
                           capture_output=True, text=True, timeout=60, cwd=tree.root.parent)
        return p.returncode, p.stdout, p.stderr

    return go


def only(results, *args):
    code, out, err = results("--format", "json", *args)
    found = json.loads(out)["results"]
    assert len(found) == 1, (code, out, err)
    return found[0]
