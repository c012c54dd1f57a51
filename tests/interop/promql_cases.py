"""The samples and the expressions over which Prometheus and Sonde are compared.

No sample lies on the edge of a window (samples come at odd milliseconds, evaluation at whole half seconds): Prometheus 3.0 took the
older edge out of windows, Debian's 2.42 has it.
"""
import math
import random

START = 1_700_000_000_000  # ms
MINUTES = 40


def samples():
    r = random.Random(7)
    out = []

    def times(phase=4321, every=15000, gap=0.0):
        return [START + t + phase + r.randrange(40) for t in range(0, MINUTES * 60000, every) if r.random() >= gap]

    for job in ("api", "web", "db"):
        for instance in ("0", "1", "2"):
            for code in ("200", "500"):
                v, points = 60.0, []
                for t in times(phase=1000 + 3000 * int(instance)):
                    v = r.random() * 3 if r.random() < 0.01 else v + r.expovariate(1 / 9 if code == "200" else 2)
                    points.append((t, round(v, 3)))
                if job == "db" and instance == "2":
                    points = points[: len(points) // 2] + [(points[len(points) // 2][0], None)]  # ends with a stale marker
                if job == "web" and instance == "1":
                    points = points[40:70] + points[100:]  # a hole longer than the lookback
                out.append(({"__name__": "requests_total", "job": job, "instance": instance, "code": code}, points))
    for job in ("api", "web"):
        for instance in ("0", "1", "2", "10"):
            points = [(t, round(20 + 10 * math.sin(t / 3e5 + len(out)) + r.gauss(0, 1), 4)) for t in times(gap=0.1)]
            out.append(({"__name__": "temperature", "job": job, "instance": instance, "unit": "c"}, points))
    out.append(({"__name__": "temperature", "job": "odd", "instance": "nan"}, [(t, math.nan if i % 3 else 1.5) for i, t in enumerate(times())]))
    out.append(({"__name__": "temperature", "job": "odd", "instance": "inf"}, [(t, (-1) ** i * math.inf if i % 4 == 0 else i) for i, t in enumerate(times())]))
    out.append(({"__name__": "temperature", "job": "odd", "instance": "neg"}, [(t, -i * 0.5) for i, t in enumerate(times())]))
    out.append(({"__name__": "sparse", "job": "api"}, [(t, float(i)) for i, t in enumerate(times(every=290000))]))
    out.append(({"__name__": "constant", "job": "api"}, [(t, 3.0) for t in times()]))
    out.append(({"__name__": "steps", "job": "api"}, [(t, float(i // 8)) for i, t in enumerate(times())]))
    for job in ("api", "web"):
        counts, points = {}, {}
        bounds = ["0.1", "0.5", "1", "2.5", "+Inf"]
        for t in times():
            for _ in range(r.randrange(8)):
                x = r.expovariate(1.2)
                for b in bounds:
                    counts[b] = counts.get(b, 0) + (x <= float(b.replace("+Inf", "inf")))
            for b in bounds:
                points.setdefault(b, []).append((t, float(counts.get(b, 0))))
        for b in bounds:
            out.append(({"__name__": "latency_seconds_bucket", "job": job, "le": b}, points[b]))
        out.append(({"__name__": "latency_seconds_count", "job": job}, points["+Inf"]))
        out.append(({"__name__": "latency_seconds_sum", "job": job}, [(t, v * 0.8) for t, v in points["+Inf"]]))
    for job, version in (("api", "1.2"), ("web", "1.3"), ("db", "0.9")):
        out.append(({"__name__": "build_info", "job": job, "version": version}, [(t, 1.0) for t in times()]))
    for i in range(12):
        out.append(({"__name__": "node", "name": f"n{i}", "rack": f"r{i % 3}"}, [(t, float((i * 7 + k) % 11)) for k, t in enumerate(times())]))
    return out


def expressions():
    out = []
    ranges = ("1m", "90s", "5m", "7m30s")
    simple = ("rate increase delta irate idelta deriv resets changes sum_over_time avg_over_time min_over_time max_over_time count_over_time "
              "last_over_time present_over_time stddev_over_time stdvar_over_time absent_over_time").split()
    for f in simple:
        for sel in ("requests_total", "temperature" if f not in ("rate", "increase") else "requests_total{job!='web'}", "steps", "sparse", "requests_total{job='nope',code=\"1\"}"):
            out += [f"{f}({sel}[{w}])" for w in (ranges if sel in ("requests_total", "temperature") else ranges[2:])]
    for q in ("0", "0.25", "0.5", "0.99", "1", "-1", "2", "NaN"):
        out += [f"quantile_over_time({q}, temperature[5m])", f"quantile({q}, temperature)", f"quantile by (job) ({q}, temperature)",
                f"histogram_quantile({q}, rate(latency_seconds_bucket[5m]))", f"histogram_quantile({q}, sum by (le) (latency_seconds_bucket))"]
    out += [f"predict_linear(temperature[5m], {n})" for n in ("60", "3600", "-60")]
    out += [f"holt_winters(temperature[5m], {a}, {b})" for a, b in ((0.1, 0.9), (0.5, 0.5))]
    for f in "abs ceil floor exp ln log2 log10 sqrt sgn sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad".split():
        out += [f"{f}(temperature)", f"{f}(temperature / 40)"]
    out += ["round(temperature)", "round(temperature, 0.25)", "round(temperature, 5)", "clamp(temperature, 10, 20)", "clamp(temperature, 20, 10)",
            "clamp_min(temperature, 20)", "clamp_max(temperature, 20)", "clamp_max(temperature, NaN)"]
    out += [f"{f}(temperature{{job!='odd'}} * 1e8)" for f in "minute hour day_of_month day_of_week day_of_year days_in_month month year".split()]
    out += [f"{f}()" for f in "minute hour day_of_month day_of_week day_of_year days_in_month month year".split()]
    out += ["timestamp(temperature)", "timestamp(temperature offset 1m)", "timestamp(-temperature)", "timestamp((temperature))", "time()", "pi()",
            "vector(1)", "vector(time())", "scalar(constant)", "scalar(temperature)", "scalar(nope)", "1", "1 + 2 * 3 ^ 2 ^ 0.5 % 7", "-1 ^ 2",
            "Inf - Inf", "1 / 0", "-1 / 0", "0 / 0", "5 % 3", "-5 % 3", "5.5 % 0", "2 ^ -1", "1 == bool 1", "1 < bool 0", "0x10 + 010"]
    groupings = ("", "by (job) ", "by (instance, job) ", "without (instance) ", "by () ", "without () ", "by (nope) ")
    for agg in "sum avg min max count group stddev stdvar".split():
        out += [f"{agg} {g}(temperature{{instance!~'inf|nan'}})" for g in groupings] + [f"{agg} {g}(rate(requests_total[2m]))" for g in groupings]
    for agg in "topk bottomk".split():
        out += [f"{agg} {g}({k}, rate(requests_total[2m]))" for g in groupings[:4] for k in ("1", "3", "100", "0", "-1")]
        out += [f"{agg}(2, temperature)", f"{agg} by (job) (1, temperature)"]
    out += ["count_values('v', steps)", "count_values by (job) ('v', round(temperature, 10))", "count_values without (instance) ('job', temperature > 0)",
            "sum(temperature) by (job)", "sum(nope)", "topk(scalar(sparse), temperature)"]
    for op in "+ - * / % ^ atan2 == != < <= > >=".split():
        few = [f"temperature {op} 20", f"20 {op} temperature", f"temperature {op} temperature", f"temperature {op} on (job, instance) temperature",
               f"requests_total {op} ignoring (code) group_left sum without (code) (requests_total)",
               f"sum without (code) (requests_total) {op} ignoring (code) group_right requests_total"]
        out += [f"abs({e})" for e in few] if op == "atan2" else few  # 2.42 left the name there
    for op in "== != < <= > >=".split():
        out += [f"temperature {op} bool 20", f"20 {op} bool temperature", f"temperature {op} bool on (job, instance) (temperature offset 1m)"]
    out += ["requests_total * on (job) group_left (version) build_info", "build_info * on (job) group_right (version) requests_total",
            "requests_total * on (job) build_info", "build_info * on (job) requests_total", "requests_total + on (job, instance) requests_total",
            "sum by (job) (requests_total) / on (job) group_left () sum by (job) (temperature)", "temperature - temperature offset 5m",
            "build_info * on (job) group_left (nope) build_info", "requests_total * on (job, nope) group_left build_info"]
    for op in ("and", "or", "unless"):
        out += [f"temperature {op} requests_total", f"temperature {op} on (job) requests_total", f"temperature {op} ignoring (unit, code) requests_total",
                f"(temperature > 20) {op} (temperature < 25)", f"requests_total{{code='500'}} {op} on (job, instance) requests_total{{code='200'}}",
                f"temperature {op} on () vector(1)", f"temperature {op} nope", f"nope {op} temperature"]
    out += ["a or b", "absent(nope)", "absent(nope{a='b', c!='d', e=~'f', g='h', g='i'})", "absent(temperature)", "absent(sum(nope))", "absent(temperature{job='x'})",
            "absent_over_time(nope{a='b'}[5m])", "absent_over_time(sparse[1m])", "absent_over_time(rate(nope[5m])[5m:1m])"]
    out += ["temperature offset 5m", "temperature offset -5m", "sum_over_time(temperature[5m] offset 3m)", "temperature @ 1700000600.5",
            "rate(requests_total[5m] @ 1700001200)", "temperature @ start()", "temperature @ end()", "sum(temperature @ end())", "rate(requests_total[5m] @ end() offset 1m)",
            "temperature - temperature @ start()", "sum_over_time(temperature[5m:1m] @ 1700001200)", "timestamp(temperature @ 1700000600.5)",
            "sum(rate(requests_total[1m])) + sum(temperature @ 1700000600.5)"]
    for f in ("sum_over_time", "avg_over_time", "max_over_time", "rate", "delta", "changes", "last_over_time", "count_over_time", "quantile_over_time(0.5,", "deriv"):
        open_ = f if f.endswith(",") else f + "("
        if f == "rate":  # where a window begins in a gap, 2.42 starts a counter at another point
            out += ["rate(requests_total{job='api'}[5m:30s])", "rate(requests_total{job='api'}[5m:30s] offset 2m)"]
            continue
        out += [f"{open_} temperature[5m:30s])", f"{open_} sum by (job) (rate(requests_total[2m]))[10m:1m])", f"{open_} (temperature > 20)[6m:])",
                f"{open_} temperature[5m:30s] offset 2m)"]
    out += ["max_over_time(max_over_time(rate(requests_total[1m])[130s:20s])[170s:40s])", "sum_over_time(time()[5m:1m])", "min_over_time(vector(time())[3m:45s])",
            "sum_over_time((temperature offset 1m)[5m:1m] offset 1m)"]
    out += ["label_replace(temperature, 'x', '$1-$2', 'job', '(.)(.*)')", "label_replace(temperature, 'job', '', 'job', '.*')", "label_replace(temperature, 'x', '${1}y', 'job', 'a(.*)')",
            "label_replace(temperature, 'x', '$first', 'job', '(?P<first>.).*')", "label_replace(temperature, 'instance', 'same', 'instance', '.*')", "label_replace(temperature, 'x', 'v', 'nope', '')",
            "label_replace(temperature, '__name__', 'other', 'job', '.*')", "label_replace(temperature, 'x', '$1$1', 'unit', 'c(.*)')", "label_join(temperature, 'x', '-', 'job', 'instance', 'nope')",
            "label_join(temperature, 'job', '', 'nope')", "label_join(temperature, 'x', ',')", "sum by (x) (label_join(requests_total, 'x', '/', 'job', 'code'))"]
    out += ["-temperature", "+temperature", "-(temperature > 20)", "--temperature", "-sum(temperature)", "{__name__=~'temp.*'}", "{__name__=~'temp.*|steps', job='api'}", "-{__name__=~'temp.*|steps', job='api'}",
            "temperature{instance=~'1.*'}", "temperature{instance!~'1.*'}", "temperature{unit=''}", "temperature{unit!=''}", "temperature{job=~'api|web', instance!='0'}", "temperature{instance=~'1'}",
            "rate({__name__=~'latency_seconds_(sum|count)'}[5m])", "sum by (job) (rate(latency_seconds_sum[5m])) / sum by (job) (rate(latency_seconds_count[5m]))", "histogram_quantile(0.9, latency_seconds_sum)",
            "histogram_quantile(0.5, sum by (le, job) (rate(latency_seconds_bucket{le!='+Inf'}[5m])))", "histogram_quantile(0.5, latency_seconds_bucket{le=~'0.5|[+]Inf'})", "histogram_quantile(scalar(steps) / 20, latency_seconds_bucket)",
            "sort(temperature)", "sort_desc(temperature)", "node > 5 and node < 9 or node == 0", "sum by (rack) (node) > avg(node) * 3", "stddev(node) / avg(node)", "count(node) by (rack) == bool 4",
            "rate(temperature)", "sum(temperature[5m])", "temperature and 1", "1 == 1", "foo{", "rate(requests_total[5m]", "sum by (1) (x)", "nosuch(x)", "x offset", "{}", "{a=''}", "\"text\"", "requests_total[2m]"]
    return out
