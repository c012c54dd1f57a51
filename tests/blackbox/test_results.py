"""`sonde results`: trees of test results as a person finds them on a disk, written here file by file, and what is told about them."""
import csv
import io
import json
import os

import pytest

from results_tree import END, FAULT, READY, START, only, results, tree  # noqa: F401


# ---- aiperf -------------------------------------------------------------------------------------------------------------
def test_the_summary_of_an_aiperf_test_line_by_line(tree, results):
    test = "test_fault_scenario[vllm-agg-decode_worker_pod]"
    tree.write(f"{test}/test.log.txt", START + READY + FAULT + END)
    tree.aiperf(test, 0, n=50, latency=800.0)
    tree.aiperf(test, 1, n=50, latency=900.0, errors=5)
    tree.write(f"{test}/VllmDecodeWorker/pod-1.previous.log", "2026-11-22T10:02:03.250000Z  INFO x: last words\n")
    tree.write(f"{test}/VllmDecodeWorker/pod-1.log", "2026-11-22T10:02:33.750000Z  INFO x: first words\n")
    code, out, err = results("--format", "markdown", "--sla", "0.9")
    assert code == 0, err
    table = out[out.index("| Metric"):].split("\n\n")[0]
    rows = [tuple(c.strip() for c in line.strip("|").split("|")) for line in table.splitlines()[2:]]
    assert rows == [
        ("Test Directory", str(tree.root / test)), ("Number of Clients", "2"), ("Failure", "VllmDecodeWorker: delete_pod"),
        ("Startup Time", "90.00 sec"), ("Recovery Time", "30.50 sec"), ("Recovery of VllmDecodeWorker", "30.50 sec"),
        ("Total Requests", "105"), ("Successful Requests", "100"), ("Failed Requests", "5"), ("Success Rate", "95.24 %"),
        ("Mean Latency (s)", "0.850 ✓ (target 0.9)"), ("P50 Latency (s)", "0.810"), ("P90 Latency (s)", "1.080"),
        ("P99 Latency (s)", "1.800"), ("Mean TTFT (s)", "0.120"), ("Mean ITL (s)", "0.0055"), ("Throughput (req/s)", "7.00"),
        ("Throughput per Client (req/s)", "3.50"),
    ]


def test_the_grid_as_a_terminal_shows_it(tree, results):
    tree.write("a/run.log", "2026-11-22 10:00:00,250 INFO up\n2026-11-22 10:00:01,500 ERROR worker 17 is gone\n")
    code, out, err = results(folder=tree.root / "a")
    assert code == 0, err
    assert out == """
TESTS AND LOGS
+------+------+---------+--------------------------+--------------+-----------+--------+----------+
| Test | Kind | Outcome | Start                    | Duration (s) | Log Lines | Errors | Warnings |
+======+======+=========+==========================+==============+===========+========+==========+
| a    | logs |         | 2026-11-22T10:00:00.250Z |         1.25 |         2 |      1 |        0 |
+------+------+---------+--------------------------+--------------+-----------+--------+----------+

ERRORS BY SHAPE
+------+-------+-------+-------------------+------------+
| Test | Level | Count | Error             | First Seen |
+======+=======+=======+===================+============+
| a    | ERROR |     1 | worker 17 is gone | run.log:2  |
+------+-------+-------+-------------------+------------+
"""


def test_of_the_attempts_the_first_with_a_result_counts(tree, results):
    tree.write("t/client_0/attempt_0/genai_perf.log", "gave up\n")
    tree.aiperf("t", 0, n=10, attempt=1)
    tree.aiperf("t", 0, n=99, attempt=2)
    assert only(results)["load"]["requests"] == 10


def test_a_cancelled_client_has_only_failures(tree, results):
    tree.aiperf("t", 0, n=10)
    tree.aiperf("t", 1, n=7, was_cancelled=True)
    tree.aiperf("t", 2, n=0, was_cancelled=True, request_count=None, input_config={"loadgen": {"request_count": 20}})
    r = only(results)
    assert (r["load"]["requests"], r["load"]["failed"], r["load"]["cancelled_clients"]) == (37, 27, 2)
    assert any("client_1 was cancelled" in n for n in r["notes"])


def test_missing_counts_fall_back_on_what_is_told(tree, results):
    tree.write("t/client_0/attempt_0/profile_export_aiperf.json", json.dumps({
        "input_config": {"loadgen": {"request_count": 40}}, "error_summary": [{"count": 3}, {"count": 1}]}))
    r = only(results)
    assert (r["load"]["requests"], r["load"]["succeeded"], r["load"]["failed"], r["load"]["latency_s"]) == (40, 36, 4, None)


def test_csv_where_the_json_is_missing_and_nothing_where_both_are(tree, results):
    tree.write("t/client_0/attempt_0/profile_export_aiperf.csv",
               "Metric,avg,min,max,p99,p90,p50\nRequest Latency (ms),\"750.00\",1,2,1500.00,900.00,700.00\n\n"
               "Metric,Value\nRequest Count,25\nError Request Count,5\n")
    tree.write("t/client_1/attempt_0/genai_perf.log", "started\n")
    r = only(results)
    assert (r["load"]["clients"], r["load"]["requests"], r["load"]["failed"], r["load"]["latency_s"], r["load"]["latency_p99_s"]) == (2, 30, 5, 0.75, 1.5)
    assert any("client_1 wrote no profile_export_aiperf.json" in n for n in r["notes"])


def test_a_truncated_json_is_named_and_costs_only_its_client(tree, results):
    tree.aiperf("t", 0, n=10)
    path = tree.aiperf("t", 1, n=10)
    path.write_text(path.read_text()[:60])
    r = only(results)
    assert r["load"]["requests"] == 10
    assert any("client_1/attempt_0/profile_export_aiperf.json is damaged" in n for n in r["notes"])


def test_each_request_where_records_are_kept(tree, results):
    tree.aiperf("t", 0)
    records = [{"metadata": {"request_start_ns": 1795341600_000000000 + i * 10**9, "x_request_id": f"r{i}"},
                "metrics": {"request_latency": {"value": 700.0 + i, "unit": "ms"}, "time_to_first_token": {"value": 90.0}},
                "error": {"message": "Connection refused"} if i == 3 else None} for i in range(10)]
    tree.write("t/client_0/attempt_0/profile_export.jsonl", "".join(json.dumps(r) + "\n" for r in records) + '{"meta')
    r = only(results)
    assert [q["id"] for q in r["slowest"]] == ["r9", "r8", "r7", "r6", "r5"]
    assert [(q["id"], q["error"], q["start"]) for q in r["failed_requests"]] == [("r3", "Connection refused", "2026-11-22T10:00:03.000000Z")]


def test_overflow_and_recovery_are_one_test_in_two_phases(tree, results):
    tree.aiperf("test_token[x]_overflow", 0, n=10, errors=90)
    tree.aiperf("test_token[x]_recovery", 0, n=95, errors=5)
    code, out, _ = results("--format", "markdown")
    assert code == 0
    phases = out[out.index("## SUCCESS BY PHASE"):]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in phases.splitlines() if line.startswith("| test_token")]
    assert [(c[1], c[2], c[3], c[4], c[6]) for c in cells[:3]] == [
        ("overflow", "100", "90", "10.00 %", "failed ✗"), ("recovery", "100", "5", "95.00 %", "passed ✓"),
        ("combined", "200", "95", "52.50 %", "failed ✗")]


# ---- the older client ---------------------------------------------------------------------------------------------------
def test_before_and_after_the_fault(tree, results):
    test = "test_fault_scenario[agg-decode_worker]"
    tree.write(f"{test}/test.log.txt", START + FAULT + END)
    tree.legacy(test, 0, [f"2026-11-22T10:01:{i:02d}Z" for i in range(10)], ok=lambda i: i != 4)
    tree.legacy(test, 1, [f"2026-11-22T10:02:{i:02d}Z" for i in range(10)], ok=lambda i: i >= 5, tail='{"time": "2026-11')
    tree.write(f"{test}/decode.log.txt", "[DECODE] 2026-11-22T10:00:20Z  INFO x: worker ready\n"
                                         "[DECODE] \x1b[2m2026-11-22T10:02:12.500000Z\x1b[0m \x1b[32m INFO\x1b[0m x: worker ready\n")
    tree.legacy("test_fault_scenario[agg-none]", 0, ["2026-11-22T09:00:00"])
    code, out, err = results("--format", "csv")
    assert code == 0, err
    assert [r["failure"] for r in csv.DictReader(io.StringIO(out))] == ["none", "decode_worker"]  # the order of the table
    code, out, err = results("--format", "markdown", "--sla", "1.55")
    table = [[c.strip() for c in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("| decode_worker")]
    assert table == [["decode_worker", "20.00", "9", "1", "5", "5", "1.46", "1.70", "4", "4", "12.50"]]
    assert "client_1.log.txt: 1 line left out, no whole result (line 11 first)" in out


def test_a_fault_before_any_request_and_text_choices(tree, results):
    tree.write("t/test.log.txt", FAULT)
    line = {"time": 1795341721.5, "results": [{"status": 503, "request_elapsed_time": 0.1, "result": "busy"},
                                              {"status": 200, "request_elapsed_time": 2.0, "result": {"choices": [{"text": "é" * 100}]}}]}
    tree.write("t/client_0.log.txt", json.dumps(line) + "\n" + json.dumps({"time": "2026-11-22 10:02:05", "results": []}) + "\n")
    r = only(results)
    assert [(p["phase"], p["succeeded"], p["failed"]) for p in r["phases"]] == [("before", 0, 0), ("after", 1, 1)]


def test_both_kinds_of_load_files(tree, results):
    tree.aiperf("t", 0, n=10)
    tree.legacy("t", 0, ["2026-11-22T10:00:00Z"])
    r = only(results)
    assert (r["kind"], r["load"]["requests"]) == ("aiperf", 10) and any("both kinds" in n for n in r["notes"])
    r = only(results, "--force-parser", "legacy")
    assert (r["kind"], r["load"]["requests"]) == ("legacy", 1)
    (tree.root / "t/client_0.log.txt").unlink()
    code, _, err = results("--force-parser", "legacy")
    assert code == 2 and "cannot be read as legacy" in err


# ---- clocks, components, logs -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hours", [-7, 2, 5.5])
def test_a_test_log_in_local_time_is_brought_to_utc(tree, results, hours):
    def local(minute):
        at = 10 * 60 + minute + int(hours * 60)
        return f"2026-11-22T{at // 60:02d}:{at % 60:02d}:00"

    tree.write("t/test.log.txt", "".join(f"[TEST] {local(m)} INFO root: {text}\n" for m, text in (
        (0, "Starting Deployment d"), (1, "Deployment d is ready"), (2, "Injecting failure for: Failure(pod_name='p', command='kill')"))))
    tree.write("t/decode.log.txt", "[DECODE] 2026-11-22T10:00:30Z  INFO x: worker ready\n[DECODE] 2026-11-22T10:02:40Z  INFO x: worker ready\n")
    r = only(results)
    assert (r["start"], r["fault"]) == ("2026-11-22T10:00:00.000000Z", "2026-11-22T10:02:00.000000Z")
    assert (r["startup_s"], r["components"][0]["recovery_s"]) == (60.0, 40.0)
    assert any(f"{hours:+.2f} hours" in n for n in r["notes"])


def test_a_crash_loop_is_called_one(tree, results):
    tree.write("t/test.log.txt", START)
    tree.write("t/decode.log.txt", "".join(f"[DECODE] 2026-11-22T10:0{i}:00Z  INFO x: worker ready\n" for i in range(4)))
    tree.write("t/prefill.log.txt", "[PREFILL] 2026-11-22T10:00:00Z  INFO x: worker ready\n")
    r = only(results)
    assert {c["name"]: (c["starts"], c["crash_loop"]) for c in r["components"]} == {"decode": (4, True), "prefill": (1, False)}


def test_errors_of_one_shape_are_one_row_whatever_their_form(tree, results):
    tree.write("t/a.jsonl", "".join(json.dumps({"time": "2026-11-22T10:00:00Z", "level": "ERROR", "message": f"request {i} lost after {i}.5ms"}) + "\n"
                                    for i in range(30)) + '{"time":"2026-11-22T10:00:01Z","level":"WARN","message":"slow"}\n{"trunc')
    tree.write("t/b.log", "2026-11-22T10:00:00Z ERROR request 7 lost after 3.5ms\nTraceback (most recent call last):\n"
                          "  File \"w.py\", line 3, in f\nValueError: no worker 17\nplain text with no level at all\n")
    r = only(results)
    assert (r["errors"], r["warnings"]) == (32, 1)
    assert [(s["count"], s["shape"], s["file"], s["line"]) for s in r["error_shapes"] if s["level"] == "ERROR"] == [
        (31, "request <n> lost after <n>", "t/a.jsonl", 1), (1, "ValueError: no worker <n>", "t/b.log", 2)]


def test_junit(tree, results):
    tree.write("report.xml", '<?xml version="1.0"?><testsuites><testsuite><testcase classname="a.b" name="t1" time="0.5"/>'
                             '<testcase classname="a.b" name="t&lt;2&gt;" time="1.5"><failure message="assert 1 &lt; 0">x</failure></testcase>'
                             '<testcase classname="a" name="t3"><skipped message="no GPU"/></testcase></testsuite></testsuites>')
    r = only(results)
    assert [(c["name"], c["outcome"], c["message"]) for c in r["cases"]] == [
        ("a.b::t1", "passed", ""), ("a.b::t<2>", "failed", "assert 1 < 0"), ("a::t3", "skipped", "no GPU")]
    tree.write("report.xml", '<testsuite><testcase name="t1"/><testcase name="t2"')
    r = only(results)
    assert len(r["cases"]) == 1 and any("report.xml is damaged from line 1" in n for n in r["notes"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(tree, results):
    tree.write("t/a.log", "INFO x\n")
    tree.write("t/b.log", "INFO x\n").chmod(0)
    assert any("b.log cannot be read: Permission denied" in n for n in only(results)["notes"])


def test_deep_trees_and_loops_of_links_end(tree, results):
    tree.write("t/test.log.txt", START)
    os.symlink(tree.root, tree.root / "t/loop")
    tree.write("/".join(["d"] * 30) + "/x.log", "ERROR deep\n")
    code, out, err = results("--info")
    assert code == 0 and "pytest" in out, err


# ---- verdicts, forms, comparison --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("args, code, said", [
    (["--min-success", "90"], 1, "t: 80.00 % succeeded, wanted are 90 %"),
    (["--min-success", "80"], 0, ""),
    (["--sla", "0.5"], 1, "t: mean latency 0.800 s is above 0.5 s"),
    (["--sla", "nonsense"], 2, "--sla nonsense: a number above 0"),
    (["--min-success", "101"], 2, "up to 100"),
    (["--format", "xml"], 2, "format"),
])
def test_targets_decide_the_exit_code(tree, results, args, code, said):
    tree.aiperf("t", 0, n=80, errors=20)
    got = results(*args)
    assert got[0] == code and said in got[2], got


def test_folders_that_are_none(tree, results):
    code, _, err = results(folder=tree.root / "absent")
    assert code not in (0, 1) and err == f"sonde: {tree.root}/absent: No such file or directory\n"
    code, _, err = results()
    assert code != 0 and "holds nothing that is a result" in err
    code, _, err = results(folder=False)
    assert code == 2 and "sonde results DIR" in err and "--log-paths" in err


def test_html_stands_alone_and_escapes(tree, results):
    tree.aiperf("t", 0, n=80, errors=20)
    tree.write("t/x.log", "ERROR <script>alert(1)</script>\n")
    code, out, _ = results("--format", "html", "--min-success", "90")
    assert code == 1
    assert "<script" not in out and "&lt;script&gt;" in out and "<svg" in out and "Targets were missed" in out
    assert "http://" not in out and "https://" not in out


def test_two_trees_and_what_got_worse(tree, results):
    for run in range(4):
        tree.aiperf(f"a/run{run}/test_x", 0, n=500, latency=800.0 + run)
        tree.aiperf(f"b/run{run}/test_x", 0, n=450, errors=50, latency=950.0 + run)
    tree.aiperf("a/run0/test_only", 0)
    code, out, err = results(tree.root / "b", "--format", "json", folder=tree.root / "a")
    assert code == 1, err
    changes = {c["metric"]: c for c in json.loads(out)}
    assert changes["success"]["worse"] and changes["success"]["p"] < 1e-6
    assert changes["mean latency"]["worse"] and changes["mean latency"]["repetitions_before"] == 4 and changes["mean latency"]["p"] < 1e-6
    assert not changes["throughput"]["worse"] and not changes["TTFT"]["worse"]
    code, out, _ = results(tree.root / "a", "--format", "markdown", folder=tree.root / "a")
    assert code == 0 and "worse" not in out
    _, out, _ = results(tree.root / "b", folder=tree.root / "a")
    assert "test_only: only in " in out


def test_chance_is_not_called_worse(tree, results):
    for run, (before, after) in enumerate(zip((780, 820, 800, 790), (800, 830, 770, 795))):
        tree.aiperf(f"a/run{run}/test_x", 0, latency=float(before))
        tree.aiperf(f"b/run{run}/test_x", 0, latency=float(after))
    code, out, _ = results(tree.root / "b", "--format", "json", folder=tree.root / "a")
    latency = next(c for c in json.loads(out) if c["metric"] == "mean latency")
    assert code == 0 and not latency["worse"] and latency["p"] > 0.2
