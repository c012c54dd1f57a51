#!/usr/bin/env python3
"""The page against a real server: starts sonde serve and the inference example, sends requests, runs the browser tests.

    tests/browser/run.py BUILD_DIR
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "blackbox"))

from conftest import Server, wait_for  # noqa: E402
from test_inference import Stack  # noqa: E402
from test_request import send, whole  # noqa: E402


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(build / "sonde", pathlib.Path(folder) / "data")
        env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": server.url(port="otlp-grpc"),
               "OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
        stack = Stack(build, pathlib.Path(folder), env=lambda name: {**env, "OTEL_SERVICE_NAME": name})
        try:
            for i in range(12):
                send(stack, f"page-{i}", tokens=4 + i, stream=i % 2 == 0)
            send(stack, "demo-bad", fault="kv-timeout", tokens=8)
            assert send(stack, "demo-42", tokens=16)[0] == 200
            whole(server, "demo-42")
            wait_for(lambda: json.loads(server.get("/api/sonde/v1/requests/demo-bad")[1]).get("failure"))
            return subprocess.run(["node", "tests/browser/run.mjs", server.url()], cwd=ROOT,
                                  env={**os.environ, "SONDE_REQUEST": "demo-42", "SONDE_FAILED_REQUEST": "demo-bad", "SONDE_METRIC": "dynamo_frontend_time_to_first_token_seconds"}, timeout=600).returncode
        finally:
            stack.stop()
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
