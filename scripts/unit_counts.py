#!/usr/bin/env python3
"""Counts what `meson test` ran: unit_counts.py build/meson-logs/testlog.json

Every case of a cmocka program counts, a program without cases counts as one. Prints what failed with its output and what was
skipped with its reason, then `PASSED FAILED SKIPPED`.
"""
import json
import re
import sys

passed = failed = skipped = 0
for line in open(sys.argv[1], encoding="utf-8"):
    test = json.loads(line)
    out = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    good = len(re.findall(r"^\[       OK \]", out, re.M))
    bad = len(set(re.findall(r"^\[  FAILED  \] (\w+)\s*$", out, re.M)))
    left = len(set(re.findall(r"^\[  SKIPPED \] (\w+)\s*$", out, re.M)))
    ok = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
    if test["result"] == "SKIP":
        left = max(left, 1)
    elif good + bad + left == 0:
        good = 1 if ok else 0
    if not ok:
        bad = max(bad, 1)
        print(f"-- {test['name']}: {test['result']}, exit status {test.get('returncode')}")
        print(out[-6000:])
    if left:
        why = [w.strip() for w in out.splitlines() if "SONDE_TESTDATA" in w or w.startswith("skipped:")]
        print(f"-- {test['name']}: {left} skipped" + "".join(f"\n   {w}" for w in why))
    passed, failed, skipped = passed + good, failed + bad, skipped + left
print(passed, failed, skipped)
