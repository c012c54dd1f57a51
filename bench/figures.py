#!/usr/bin/env python3
"""The README's table of figures out of what `make bench` wrote: figures.py build/bench.json"""
import json
import sys


def number(v):
    return f"{v:,.0f}" if v >= 10 else f"{v:.1f}"


def count(v):
    return f"{v / 1e6:.1f} million" if v >= 1e6 else f"{round(v / 1000):,d},000"


def span(d, text=number, unit=""):
    low, high = text(d["low"]), text(d["high"])
    return (low if low == high else f"{low} … {high}") + unit


def ms(d):
    return span({k: v / 1e3 for k, v in d.items()}, unit=" ms")


def rows(log, store, server):
    lines, spans, floor = server["loki_lines"], server["otlp_spans"], server["floors"]
    slowest = max(lines["ack_ms_max"]["high"], spans["ack_ms_max"]["high"])
    return [
        ("log call, 4 fields, warm: p50", span(log["warm_p50_ns"], unit=" ns"), f"clock read {span(log['clock_ns'])} ns, taken off"),
        ("  p99", span(log["warm_p99_ns"], unit=" ns"), ""),
        ("  cold (after 0.5 ms of something else): p50", span(log["cold_p50_ns"], unit=" ns"), ""),
        ("  below the filter's level", span(log["disabled_ns"], unit=" ns"), ""),
        ("span, start and end", span(log["span_ns"], unit=" ns"), ""),
        ("JSON lines formatted, one core", span(log["json_lines_per_s"], count, "/s"), "to /dev/null"),
        ("Loki lines accepted and synced, a server core", span(lines["per_core"], count, "/s"), ""),
        ("  the same in bytes of lines", span(lines["mb_per_core"], unit=" MB/s"), f"memcpy {span(floor['memcpy_gb_per_s'])} GB/s"),
        ("OTLP spans accepted and synced, a server core", span(spans["per_core"], count, "/s"), ""),
        ("acknowledgement with 4 senders: p50, lines", span(lines["ack_ms_p50"], unit=" ms"), f"fdatasync of 4 KiB {ms(floor['fdatasync_4k_us_p50'])}"),
        ("  p50, spans", span(spans["ack_ms_p50"], unit=" ms"), ""),
        ("  slowest", f"{number(slowest)} ms", f"slowest fdatasync {number(floor['fdatasync_4k_us_max']['high'] / 1e3)} ms"),
        ("bytes a stored line", span(store["part_bytes_per_row"]), f"{span(store['request_bytes_per_row'])} in its request"),
        ("ready, empty directory", f"p50 {number(server['ready_ms']['p50'])} ms, max {number(server['ready_ms']['max'])} ms",
         f"{server['ready_ms']['starts']} starts, process start included"),
        ("idle RSS", f"{number(server['idle_mib']['rss'])} MiB", ""),
        ("program, stripped", f"{number(server['binary_mib'])} MiB", ""),
    ]


def main():
    figures = json.load(open(sys.argv[1]))
    print("| | | floor |\n|---|--:|---|")
    for what, value, floor in rows(figures["log"], figures["store"], figures["server"]):
        print(f"| {'&nbsp;&nbsp;' if what.startswith('  ') else ''}{what.strip()} | {value} | {floor} |")


if __name__ == "__main__":
    main()
