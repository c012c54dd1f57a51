"""The program of docs/guide.md, "A serving process, complete", as it stands there: it compiles, and does what is said."""
import json
import os
import shutil
import subprocess

import pytest
from conftest import ROOT


@pytest.fixture
def program(build_dir, tmp_path):
    if not shutil.which("cc") or not (build_dir / "libsonde.so").exists():
        pytest.skip(f"needs cc and {build_dir}/libsonde.so")
    chapter = (ROOT / "docs" / "guide.md").read_text().split("### A serving process, complete", 1)[1]
    block = chapter[chapter.index("    #include"):chapter.index("    curl")]
    source = tmp_path / "guide.c"
    source.write_text("\n".join(line.removeprefix("    ") for line in block.splitlines()).replace(
        "    sonde_span_end(s);", "    sonde_span_end(s);\n    getchar();").replace("#include <sonde/config.h>", "#include <stdio.h>\n#include <sonde/config.h>", 1))
    out = tmp_path / "guide"
    p = subprocess.run(["cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", f"-I{ROOT}/include", str(source), f"-L{build_dir}",
                        "-lsonde", f"-Wl,-rpath,{build_dir}", "-o", str(out)], capture_output=True, text=True)
    if "asan" in p.stderr or "tsan" in p.stderr or "ubsan" in p.stderr:
        pytest.skip("this libsonde.so wants a sanitizer's runtime")
    assert p.returncode == 0, p.stderr
    return out


def test_the_program_of_the_guide(program, sonde_program, tmp_path):
    env = {**{k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "DYN_", "SONDE_"))}, "DYN_SYSTEM_PORT": "0", "DYN_LOGGING_JSONL": "1",
           "SONDE_RING_DIR": str(tmp_path)}
    p = subprocess.Popen([program], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env)
    try:
        port = None
        while port is None:
            port = json.loads(p.stderr.readline()).get("port")
        url = f"http://127.0.0.1:{port}"
        curl = ["curl", "-fsS", "-m", "5", "--retry", "20", "--retry-delay", "0", "--retry-all-errors"]
        health = json.loads(subprocess.run([*curl, f"{url}/health"], capture_output=True, text=True, check=True).stdout)
        assert health["status"] == "ready" and health["endpoints"] == {"generate": "ready"}
        page = subprocess.run([*curl, "-H", "accept: application/openmetrics-text; version=1.0.0", f"{url}/metrics"], capture_output=True, text=True,
                              check=True).stdout
        assert 'time_to_first_token_seconds_bucket{dynamo_component="backend",dynamo_namespace="prod",le="0.047"} 1 # {trace_id=' in page
        assert json.loads(subprocess.run([*curl, f"{url}/engine/kv"], capture_output=True, text=True, check=True).stdout) == {"active_blocks": 12}
        assert subprocess.run([*curl, f"{url}/debug/spans"], capture_output=True, text=True, check=True).stdout
    finally:
        p.communicate("\n", timeout=10)
    assert p.returncode == 0
    dump = tmp_path / "decode.json"
    assert json.loads(dump.read_text())["config"] == {"slots": 16}
    assert subprocess.run([sonde_program, "config", "diff", dump, dump], capture_output=True).returncode == 0
