"""Recorded answers of Loki, replayed: from memory, and with every push turned into a part on disk at once."""
import subprocess
import sys

import pytest

from conftest import Server, shared

FILES = ["selectors", "line_filters", "json", "logfmt", "pattern_regexp", "range_aggregations", "vector_aggregations", "binary", "syntax_errors"]


@pytest.mark.parametrize("options", [[], ["--head-size", "1KiB"]], ids=["head", "parts"])
def test_recorded_answers_of_loki(sonde_program, tmp_path, options):
    tool = shared("tools/loki_replay.py")
    files = [str(shared(f"testdata/loki-recorded/{name}.json")) for name in FILES]
    server = Server(sonde_program, tmp_path / "data", *options)
    try:
        p = subprocess.run([sys.executable, str(tool), "--base", server.url(), *files], capture_output=True, text=True, timeout=300)
        assert p.returncode == 0, p.stdout[-4000:]
    finally:
        assert server.stop() == 0
