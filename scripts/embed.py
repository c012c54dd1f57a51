#!/usr/bin/env python3
"""Bundles web/ and packs it into the program.

  embed.py --web DIR --work DIR --asm OUT.S --table OUT.c --deps OUT.d

Runs esbuild (web/build.mjs) into WORK/dist, compresses every file with gzip, writes them one behind the other into
WORK/assets.bin, which OUT.S takes in by .incbin, and a table of them (path, type, place, sizes, tag) as OUT.c. OUT.d
names all files of web/ that were read, for ninja. Fails when
the sum of the compressed files passes the budget that build.mjs names. Needs Node 18 and web/node_modules; installs the
latter by `npm ci` when it is missing or older than the lock file, as scripts/setup.sh does. Needs no network otherwise.
"""
import argparse
import fcntl
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import zlib

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
HASHED = re.compile(r"\.[0-9a-f]{10}\.[a-z]+$")


def fail(text):
    sys.exit(f"embed.py: {text}")


def modules(web):
    """web/node_modules as the lock file wants it; several builds may come here at once."""
    lock, stamp = web / "package-lock.json", web / "node_modules" / ".sonde-lock"

    def current():
        return stamp.exists() and stamp.read_bytes() == lock.read_bytes()

    if current():
        return
    with open(lock, "rb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        if current():
            return
        npm = shutil.which("npm") or fail("web/node_modules is missing and so is npm: run scripts/setup.sh")
        r = subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=web, stdin=subprocess.DEVNULL)
        if r.returncode:
            fail("npm ci failed in web/: run scripts/setup.sh where the npm registry can be reached")
        stamp.write_bytes(lock.read_bytes())


def gzip(data):
    """Without a time and a name, so that the same page gives the same bytes."""
    c = zlib.compressobj(9, zlib.DEFLATED, 31, 9)
    return c.compress(data) + c.flush()


def quoted(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    p = argparse.ArgumentParser()
    for name in ("web", "work", "asm", "table", "deps"):
        p.add_argument(f"--{name}", type=pathlib.Path, required=True)
    a = p.parse_args()
    web, work = a.web.resolve(), a.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    node = shutil.which("node") or fail("node is missing: run scripts/setup.sh")
    modules(web)
    if subprocess.run([node, "build.mjs", "--quiet", "--out", str(work / "dist")], cwd=web, stdin=subprocess.DEVNULL).returncode:
        fail("the page could not be built")

    blob, rows = bytearray(), []
    for f in sorted((work / "dist").iterdir()):
        plain = f.read_bytes()
        gz = gzip(plain)
        tag = hashlib.sha256(plain).hexdigest()[:20]
        kind = TYPES.get(f.suffix) or fail(f"{f.name}: no content type known for {f.suffix}")
        keep = "true" if HASHED.search(f.name) else "false"
        rows.append(f"    {{{quoted(f.name)}, {quoted(kind)}, {quoted(f'W/{chr(34)}{tag}{chr(34)}')}, {len(blob)}, {len(gz)}, {len(plain)}, {keep}}},")
        blob += gz
    bin_path = work / "assets.bin"
    bin_path.write_bytes(blob)
    csp = (web / "csp.txt").read_text().strip()

    a.table.write_text(
        "// Made by scripts/embed.py from web/; do not edit.\n"
        '#include "serve/assets.h"\n'
        f"const struct asset assets_table[] = {{\n" + "\n".join(rows) + "\n};\n"
        f"const size_t assets_count = {len(rows)};\n"
        f"const char assets_csp[] = {quoted(csp)};\n"
    )
    # the hash makes the text new whenever the bytes are, so that the object is never older than what it takes in
    a.asm.write_text(
        f"/* Made by scripts/embed.py; {hashlib.sha256(blob).hexdigest()} */\n"
        "    .section .rodata\n"
        "    .global assets_bytes\n"
        "    .hidden assets_bytes\n"
        "    .balign 16\n"
        "assets_bytes:\n"
        f"    .incbin {quoted(str(bin_path))}\n"
        "    .byte 0\n"
        '    .section .note.GNU-stack, "", %progbits\n'
    )
    read = sorted(f for d in ("src", ".") for f in (web / d).iterdir() if f.is_file() and f.name != "dev.mjs")
    a.deps.write_text(f"{a.asm}: " + " ".join(str(f).replace(" ", "\\ ") for f in read) + "\n")


main()
