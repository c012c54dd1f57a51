#!/usr/bin/env python3
"""Reads every #include of src/ and fails on one that points upward.

A folder may use its own files and those of the folders named for it here, nothing else. `make check` runs this.
"""
import pathlib
import re
import sys

MAY_USE = {
    "base": set(),
    "event": {"base"},
    "net": {"base"},
    "sdk": {"base", "event", "net"},
    "store": {"base", "event"},
    "query": {"base", "event", "store"},
    "logql": {"base", "event", "store", "query"},
    "traceql": {"base", "event", "store", "query"},
    "promql": {"base", "event", "store", "query"},
    "analyze": {"base", "event", "store", "query"},
    "results": {"base"},
    "serve": {"base", "event", "net", "store", "query", "logql", "traceql", "promql", "analyze"},
    "cli": {"base", "event", "net", "sdk", "store", "query", "logql", "traceql", "promql", "analyze", "results", "serve"},
}
# libsonde's public face may be included by the sdk itself and by whoever uses the library.
PUBLIC = {"sdk", "cli", "serve"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    bad, files = [], 0
    for path in sorted(root.glob("src/*/**/*")):
        if path.suffix not in (".c", ".h", ".cc"):
            continue
        files += 1
        folder = path.relative_to(root / "src").parts[0]
        if folder not in MAY_USE:
            bad.append(f"{path.relative_to(root)}: folder src/{folder} is not in the table of scripts/layers.py")
            continue
        for m in INCLUDE.finditer(path.read_text()):
            head = m.group(1).split("/")[0]
            line = path.read_text().count("\n", 0, m.start()) + 1
            if head == "sonde" and folder not in PUBLIC:
                bad.append(f"{path.relative_to(root)}:{line}: src/{folder} may not include the public headers of libsonde")
            elif head in MAY_USE and head != folder and head not in MAY_USE[folder]:
                bad.append(f"{path.relative_to(root)}:{line}: src/{folder} may not include {m.group(1)}: dependencies point downward only")
    for path in sorted((root / "include").rglob("*.h")):
        for m in INCLUDE.finditer(path.read_text()):
            if m.group(1).split("/")[0] in MAY_USE:
                bad.append(f"{path.relative_to(root)}: a public header includes {m.group(1)}, which is internal")
    print("\n".join(bad) or f"layers: {files} files, every include points downward")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
