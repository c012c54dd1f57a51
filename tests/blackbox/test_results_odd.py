"""`sonde results` on trees that are not as they should be: damaged, half written, packed, of several zones, of several faults."""
import csv
import gzip
import io
import json
import os

import pytest
from results_tree import END, FAULT, READY, START, only, results, tree  # noqa: F401


def line(time, message="m", level="INFO", **more):
    return json.dumps({"time": time, "level": level, "target": "x", "message": message, **more}) + "\n"


def table(out, title):
    """The cells of a Markdown table, without its head."""
    part = out[out.index(f"## {title}"):].split("\n\n")[1]
    return [[c.strip() for c in row.strip("|").split("|")] for row in part.splitlines()[2:]]


def notes(r, *wanted):
    for text in wanted:
        assert any(text in n for n in r["notes"]), (text, r["notes"])


# ---- aiperf files that tell little ------------------------------------------------------------------------------------------
def test_each_client_that_left_nothing_is_named(tree, results):
    tree.aiperf("t", 0, n=10)
    tree.write("t/client_1/attempt_0/profile_export_aiperf.json", "")
    tree.write("t/client_2/attempt_0/profile_export_aiperf.json", "[]")
    tree.write("t/client_3/attempt_0/profile_export_aiperf.json", "null")
    (tree.root / "t/client_4/attempt_0").mkdir(parents=True)
    (tree.root / "t/client_5/attempt_0/profile_export_aiperf.json").mkdir(parents=True)
    r = only(results)
    assert (r["load"]["clients"], r["load"]["requests"], r["unreadable"]) == (6, 10, 3)
    notes(r, "client_1/attempt_0/profile_export_aiperf.json is empty", "client_2/attempt_0/profile_export_aiperf.json is damaged: no JSON object",
          "client_3/attempt_0/profile_export_aiperf.json is damaged: no JSON object", "client_4 wrote no profile_export_aiperf.json",
          "client_5 wrote no profile_export_aiperf.json")
    _, out, _ = results("--format", "markdown")
    assert ["Throughput per Client (req/s)", "3.50"] in table(out, "FAULT TOLERANCE TEST SUMMARY - AI-PERF")  # of those that told one


@pytest.mark.parametrize("target", [["--min-success", "1"], ["--sla", "100"]])
def test_a_target_is_not_met_where_nothing_was_measured(tree, results, target):
    tree.write("t/client_0/attempt_0/genai_perf.log", "could not start\n")
    code, out, err = results("--format", "markdown", *target)
    assert code == 1 and "t: nothing was measured" in err, err
    rows = dict(table(out, "FAULT TOLERANCE TEST SUMMARY - AI-PERF"))
    assert (rows["Total Requests"], rows["Successful Requests"], rows["Failed Requests"], rows["Success Rate"]) == ("N/A",) * 4
    tree.aiperf("t", 0, n=0)
    assert results(*target)[0] == 1


def test_attempts_are_counted_as_numbers_and_records_are_of_the_attempt_that_counts(tree, results):
    record = {"metadata": {"request_start_ns": 1795341600_000000000, "x_request_id": "first"}, "metrics": {"request_latency": {"value": 9.0}}}
    tree.write("t/client_0/attempt_1/profile_export.jsonl", json.dumps(record) + "\n")
    tree.aiperf("t", 0, n=2, attempt=2)
    record["metadata"]["x_request_id"] = "second"
    tree.write("t/client_0/attempt_2/profile_export.jsonl", json.dumps(record) + "\n")
    tree.aiperf("t", 0, n=10, attempt=10)
    r = only(results)
    assert (r["load"]["requests"], [q["id"] for q in r["slowest"]]) == (2, ["second"])


def test_numbers_that_are_none(tree, results):
    path = tree.aiperf("t", 0, n=10, request_latency={"avg": float("nan"), "p50": float("inf"), "p90": None, "p99": "3000"})
    assert "NaN" in path.read_text() and "Infinity" in path.read_text()  # as Python writes them
    tree.aiperf("u", 0, n=-5, errors=3)
    tree.aiperf("v", 0, n=10**12, latency=1e300)
    tree.aiperf("w", 0, n=7, was_cancelled="NaN, Infinity")
    r = {x["test"]: x for x in json.loads(results("--format", "json")[1])["results"]}
    load = r["t"]["load"]
    assert (load["requests"], load["latency_s"], load["latency_p50_s"], load["latency_p90_s"], load["latency_p99_s"]) == (10, None, None, None, 3)
    assert (r["u"]["load"]["requests"], r["u"]["load"]["failed"]) == (3, 3)
    notes(r["u"], "client_0 tells of -5 requests")
    assert r["v"]["load"]["latency_s"] == 1e297
    assert r["w"]["load"]["requests"] == 7


def test_what_aiperf_says_of_errors_is_told(tree, results):
    summary = [{"error_details": {"code": 500, "type": "InternalError", "message": "boom"}, "count": 7},
               {"error_details": {"code": None, "type": "ClientConnectorError", "message": "Connection refused"}, "count": 3}]
    tree.aiperf("t", 0, n=40, errors=10, error_summary=summary)
    tree.aiperf("t", 1, n=40, errors=7, error_summary=summary[:1])
    tree.write("t/x.log", "2026-11-22T10:00:00Z ERROR of a log\n")
    r = only(results)
    assert [(s["count"], s["shape"], s["file"]) for s in r["error_shapes"]] == [
        (14, "InternalError (500): boom", "client_0/attempt_0/profile_export_aiperf.json"),
        (3, "ClientConnectorError: Connection refused", "client_0/attempt_0/profile_export_aiperf.json"), (1, "of a log", "x.log")]
    assert r["errors"] == 1  # error lines of logs: the requests that failed are counted elsewhere


# ---- bytes -----------------------------------------------------------------------------------------------------------------
def test_byte_order_marks_and_carriage_returns(tree, results):
    def windows(text):
        return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()

    path = tree.aiperf("t", 0, n=10)
    path.write_bytes(windows(json.dumps(json.loads(path.read_text()), indent=1)))
    for name, text in (("test.log.txt", START + READY + FAULT), ("D/p.previous.log", line("2026-11-22T10:02:00Z")),
                       ("D/p.log", line("2026-11-22T10:02:09Z", "back", "ERROR"))):
        tree.write(f"t/{name}", "").write_bytes(windows(text))
    tree.legacy("u", 0, ["2026-11-22T10:00:00Z"] * 2)
    legacy = tree.root / "u/client_0.log.txt"
    legacy.write_bytes(windows(legacy.read_text()))
    r = {x["test"]: x for x in json.loads(results("--format", "json")[1])["results"]}
    assert (r["t"]["load"]["requests"], r["t"]["startup_s"], r["t"]["recovery_s"], r["t"]["errors"], r["t"]["notes"]) == (10, 90, 9, 1, [])
    assert (r["u"]["load"]["requests"], r["u"]["notes"]) == (2, [])


def test_packed_files_are_read_as_if_they_were_not(tree, results):
    def pack(path, text):
        tree.write(path, "").write_bytes(gzip.compress(text.encode()))

    tree.aiperf("t", 0, n=10)
    pack("t/test.log.txt.gz", START + READY + FAULT)
    pack("t/D/p.previous.log.gz", line("2026-11-22T10:02:00Z", "last words", "ERROR"))
    pack("t/D/p.log.gz", line("2026-11-22T10:02:33Z"))
    tree.write("t/D/p.log.1", line("2026-11-22T10:01:00Z", "rotated", "ERROR"))
    pack("t/D/p.log.2.gz", line("2026-11-22T10:00:30Z", "rotated", "ERROR"))
    pack("u/client_0.log.txt.gz", tree.legacy("u", 0, ["2026-11-22T10:00:00Z"]).read_text())
    (tree.root / "u/client_0.log.txt").unlink()
    tree.write("u/broken.log.gz", "").write_bytes(b"\x1f\x8bgarbage")
    r = {x["test"]: x for x in json.loads(results("--format", "json")[1])["results"]}
    assert (r["t"]["startup_s"], r["t"]["recovery_s"], r["t"]["errors"]) == (90, 33, 3)
    assert [(s["count"], s["shape"], s["file"]) for s in r["t"]["error_shapes"]] == [
        (2, "rotated", "D/p.log.1"), (1, "last words", "D/p.previous.log.gz")]
    assert (r["u"]["kind"], r["u"]["load"]["requests"], r["u"]["unreadable"]) == ("legacy", 1, 1)
    notes(r["u"], "broken.log.gz cannot be read")


def test_bytes_that_are_no_text_leave_every_form_valid(tree, results):
    name = os.fsdecode(b"t_\xff\xe9|,<b>")
    tree.aiperf(name, 0, n=10)
    (tree.root / name / "W").mkdir()
    (tree.root / name / "W/bad.log").write_bytes(b"2026-11-22T10:00:00Z ERROR caf\xe9 \xff\xfe a\0b \x1b[31mred\x1b[0m\n" + bytes(range(256)) * 400 +
                                                 b"\n" + line("2026-11-22T10:00:01Z", "x" * 3_000_000 + "end", "ERROR").encode())
    for form in ("fancy", "markdown", "json", "csv", "html"):
        out = results("--format", form)[1]  # read as UTF-8: anything else raises
        assert "\x1b" not in out and "\0" not in out, form
        assert form == "csv" or "caf\ufffd" in out, form
    assert "\ufffd" in next(csv.DictReader(io.StringIO(results("--format", "csv")[1])))["test"]


def test_json_messages_are_shown_as_their_writer_meant_them(tree, results):
    tree.write("t/a.jsonl", line("2026-11-22T10:00:00Z", 'prüfe "x" \\ 日本\n  zweite Zeile', "ERROR"))
    r = only(results)
    assert [s["sample"] for s in r["error_shapes"]] == ['prüfe "x" \\ 日本\n  zweite Zeile']
    out = results("--format", "markdown")[1]
    assert 'prüfe "x" \\ 日本   zweite Zeile' in out


def test_wide_characters_keep_the_grid_straight(tree, results):
    tree.write("日本語/a.log", "2026-11-22T10:00:00Z ERROR 失敗\n")
    out = results(folder=tree.root / "日本語")[1]
    rows = [row for row in out[out.index("ERRORS"):].splitlines() if row.startswith(("|", "+"))]
    wide = [sum(2 if ord(c) > 0x2e80 else 1 for c in row) for row in rows]
    assert len(set(wide)) == 1, out


# ---- clocks and components --------------------------------------------------------------------------------------------------
def test_zones_of_all_kinds_in_one_test(tree, results):
    tree.aiperf("t", 0)
    tree.write("t/test.log.txt", "[TEST] 2026-11-22T12:00:00+02:00 INFO root: Starting Deployment d\n"
                                 "[TEST] 2026-11-22T10:01:00Z INFO root: Deployment d is ready\n"
                                 "[TEST] 2026-11-22T05:03:00-05:00 INFO root: Injecting failure for: Failure(pod_name='D', command='kill')\n")
    tree.write("t/D/p.previous.log", line("2026-11-22T12:03:00.000000+02:00"))
    tree.write("t/D/p.log", line("2026-11-22T06:03:42.500000-04:00"))
    r = only(results)
    assert (r["startup_s"], r["recovery_s"], r["fault"]) == (60, 42.5, "2026-11-22T10:03:00.000000Z")


def test_a_clock_that_went_back_gives_no_negative_time(tree, results):
    tree.aiperf("t", 0)
    tree.write("t/test.log.txt", START + READY.replace("10:01:30", "09:59:00"))
    tree.write("t/D/p.previous.log", line("2026-11-22T10:05:00Z"))
    tree.write("t/D/p.log", line("2026-11-22T10:04:00Z"))
    r = only(results)
    assert (r["startup_s"], r["recovery_s"]) == (None, None)
    notes(r, "ready 60 s before its deployment was started", "D: its log begins 60 s before that of the process before it ended")


def test_a_recovery_that_never_was_is_said(tree, results):
    tree.aiperf("t", 0, n=10, errors=90)
    tree.write("t/test.log.txt", START + READY + FAULT)
    tree.write("t/D/p.previous.log", line("2026-11-22T10:02:00Z"))
    tree.write("t/D/p.log", "")
    r = only(results)
    assert r["recovery_s"] is None
    notes(r, "D: nothing in its log since the restart")


def test_replicas_are_no_crash_loop_but_a_pod_that_restarts_is(tree, results):
    tree.write("t/test.log.txt", START)
    for pod in range(4):
        tree.write(f"t/many/p{pod}.log", line("2026-11-22T10:00:00Z", "worker ready"))
        tree.write(f"t/many/p{pod}.previous.log", line("2026-11-22T09:59:00Z", "worker ready"))
    tree.write("t/one/p.log", "".join(line(f"2026-11-22T10:0{i}:00Z", "worker ready") for i in range(3)))
    crash = "Traceback (most recent call last):\n  File \"w.py\", line 1\nRuntimeError: CUDA\n"
    tree.write("t/dying.log.txt", "".join(f"[DYING] {row}\n" for i in range(5) for row in (line(f"2026-11-22T10:0{i}:00Z", "Starting worker 7") + crash).splitlines()))
    tree.write("t/busy.log.txt", "".join(line(f"2026-11-22T10:0{i}:00Z", "Starting request") for i in range(5)))
    r = only(results)
    assert {c["name"]: (c["starts"], c["crash_loop"]) for c in r["components"]} == {
        "many": (2, False), "one": (3, True), "dying": (5, True), "busy": (1, False)}


def test_a_long_log_is_searched_by_several_threads(tree, results):
    tree.write("t/test.log.txt", START + READY + FAULT)
    filler = "2026-11-22T10:01:59Z  INFO x: nothing that matters to a reader\n" * 60000  # 4 MB
    ready = [line(f"2026-11-22T10:{m}Z", "worker ready") for m in ("00:10", "02:40", "03:00")]
    tree.write("t/decode.log.txt", filler.join(["", *ready, ""]))
    for threads in (1, 2, 7):
        r = only(results, "--threads", threads)
        assert [(c["starts"], c["startup_s"], c["recovery_s"]) for c in r["components"]] == [(3, 10, 40)], threads


def test_a_new_pod_of_an_older_clients_test_recovers_when_it_is_ready(tree, results):
    test = "test_fault_scenario[vllm-agg-decode_worker]"
    tree.write(f"{test}/test.log.txt", START + READY + FAULT)
    tree.legacy(test, 0, ["2026-11-22T10:01:00Z"])
    tree.write(f"{test}/VllmDecodeWorker/w-0.log", "\x1b[2m2026-11-22T10:01:00Z\x1b[0m \x1b[32m INFO\x1b[0m x: VllmWorker for m has been initialized\n" +
               line("2026-11-22T10:03:15Z", "VllmWorker for m has been initialized"))
    tree.write(f"{test}/Frontend/f-0.log", line("2026-11-22T10:03:02Z", "added model m"))
    assert only(results)["recovery_s"] == 75  # the last one's


def test_several_faults_are_all_told(tree, results):
    tree.aiperf("t", 0)
    tree.write("t/test.log.txt", START + READY + FAULT + FAULT.replace("10:02", "10:04").replace("VllmDecodeWorker", "Frontend").replace("delete_pod", "kill -9 1") + END)
    r = only(results)
    assert (r["fault"], r["fault_pod"], r["fault_command"]) == ("2026-11-22T10:02:00.000000Z", "VllmDecodeWorker", "delete_pod")
    assert r["faults"] == [{"time": "2026-11-22T10:02:00.000000Z", "pod": "VllmDecodeWorker", "command": "delete_pod"},
                           {"time": "2026-11-22T10:04:00.000000Z", "pod": "Frontend", "command": "kill -9 1"}]
    rows = dict(table(results("--format", "markdown")[1], "FAULT TOLERANCE TEST SUMMARY - AI-PERF"))
    assert rows["Failure"] == "VllmDecodeWorker: delete_pod; Frontend: kill -9 1"


def test_overflow_and_recovery_know_the_deployment_of_their_test(tree, results):
    test = "test_fault_scenario[vllm-agg-token_overflow]"
    tree.write(f"{test}/test.log.txt", START + READY + FAULT)
    tree.write(f"{test}/VllmDecodeWorker/p.previous.log", line("2026-11-22T10:02:00Z"))
    tree.write(f"{test}/VllmDecodeWorker/p.log", line("2026-11-22T10:02:12Z"))
    tree.aiperf(f"{test}_overflow", 0, n=1, errors=9)
    tree.aiperf(f"{test}_recovery", 0, n=95, errors=5)
    found = {x["test"][len(test):]: x for x in json.loads(results("--format", "json")[1])["results"]}
    assert [(found[k]["startup_s"], found[k]["recovery_s"]) for k in ("_overflow", "_recovery")] == [(90, 12), (90, 12)]


# ---- what is found ----------------------------------------------------------------------------------------------------------
def test_logs_beside_results_are_not_lost(tree, results):
    tree.write("report/r.xml", '<testsuite><testcase name="a"/></testsuite>')
    tree.write("logs/a.log", "2026-11-22T10:00:00Z ERROR beside\n")
    tree.write("README.txt", "how these came about\n")
    found = json.loads(results("--format", "json")[1])["results"]
    assert [(r["test"], r["kind"], r["errors"]) for r in found] == [("report", "junit", 0), ("tree", "logs", 1)]
    (tree.root / "logs/a.log").unlink()
    assert [r["test"] for r in json.loads(results("--format", "json")[1])["results"]] == ["report"]  # a note alone is no result


def test_links_to_files_are_read_and_those_to_nowhere_named(tree, results):
    tree.write("elsewhere.txt", "2026-11-22T10:00:00Z ERROR linked\n")
    tree.write("t/test.log.txt", START)
    os.symlink("../elsewhere.txt", tree.root / "t/w.log")
    os.symlink("gone", tree.root / "t/dangling.log")
    os.symlink("..", tree.root / "t/loop")
    os.mkfifo(tree.root / "t/fifo.log")
    r = json.loads(results("--format", "json", folder=tree.root / "t")[1])["results"][0]
    assert (r["errors"], r["unreadable"]) == (1, 1)
    notes(r, "dangling.log cannot be read: No such file or directory")


def test_skipped_cases_have_not_passed(tree, results):
    tree.write("r.xml", '<testsuites><testsuite timestamp="2026-11-22T12:00:00+02:00" time="3.5"><testcase name="ok"/><testcase name="no">'
                        '<skipped/></testcase><testcase name="bad"><failure>told only here\nat line 2</failure></testcase></testsuite></testsuites>')
    r = only(results)
    assert (r["start"], r["end"]) == ("2026-11-22T10:00:00.000000Z", "2026-11-22T10:00:03.500000Z")
    assert [c["message"] for c in r["cases"]] == ["", "", "told only here\nat line 2"]
    row = table(results("--format", "markdown")[1], "TESTS AND LOGS")[0]
    assert row[2:5] == ["1 of 3 passed, 1 skipped", "2026-11-22T10:00:00.000Z", "3.50"]
    assert results("--min-success", "51")[0] == 1 and results("--min-success", "50")[0] == 0  # of those that ran


def test_the_parser_of_dynamo_takes_log_paths(tree, results):
    tree.aiperf("a", 0, n=80, errors=20)
    tree.aiperf("b", 0, n=90, errors=10)
    code, out, err = results("--log-paths", tree.root / "a", tree.root / "b", "--format", "json", folder=False)
    assert [r["test"] for r in json.loads(out)["results"]] == ["a", "b"], err
    code, _, err = results("--log-paths", tree.root / "a", "--min-success", "90", folder=False)
    assert code == 1 and "80.00 % succeeded" in err


def test_each_group_of_scenarios_has_its_own_table(tree, results):
    for prefix in ("vllm-agg", "sglang-disagg"):
        tree.legacy(f"test_fault_scenario[{prefix}-decode_worker]", 0, ["2026-11-22T10:00:00Z"])
        tree.legacy(f"test_fault_scenario[{prefix}-none]", 0, ["2026-11-22T10:00:00Z"])
    out = results("--format", "markdown")[1]
    for prefix in ("vllm-agg", "sglang-disagg"):
        assert [row[0] for row in table(out, f"FAULT TOLERANCE TESTS: {prefix}")] == ["none", "decode_worker"]


def test_the_mark_of_the_pytest_plugin(tree, results):
    mark = {"nodeid": "a.py::test_x", "outcome": "failed", "message": "assert 1 == 2", "attempts": 2, "seconds": 0.25}
    tree.write("test_x/.sonde-test", json.dumps(mark))
    tree.write("test_x/test.log.txt", START)
    for copy in ("report.txt", "flaky.txt", "test.log.jsonl"):  # what was written twice counts once
        tree.write(f"test_x/{copy}", "2026-11-22T10:00:00Z ERROR shown again\n")
    tree.write("test_x/attempt-1/test.log.txt", "[TEST] 2026-11-22T10:00:00Z ERROR root: earlier\n")
    tree.write("test_y/.sonde-test", json.dumps({"outcome": "interrupted"}))
    tree.write("test_y/test.log.txt", START)
    x, y = json.loads(results("--format", "json")[1])["results"]
    assert (x["outcome"], x["message"], x["seconds"], x["errors"]) == ("failed", "assert 1 == 2", 0.25, 0)
    assert y["outcome"] == ""
    notes(x, "this is attempt 2")
    notes(y, "interrupted")
    out = results("--format", "markdown")[1]
    assert table(out, "FAILED TESTS") == [["test_x", "0.250", "assert 1 == 2"]]


# ---- comparison -------------------------------------------------------------------------------------------------------------
def test_the_comparison_is_a_whole_page_and_escapes(tree, results):
    tree.aiperf("a/x", 0)
    tree.aiperf("b/x", 0, latency=400.0)
    tree.aiperf("b/<script>y", 0)
    code, out, _ = results(tree.root / "b", "--format", "html", folder=tree.root / "a")
    assert code == 0 and out.startswith("<!doctype html>") and out.rstrip().endswith("</html>")
    assert "<script" not in out and "&lt;script&gt;y: only in" in out
    rows = table(results(tree.root / "b", "--format", "markdown", folder=tree.root / "a")[1], "WHAT CHANGED")
    assert next(r for r in rows if r[1] == "mean latency (s)")[4:] == ["-50.0 %", "1 / 1", "N/A", "better"]


def test_the_worst_comes_first(tree, results):
    for run in range(3):
        tree.aiperf(f"a/{run}/x", 0, latency=100.0 + run / 10)
        tree.aiperf(f"b/{run}/x", 0, latency=120.0 + run / 10)
        tree.aiperf(f"a/{run}/y", 0, latency=100.0 + run / 10)
        tree.aiperf(f"b/{run}/y", 0, latency=300.0 + run / 10)
    rows = table(results(tree.root / "b", "--format", "markdown", folder=tree.root / "a")[1], "WHAT CHANGED")
    worse = [r[:2] for r in rows if r[7] == "worse"]
    assert worse[0][0] == "y" and worse[-1][0] == "x" and len(worse) == 4
