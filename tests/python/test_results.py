"""sonde.results: the program's JSON as objects."""
import dataclasses
import datetime
import json
import subprocess

import pytest

from sonde import results


@pytest.fixture
def tree(tmp_path):
    a = tmp_path / "tree" / "test_a"
    a.mkdir(parents=True)
    (a / "test.log.txt").write_text("2026-11-22T21:00:00Z INFO start\n2026-11-22T21:00:01Z ERROR broken 5\n2026-11-22T21:00:01Z ERROR broken 6\n"
                                   "2026-11-22T21:00:02Z INFO x: Injecting failure for: Failure(pod_name='decode', command='kill')\n")
    b = tmp_path / "tree" / "b"
    b.mkdir()
    (b / "junit.xml").write_text('<testsuite name="s" tests="2"><testcase classname="a" name="ok" time="0.5"/>'
                                 '<testcase classname="a" name="bad" time="1"><failure message="x">y</failure></testcase></testsuite>')
    return tmp_path / "tree"


def test_run(tree):
    found = results.run(tree, min_success=90)
    a, b = found["test_a"], found["b"]
    assert found.missed_targets == 1 and a.errors == 2 and a.start == datetime.datetime(2026, 11, 22, 21, tzinfo=datetime.timezone.utc)
    assert (a.error_shapes[0].count, a.error_shapes[0].shape, a.error_shapes[0].line) == (2, "broken <n>", 2) and a.ready is None
    assert a.faults == [results.Fault(a.fault, "decode", "kill")] and a.fault.second == 2 and a.unreadable == 0
    assert b.kind == "junit" and b.load.success_percent == 50 and [c.outcome for c in b.cases] == ["passed", "failed"]
    with pytest.raises(KeyError):
        found["c"]


def test_every_key_of_the_program_has_its_field(tree, sonde_program):
    told = json.loads(subprocess.run([sonde_program, "results", "--format", "json", str(tree)], capture_output=True, text=True).stdout)
    names = {f.name for f in dataclasses.fields(results.Result)}
    assert all(set(r) == names for r in told["results"]) and set(told["results"][0]["load"]) == {f.name for f in dataclasses.fields(results.Load)}
    case = next(r for r in told["results"] if r["cases"])["cases"][0]
    assert set(case) == {f.name for f in dataclasses.fields(results.Case)}


def test_compare(tree, tmp_path):
    changes = results.compare(tree, tree)
    assert {c.metric for c in changes} >= {"error lines", "success"} and not any(c.worse for c in changes)


def test_what_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(results.ResultsError, match="No such file"):
        results.run(tmp_path / "none")
    with pytest.raises(results.ResultsError, match="No such file"):
        results.run(tmp_path, program=str(tmp_path / "no-program"))
    monkeypatch.delenv("SONDE_PROGRAM")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(results.ResultsError, match="no program"):
        results.run(tmp_path)
