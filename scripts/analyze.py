#!/usr/bin/env python3
"""gcc's static analyzer over every C file of src/; a finding that is not in the list below fails.

    scripts/analyze.py BUILD_DIR

Takes each file's flags from BUILD_DIR/compile_commands.json. Ends with `N passed, M failed`, counting files.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

# (file, warning, function): why it is wrong. gcc 12's analyzer does not follow some values through calls and loops.
KNOWN = {
    # "may be null", though every caller's success said otherwise
    ("src/logql/lex.c", "analyzer-null-dereference", "escape"),  # the caller took memory before
    ("src/serve/loki_api.c", "analyzer-null-dereference", "query_instant"),  # query_plan succeeded
    ("src/serve/loki_api.c", "analyzer-null-dereference", "query_range"),
    ("src/query/logs.c", "analyzer-null-dereference", "add"),  # n == limit > 0: the heap is there
    ("src/query/logs.c", "analyzer-null-dereference", "collect"),
    ("src/store/wal_read.c", "analyzer-null-argument", "read_header"),  # only a file that was mapped has any bytes
    ("src/net/tls_context.c", "analyzer-null-dereference", "server_context"),  # context_new succeeded
    ("src/sdk/spans.c", "analyzer-null-dereference", "same_key"),  # n > 0 fields: they are there
    ("src/sdk/line.c", "analyzer-null-dereference", "members_many"),
    ("src/sdk/status_debug.c", "analyzer-null-dereference", "spans"),  # n > 0 only with a list
    # "uninitialised", though set on every way there
    ("src/logql/plan.c", "analyzer-use-of-uninitialized-value", "plan_pipeline"),  # plan_stage succeeded
    ("src/sdk/export.c", "analyzer-use-of-uninitialized-value", "loop"),  # a loop over SIGNALS filled it
    ("src/store/part_numbers.c", "analyzer-use-of-uninitialized-value", "put_whole"),  # whole_group succeeded: all n are set
}
FINDING = re.compile(r"^(?P<file>[^:\n]+):\d+:\d+: (?:warning|error): .*?(?:\[-W(?P<warning>analyzer-[\w-]+)\])?$", re.M)
FUNCTION = re.compile(r"In function [‘'](\w+)[’']")


def commands(build):
    seen = set()
    for c in json.load(open(build / "compile_commands.json")):
        path = (build / c["file"]).resolve()
        if path.suffix != ".c" or path in seen or (ROOT / "src") not in path.parents:
            continue
        seen.add(path)
        argv, skip = [], False
        for a in shlex.split(c["command"]):
            if skip or a in ("-o", "-MF", "-MQ", "-MT"):
                skip = not skip
            elif a not in ("-MD", "-Werror"):
                argv.append(a)
        yield path, argv + ["-o", "/dev/null", "-fanalyzer", "-fdiagnostics-plain-output", "-Wno-analyzer-too-complex"]


def analyze(build, path, argv):
    r = subprocess.run(argv, cwd=build, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    bad, function = [], ""
    for line in r.stderr.splitlines():
        function = m[1] if (m := FUNCTION.search(line)) else function
        if m := FINDING.match(line):
            if (str(path.relative_to(ROOT)), m["warning"], function) not in KNOWN:
                bad.append(f"{line} (in {function})")
    if r.returncode and not bad:
        bad.append(f"{path}: the compiler failed\n{r.stderr[-2000:]}")
    return bad


ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for bad in pool.map(lambda c: analyze(build, *c), commands(build)):
            passed, failed = passed + (not bad), failed + bool(bad)
            print("\n".join(bad), end="\n" if bad else "")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
