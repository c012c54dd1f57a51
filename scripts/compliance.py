#!/usr/bin/env python3
"""Checks docs/compliance.md: every row of OpenTelemetry's compliance matrix once, and every "yes" with a test that exists.

A row is `| id | feature | yes or no | tests, or the reason |`. Tests are written `path: name, name (remark); path: name`; a name is
that of a test function, a case or a table that stands in the file. `make check` runs this.
"""
import pathlib
import re
import sys

ROWS = {"T": 64, "B": 2, "M": 88, "L": 18, "R": 7, "C": 19, "E": 30, "D": 13, "X": 59, "O": 17}
ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (yes|no) \| (.+?) \|$")
TOTAL = re.compile(r"\*\*(\d+) of (\d+)\*\*")


def check_tests(root, row, text, bad):
    for reference in re.sub(r" ?\([^)]*\)", "", text).split(";"):
        path, _, names = reference.replace("`", "").strip().partition(": ")
        file = root / path
        if not names or not file.is_file():
            bad.append(f"{row}: '{reference.strip()}' is no test: path: name, of a file in this repository")
            continue
        for name in names.split(", "):
            if name not in file.read_text():
                bad.append(f"{row}: {path} has no '{name}'")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    text = (root / "docs/compliance.md").read_text()
    want = [f"{letter}{i}" for letter, n in ROWS.items() for i in range(1, n + 1)]
    bad, seen, yes = [], {}, 0
    for line in text.splitlines():
        m = ROW.match(line)
        if not m:
            continue
        row, _, answer, rest = m.groups()
        if row in seen:
            bad.append(f"{row}: twice")
        seen[row] = answer
        if answer == "yes":
            yes += 1
            check_tests(root, row, rest, bad)
    bad += [f"{row}: missing" for row in want if row not in seen]
    bad += [f"{row}: no such row" for row in seen if row not in want]
    said = TOTAL.search(text)
    if not said or (int(said[1]), int(said[2])) != (yes, len(want)):
        bad.append(f"the table has {yes} of {len(want)}; the text must say **{yes} of {len(want)}**")
    for line in bad:
        print(f"docs/compliance.md: {line}")
    print(f"compliance: {yes} of {len(want)} rows, each with its test" if not bad else f"compliance: {len(bad)} complaints")
    return 1 if bad else 0


sys.exit(main())
