"""What libsonde's metrics look like to readers of others: OTLP decoded by opentelemetry-proto, pages by prometheus_client's two
parsers and promtool. The metrics are those of tests/unit/sdk/emit_metrics.c."""
import math
import os
import re
import shutil
import struct
import subprocess
import time

import pytest

pytest.importorskip("opentelemetry.proto", reason="needs opentelemetry-proto (scripts/setup.sh)")
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # noqa: E402

CUMULATIVE, DELTA = 2, 1


@pytest.fixture(scope="module")
def emit(build_dir):
    program = build_dir / "tests/unit/sdk/emit_metrics"
    if not program.exists():
        pytest.skip(f"{program} is not built")

    def run(*args, **env):
        full = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SONDE_", "DYN_"))}
        return subprocess.run([str(program), *map(str, args)], env={**full, "OTEL_METRICS_EXPORTER": "none", **env}, check=True,
                              stdout=subprocess.PIPE, timeout=60).stdout

    return run


def requests(data):
    out = []
    while data:
        n = struct.unpack(">I", data[:4])[0]
        out.append(ExportMetricsServiceRequest.FromString(data[4:4 + n]))
        data = data[4 + n:]
    return out


def value(v):
    return getattr(v, v.WhichOneof("value"))


def attributes(list_):
    return {a.key: value(a.value) for a in list_}


def metrics(reqs):
    """{name: (resource attributes, scope, schema URL, metric)}; of a name that comes again the last"""
    return {m.name: (attributes(r.resource.attributes), s.scope, s.schema_url, m)
            for q in reqs for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics}


def points(m):
    return list(getattr(m, m.WhichOneof("data")).data_points)


def test_registry_over_otlp(emit):
    before = time.time_ns()
    found = metrics(requests(emit("otlp")))
    resource, scope, schema, m = found["dynamo_component_requests_total"]
    assert (resource, scope.name, schema, m.description, m.unit) == ({"service.name": "emit"}, "dynamo.runtime.metrics", "", "requests", "")
    assert m.sum.is_monotonic and m.sum.aggregation_temporality == CUMULATIVE
    by_model = {attributes(p.attributes)["model"]: p for p in points(m)}
    assert {k: p.as_int for k, p in by_model.items()} == {"qwen": 41, 'a"\\\nb': 1}
    assert attributes(by_model["qwen"].attributes) == {"dynamo_namespace": "prod", "model": "qwen", "status": "success"}
    starts = {p.start_time_unix_nano for name in ("requests_total", "seconds_total") for p in points(found["dynamo_component_" + name][3])}
    assert len(starts) == 1 and before <= starts.pop() <= by_model["qwen"].time_unix_nano <= time.time_ns()
    m = found["dynamo_component_seconds_total"][3]
    assert (m.unit, points(m)[0].as_double) == ("seconds", 1.5)
    m = found["dynamo_component_usage"][3]
    assert m.WhichOneof("data") == "gauge" and points(m)[0].as_double == 0.25 and points(m)[0].start_time_unix_nano == 0
    assert points(found["dynamo_component_inflight"][3])[0].as_int == -3


def test_histograms_over_otlp(emit):
    found = metrics(requests(emit("otlp")))
    m = found["dynamo_component_ttft_seconds"][3]
    (p,) = points(m)
    assert m.histogram.aggregation_temporality == CUMULATIVE
    assert (p.count, p.sum, list(p.explicit_bounds), list(p.bucket_counts)) == (3, 100.55, [0.1, 1, 10], [1, 1, 0, 1])
    (e,) = p.exemplars
    assert e.as_double == 0.5 and e.trace_id == bytes([0xAB] + [0] * 14 + [1]) and len(e.span_id) == 8 and e.time_unix_nano > 0
    (p,) = points(found["dynamo_component_itl_seconds"][3])
    assert (p.count, p.zero_count, p.scale) == (4, 1, 8) and math.isclose(p.sum, 1.001)
    # bucket i holds (base^i, base^(i+1)]
    assert (p.positive.offset, list(p.positive.bucket_counts)) == (-1, [1, 1]) and (p.negative.offset, list(p.negative.bucket_counts)) == (-1, [1])


def test_engine_text_over_otlp(emit):
    found = metrics(requests(emit("otlp")))
    m = found["vllm:hits"][3]
    assert m.sum.is_monotonic and points(m)[0].as_double == 7 and attributes(points(m)[0].attributes) == {"model": "m"} and m.description == "hits"
    (p,) = points(found["vllm:lat"][3])
    assert (p.count, p.sum, list(p.explicit_bounds), list(p.bucket_counts)) == (4, 20, [1, 5], [2, 1, 1])
    m = found["engine_untyped"][3]
    assert m.WhichOneof("data") == "gauge" and points(m)[0].as_double == 3.5


def test_meters_over_otlp(emit):
    found = metrics(requests(emit("otlp")))
    resource, scope, schema, m = found["gen.tokens"]
    assert resource == {"service.name": "emit", "team": "blue"}
    assert (scope.name, scope.version, attributes(scope.attributes), schema) == ("lib", "1.2", {"team": "kv"}, "https://schema")
    assert (m.unit, m.description, m.sum.is_monotonic, m.sum.aggregation_temporality) == ("{token}", "tokens made", True, CUMULATIVE)
    (p,) = points(m)
    assert p.as_int == 5 and attributes(p.attributes) == {"model": "q", "n": -2, "b": True, "f": 0.5}
    assert 0 < p.start_time_unix_nano <= p.time_unix_nano
    m = found["active"][3]
    assert not m.sum.is_monotonic and points(m)[0].as_double == -2.5
    assert found["queue"][3].WhichOneof("data") == "gauge" and points(found["queue"][3])[0].as_int == 9
    (p,) = points(found["latency"][3])
    assert (p.count, p.sum, list(p.explicit_bounds), list(p.bucket_counts)) == (3, 78, [1, 10], [1, 1, 1])
    assert p.HasField("min") and (p.min, p.max) == (1, 70)
    assert points(found["bytes.read"][3])[0].as_int == 12345
    assert attributes(points(found["raw.bytes"][3])[0].attributes) == {"k": "a\ufffd"}  # no request with a broken string


@pytest.mark.parametrize("preference, counter, async_counter, updown", [("cumulative", CUMULATIVE, CUMULATIVE, CUMULATIVE),
                                                                       ("delta", DELTA, DELTA, CUMULATIVE), ("lowmemory", DELTA, CUMULATIVE, CUMULATIVE)])
def test_temporality_preference(emit, preference, counter, async_counter, updown):
    every = requests(emit("otlp-twice", OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference))
    assert len(every) == 4  # two resources, twice
    first, second = metrics(every[:2]), metrics(every[2:])
    for name, want, before, after in (("dynamo_component_requests_total", counter, 41, 9), ("gen.tokens", counter, 5, 8)):
        m, n = first[name][3], second[name][3]
        assert m.sum.aggregation_temporality == n.sum.aggregation_temporality == want
        pick = lambda x: [p for p in points(x) if attributes(p.attributes)["model"] in ("qwen", "q")][0]  # noqa: E731
        a, b = pick(m), pick(n)
        assert a.as_int == before and b.as_int == (after if want == DELTA else before + after)
        assert b.start_time_unix_nano == (a.time_unix_nano if want == DELTA else a.start_time_unix_nano)
    assert first["bytes.read"][3].sum.aggregation_temporality == async_counter
    assert first["active"][3].sum.aggregation_temporality == updown
    assert first["latency"][3].histogram.aggregation_temporality == counter
    assert ("latency" in second) == (counter == CUMULATIVE)  # nothing new: no delta


def test_default_histogram_aggregation(emit):
    found = metrics(requests(emit("otlp", OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram")))
    (p,) = points(found["latency"][3])
    assert found["latency"][3].WhichOneof("data") == "exponential_histogram" and (p.count, p.sum, sum(p.positive.bucket_counts)) == (3, 78, 3)
    assert (p.min, p.max) == (1, 70)
    assert found["dynamo_component_ttft_seconds"][3].WhichOneof("data") == "histogram"  # made with its own buckets


def test_requests_of_a_size(emit):
    whole, cut = requests(emit("otlp")), requests(emit("otlp", 3))
    count = lambda q: sum(len(points(m)) for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics)  # noqa: E731
    assert len(cut) > len(whole) == 2 and all(0 < count(q) <= 3 for q in cut) and sum(map(count, cut)) == sum(map(count, whole))
    assert set(metrics(cut)) == set(metrics(whole))


# ---- pages ------------------------------------------------------------------------------------------------------------------
def samples(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def check_samples(found, total_of_counter="gen_tokens_total"):
    scope = {"otel_scope_name": "lib", "otel_scope_version": "1.2", "otel_scope_schema_url": "https://schema", "otel_scope_team": "kv"}
    at = lambda name, **labels: found[(name, tuple(sorted(labels.items())))]  # noqa: E731
    assert at("dynamo_component_requests_total", dynamo_namespace="prod", model="qwen", status="success") == 41
    assert at("dynamo_component_requests_total", dynamo_namespace="prod", model='a"\\\nb', status="error") == 1
    assert at(total_of_counter, model="q", n="-2", b="true", f="0.5", **scope) == 5
    assert at("active", **scope) == -2.5
    assert at("latency_milliseconds_count", **scope) == 3 and at("latency_milliseconds_sum", **scope) == 78
    assert at("bytes_read_bytes_total", **scope) == 12345
    assert at("vllm:lat_count") == 4


def test_text_parser_of_prometheus_client(emit):
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus_client (scripts/setup.sh)")
    families = list(parser.text_string_to_metric_families(emit("text").decode()))
    check_samples(samples(families))
    kinds = {f.name: f.type for f in families}
    assert (kinds["gen_tokens"], kinds["active"], kinds["latency_milliseconds"], kinds["target_info"]) == ("counter", "gauge", "histogram", "gauge")


def test_openmetrics_parser_of_prometheus_client(emit):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="needs prometheus_client (scripts/setup.sh)")
    families = list(parser.text_string_to_metric_families(emit("openmetrics").decode()))
    check_samples(samples(families))
    by_name = {f.name: f for f in families}
    assert by_name["latency_milliseconds"].unit == "milliseconds" and by_name["target"].type == "info"
    (shown,) = [s.exemplar for s in by_name["dynamo_component_ttft_seconds"].samples if s.exemplar]
    assert shown.value == 0.5 and shown.labels["trace_id"] == "ab" + "00" * 14 + "01"


def test_promtool(emit, build_dir):
    tool = shutil.which("promtool") or build_dir / "interop/promtool"
    if not os.path.exists(tool):
        pytest.skip("promtool is not there; scripts/interop_tools.sh gets it")
    r = subprocess.run([str(tool), "check", "metrics"], input=emit("text"), capture_output=True, timeout=60)
    # what it finds are matters of taste (help texts, names of units); never an error of the form
    taste = r"no help text|should (contain|have|not)|use base unit|abbreviated"
    assert [x for x in r.stderr.decode().splitlines() if x and not re.search(taste, x)] == []
    assert r.returncode in (0, 3)
