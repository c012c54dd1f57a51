#!/usr/bin/env python3
"""The README's tables of figures out of what `make bench` and `make bench-peers` wrote:

  figures.py build/bench.json [--print]

writes them into README.md between <!-- figures --> and <!-- /figures -->, and, where build/bench_peers.json is there, too, between
<!-- peers --> and <!-- /peers -->. --print: to standard output alone.
"""
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def number(v):
    if v >= 10 or v == 0:
        return f"{v:,.0f}"
    return f"{v:.1f}" if v >= 0.1 else f"{v:.3f}" if v >= 0.0005 else "0"


def count(v):
    return f"{v / 1e6:.1f} million" if v >= 1e6 else f"{round(v / 1000):,d},000"


def span(d, text=number, unit=""):
    low, high = text(d["low"]), text(d["high"])
    if low == high:
        return low + unit
    if text is count and low.endswith(" million") and high.endswith(" million"):
        low = low.removesuffix(" million")
    return f"{low} … {high}{unit}"


def ms(d):
    return span({k: v / 1e3 for k, v in d.items()}, unit=" ms")


def calls(log):
    """ns a call, by quantile: where, p50, p90, p99, p99.9, floor."""
    clock, copy = span(log["clock_ns"]), span(log["copy64_ns"])
    rows = [
        ("warm, 1 thread, to /dev/null", "warm", f"clock read {clock} (taken off), 64-byte copy {copy}"),
        ("warm, 1 thread, to a file", "file1", ""),
        ("warm, 2 threads, to a file", "file2", ""),
        ("one call after 0.5 ms asleep", "cold", "cold_clock_ns"),
        ("after 0.5 ms of reading and writing 4 MiB (more than a core's caches)", "cold_caches", "cold_caches_clock_ns"),
        ("after 0.5 ms in 32 MiB (more than its TLB, too)", "cold_pages", "cold_pages_clock_ns"),
    ]
    for what, key, floor in rows:
        quantiles = [span(log[f"{key}_{q}_ns"]) for q in ("p50", "p90", "p99", "p999")]
        yield (what, *quantiles, f"clock read, as cold: {span(log[floor])}" if floor in log else floor)


def rows(log, traced, loss, store, samples, server):
    lines, spans, floor = server["loki_lines"], server["otlp_spans"], server["floors"]
    slowest = max(lines["ack_ms_max"]["high"], spans["ack_ms_max"]["high"])
    yield "log call below the filter's level", span(log["disabled_ns"], unit=" ns"), ""
    yield "  kept only by the flight recorder (mean of a loop)", span(log["held_ns"], unit=" ns"), f"written out: {span(log['loop_mean_ns'])} ns"
    for key, what, encode in (("span_ns", "span, start and end", "span_encode_ns"), ("span_ten_ns", "  with ten attributes", "span_ten_encode_ns")):
        yield what, span(traced[key], unit=" ns"), f"encoded as OTLP by the exporter: {span(traced[encode])} ns"
    yield "  not sampled", span(traced["span_unsampled_ns"], unit=" ns"), ""
    yield "JSON lines, the backend alone, one core: to a file", span(log["json_file_lines_per_s"], count, "/s"), \
        f"zeros to the file {span(log['file_gb_per_s'])} GB/s"
    yield "  to /dev/null", span(log["json_lines_per_s"], count, "/s"), ""
    for n, threads in (("1", "1 thread"), ("2", "2 threads")):
        yield f"a million records flat out, {threads}, sink that blocks: lost", span(loss[f"block{n}_lost_percent"], unit=" %"), \
            f"{span(loss[f'block{n}_lines_per_s'], count)} lines/s to the file"
        yield "  sink that drops (ring of 8 MiB): lost, all counted" if loss[f"drop{n}_uncounted"]["high"] == 0 else "  NOT ALL COUNTED", \
            span(loss[f"drop{n}_lost_percent"], unit=" %"), f"{span(loss[f'drop{n}_lines_per_s'], count)} lines/s to the file"
    yield "missing after SIGKILL of 10,000 records: 1 thread; 64 threads", \
        f"{span(loss['kill1_missing'])}; {span(loss['kill64_missing'])}", ""
    yield "memory of a thread", span(loss["thread_kib"], unit=" KiB"), ""
    yield "CPU of an idle process", span(loss["idle_percent"], unit=" %"), f"in the second after a record {span(loss['idle_naps_percent'])} %"
    yield "Loki lines accepted and synced, a server core", span(lines["per_core"], count, "/s"), ""
    yield "  the same in bytes of lines", span(lines["mb_per_core"], unit=" MB/s"), f"memcpy {span(floor['memcpy_gb_per_s'])} GB/s"
    yield "OTLP spans accepted and synced, a server core", span(spans["per_core"], count, "/s"), ""
    yield "acknowledgement with 4 senders: p50, lines", span(lines["ack_ms_p50"], unit=" ms"), \
        f"fdatasync of 4 KiB {ms(floor['fdatasync_4k_us_p50'])}"
    yield "  p50, spans", span(spans["ack_ms_p50"], unit=" ms"), ""
    yield "  slowest", f"{number(slowest)} ms", f"slowest fdatasync {number(floor['fdatasync_4k_us_max']['high'] / 1e3)} ms"
    yield "bytes a stored line", span(store["part_bytes_per_row"]), f"{span(store['request_bytes_per_row'])} in its request"
    yield "metric samples decoded from remote write, logged, stored (no network), two cores", span(samples["samples_per_s"], count, "/s"), \
        f"CPU of all threads {span(samples['cpu_us_per_sample'], unit=' µs')} a sample"
    yield "bytes a stored sample, index included", span(samples["bytes_per_sample"]), f"before merging {span(samples['bytes_per_sample_before'])}"
    yield "one metric of all targets, 288,000 samples read", span(samples["metric_ms"], unit=" ms"), ""
    yield "ready, empty directory", f"p50 {number(server['ready_ms']['p50'])} ms, max {number(server['ready_ms']['max'])} ms", \
        f"{server['ready_ms']['starts']} starts, process start included"
    yield "idle RSS", f"{number(server['idle_mib']['rss'])} MiB", ""
    yield "program, stripped", f"{number(server['binary_mib'])} MiB", ""


def markdown(head, align, table):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(align) + "|"]
    for row in table:
        first = f"&nbsp;&nbsp;{row[0].strip()}" if row[0].startswith("  ") else row[0]
        lines.append("| " + " | ".join([first, *row[1:]]) + " |")
    return "\n".join(lines)


def own_tables(f):
    return "\n\n".join((
        markdown(("ns a log call with 4 fields", "p50", "p90", "p99", "p99.9", "floor"), ("---", "--:", "--:", "--:", "--:", "---"), calls(f["log"])),
        markdown(("", "", "floor or note"), ("---", "--:", "---"), rows(f["log"], f["span"], f["loss"], f["store"], f["samples"], f["server"]))))


def peers_table(f):
    """Medians and ranges of libsonde and its peers, measured in turns."""
    def cell(p, key, scale=1.0):
        d = p.get(key)
        return span({k: v * scale for k, v in d.items()}) if d else ""

    def row(name, p):
        return (name, cell(p, "file1.mean_ns"), cell(p, "file1.warm_p99_ns"), cell(p, "file1.warm_p999_ns"), cell(p, "file2.mean_ns"),
                cell(p, "file2.warm_p999_ns"), cell(p, "file1.cold_p50_ns"), cell(p, "null1.disabled_ns"), cell(p, "whole1.lines_per_s", 1e-6),
                cell(p, "flat1.lost_share", 100))

    head = ("ns a call", "mean", "p99", "p99.9", "2 threads: mean", "p99.9", "cold p50", "disabled", "million lines/s, none lost", "% lost flat out")
    versions = ", ".join(f"{k} {v}" for k, v in f["versions"].items())
    floors = ", ".join(f"{what} {span(f['floors'][k])} ns" for what, k in (("clock read", "tick_ns"), ("64-byte copy", "copy64_ns")) if k in f["floors"])
    missing = f" Not built here: {', '.join(f['left_out'])}." if f["left_out"] else ""
    return (markdown(head, ("---", *["--:"] * (len(head) - 1)), (row(n, p) for n, p in f["peers"].items())) +
            f"\n\n{f['machine']}; floors: {floors}; load {number(f['load']['low'])} … {number(f['load']['high'])}; {versions}.{missing}")


def put(text, name, table):
    done, n = re.subn(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)
    if n != 1:
        sys.exit(f"figures.py: README.md must have <!-- {name} --> and <!-- /{name} --> once")
    return done


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        tables = {"figures": own_tables(json.load(f))}
    peers = os.path.join(os.path.dirname(sys.argv[1]), "bench_peers.json")
    if os.path.exists(peers):
        with open(peers, encoding="utf-8") as f:
            tables["peers"] = peers_table(json.load(f))
    if "--print" in sys.argv:
        print("\n\n".join(tables.values()))
        return
    readme = os.path.join(ROOT, "README.md")
    with open(readme, encoding="utf-8") as f:
        text = f.read()
    for name, table in tables.items():
        text = put(text, name, table)
    with open(readme, "w", encoding="utf-8") as f:
        f.write(text)
    print(f"README.md: {', '.join(tables)} written" + ("" if "peers" in tables else " (peers: run make bench-peers first)"))


if __name__ == "__main__":
    main()
