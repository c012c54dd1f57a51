"""The manual pages of the library: generated from its headers, complete, and clean to who formats them."""
import re
import shutil
import subprocess

import pytest

from conftest import ROOT


@pytest.fixture(scope="module")
def pages(build_dir):
    found = {p.name[:-2]: p for p in (build_dir / "docs" / "man3").glob("*.3")}
    assert found
    return found


def rendered(pages, name):
    text = pages[name].read_text(encoding="utf-8")
    lead = re.fullmatch(r"\.so man3/(.*)\.3\n", text)
    out = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-rLL=140n", str(pages[lead[1]] if lead else pages[name])],
                         capture_output=True, text=True, env={"GROFF_NO_SGR": "1", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    return re.sub("\x1b\\[[0-9]*m|.\x08", "", out.stdout), out.stderr


def test_every_function_has_a_page(pages, build_dir):

    symbols = subprocess.run(["nm", "-D", "--defined-only", str(build_dir / "libsonde.so")], capture_output=True, text=True, check=True).stdout
    functions = set(re.findall(r" T (sonde_\w+)", symbols))
    assert len(functions) > 80
    assert {f for f in functions if not f.endswith("_")} - set(pages) == set()  # what ends so is the macros' own


@pytest.mark.parametrize("name", ["sonde_init", "sonde_log", "sonde_span", "sonde_context", "sonde_metrics", "sonde_sink",
                                  "sonde_flight", "libsonde", "SONDE_INFO", "SONDE_KV", "sonde_set_filter"])
def test_what_people_look_for(pages, name):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    text, _ = rendered(pages, name)
    assert all(part in text for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "#include <sonde/", "SEE ALSO")), text[:2000]
    assert name in text


def test_pages_are_clean(pages):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    for name, path in pages.items():
        if path.stat().st_size > 200:
            text, warnings = rendered(pages, name)
            assert warnings == "", f"{name}: {warnings[:1000]}"
            assert text.count("\n") > 20, name
            for leftover in ("SONDE_API", "__attribute__", "extern", "\\e", "__cplusplus"):
                assert leftover not in text, f"{name}: {leftover}"
    for name, path in pages.items():
        lead = re.fullmatch(r"\.so man3/(.*)\.3\n", path.read_text(encoding="utf-8"))
        assert not lead or (lead[1] in pages and pages[lead[1]].stat().st_size > 200), name


def test_text_of_a_header_is_all_there(pages):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    text, _ = rendered(pages, "sonde_sink")
    flat = re.sub(r"\s+", " ", text.replace("\u2010\n", ""))
    header = (ROOT / "include/sonde/sink.h").read_text(encoding="utf-8")
    words = set(re.findall(r"[A-Za-z_]{4,}", " ".join(re.findall(r"^// (?!-)(.*)", header, re.M))))
    missing = [w for w in words if w not in flat]
    assert len(missing) <= len(words) / 50, missing  # words that were parted at a line's end


def test_pages_are_installed(build_dir):
    listed = subprocess.run(["meson", "introspect", "--installed", str(build_dir)], capture_output=True, text=True, check=True).stdout
    assert re.search(r'"[^"]*share/man[^"]*man3"', listed), listed[:500]
