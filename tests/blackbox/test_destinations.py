"""Where libsonde exports to: what an endpoint may look like, what goes to which destination and what does not."""
import base64

import pytest

from test_export import Grpc, Http, lines, spans
from test_export import driver, grpc_server, http_server, run  # noqa: F401 (fixtures)

TRACES = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


# {} is HOST:PORT
@pytest.mark.parametrize("endpoint, path, user", [
    ("http://{}", "/v1/traces", None),
    ("http://{}/", "/v1/traces", None),
    (" HTTP://{}/base// ", "/base/v1/traces", None),
    ("{}", "/v1/traces", None),
    ("http://{}/base?key=1&b=2", "/base/v1/traces?key=1&b=2", None),
    ("http://{}?key=1", "/v1/traces?key=1", None),
    ("http://{}/base#part", "/base/v1/traces", None),
    ("http://me:p%40ss@{}/base", "/base/v1/traces", "me:p@ss"),
    ("http://me@{}", "/v1/traces", "me:"),
])
def test_endpoint_of_all_signals(run, http_server, endpoint, path, user):  # noqa: F811
    http_server.decide = lambda kind: (202, {}, b"")
    ran = run("spans:1", "shutdown:30000", **TRACES, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.format(http_server.url[7:]))
    assert ran.said[0][1] and ran.spans_sent == 1, ran.err
    head = http_server.heads[0]
    assert head["path"] == path
    assert head.get("authorization") == (user and "Basic " + base64.b64encode(user.encode()).decode())


@pytest.mark.parametrize("endpoint, path", [("http://{}", "/"), ("http://{}/", "/"), ("http://{}/traces/?a=b", "/traces/?a=b"), ("http://{}?a=b", "/?a=b")])
def test_endpoint_of_one_signal(run, http_server, endpoint, path):  # noqa: F811
    http_server.decide = lambda kind: (202, {}, b"")
    ran = run("spans:1", "shutdown:30000", **TRACES, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint.format(http_server.url[7:]))
    assert ran.said[0][1] and http_server.heads[0]["path"] == path, ran.err


@pytest.mark.parametrize("endpoint", ["http://{}", "http://{}/", "http://{}/v1/traces", "http://{}/a/b?c=d", "http://me:pw@{}"])
def test_grpc_has_a_path_of_its_own(run, grpc_server, endpoint):  # noqa: F811
    ran = run("spans:1", "shutdown:30000", OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint.format(grpc_server.url[7:]))
    assert ran.said[0][1] and len(spans(grpc_server)) == 1, ran.err
    assert grpc_server.heads[0].get("authorization") == ("Basic bWU6cHc=" if "@" in endpoint else None)


@pytest.mark.parametrize("endpoint", ["unix:///tmp/x", "http://", "http://:80", "ftp://me:hidden@x", "http://me:hidden@x:99999", "http://a b"])
def test_what_is_no_endpoint_is_told_without_its_password(run, endpoint):  # noqa: F811
    ran = run("spans:1", "shutdown:30000", **TRACES, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert ran.code == 0 and ran.err.count("is no URL of the form http://host:port") == 1 and "hidden" not in ran.err, ran.err


def test_headers(run, http_server):  # noqa: F811
    """Those that say how the message is sent are the sender's; what is wrong is told without the value."""
    ran = run("spans:1", "shutdown:30000", **TRACES, OTEL_EXPORTER_OTLP_ENDPOINT=http_server.url.replace("//", "//me:pw@"),
              OTEL_EXPORTER_OTLP_HEADERS="a=b%2Cc%20d,Authorization=Bearer x==,content-encoding=gzip,Content-Length=1,te=x,expect=100-continue,"
              "x-key: geheim1,geheim2,x=%0d%0ageheim3:1, e = ")
    assert ran.said[0][1] and len(spans(http_server)) == 1, ran.err
    head = http_server.heads[0]
    assert head["a"] == "b,c d" and head["authorization"] == "Bearer x==" and head["e"] == ""
    assert not {"content-encoding", "te", "expect", "x-key", "x"} & set(head)
    assert ran.err.count("is left out") == 7 and "geheim" not in ran.err and "'x-key' is left out" in ran.err, ran.err


def test_headers_of_otlp_are_not_for_zipkin(run, http_server):  # noqa: F811
    ran = run("spans:1", "shutdown:30000", OTEL_TRACES_EXPORTER="otlp,zipkin", OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
              OTEL_EXPORTER_OTLP_ENDPOINT=http_server.url, OTEL_EXPORTER_ZIPKIN_ENDPOINT=http_server.url.replace("//", "//z:k@") + "/api/v2/spans",
              OTEL_EXPORTER_OTLP_HEADERS="api-key=secret", OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    assert ran.said[0][1], ran.err
    heads = {h["path"]: h for h in http_server.heads}
    otlp, zipkin = heads["/v1/traces"], heads["/api/v2/spans"]
    assert otlp["api-key"] == "secret" and otlp["content-encoding"] == "gzip" and "authorization" not in otlp
    assert "api-key" not in zipkin and "content-encoding" not in zipkin and zipkin["authorization"] == "Basic ejpr"


def further(run, first, second, third, tmp_path, by):  # noqa: F811
    """Three destinations of spans, two of them of records, by one file or by variables."""
    if by == "file":
        f = tmp_path / "otel.yaml"
        f.write_text(f"""file_format: "1.0"
tracer_provider:
  processors:
    - batch: {{exporter: {{otlp_http: {{endpoint: "{first.url}/v1/traces", headers: [{{name: api-key, value: first}}], compression: gzip}}}}}}
    - batch: {{exporter: {{otlp_grpc: {{endpoint: "{second.url}", headers: [{{name: tenant, value: "a,b;c=d %"}}]}}}}}}
    - batch: {{exporter: {{otlp_http: {{endpoint: "{third.url}/v1/traces", encoding: json}}}}}}
logger_provider:
  processors:
    - batch: {{exporter: {{otlp_http: {{endpoint: "{first.url}/v1/logs"}}}}}}
    - batch: {{exporter: {{otlp_grpc: {{endpoint: "{second.url}", compression: gzip}}}}}}
""")
        env = {"OTEL_CONFIG_FILE": str(f)}
    else:
        env = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
               "OTEL_EXPORTER_OTLP_ENDPOINT": first.url, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=first", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
               "SONDE_OTLP_TRACES_ENDPOINTS": f"{second.url};protocol=grpc;headers=tenant%3Da%252Cb;c%3Dd%2520%2525 , "
                                              f"{third.url}/v1/traces; protocol=http/json; what=5",
               "SONDE_OTLP_LOGS_ENDPOINTS": f"{second.url};protocol=grpc;compression=gzip;timeout=often"}
        env["SONDE_OTLP_TRACES_ENDPOINTS"] = env["SONDE_OTLP_TRACES_ENDPOINTS"].replace("b;c%3D", "b%253Bc%253D")
    return run("spans:3", "logs:2", "shutdown:30000", **env)


@pytest.mark.parametrize("by", ["file", "variables"])
def test_further_destinations_have_nothing_of_the_first(run, http_server, grpc_server, tmp_path, by):  # noqa: F811
    third = Http()
    try:
        ran = further(run, http_server, grpc_server, third, tmp_path, by)
    finally:
        third.stop()
    assert ran.said[0][1], ran.err
    assert len(spans(http_server)) == len(spans(grpc_server)) == len(spans(third)) == 3
    assert len(lines(http_server)) == len(lines(grpc_server)) == 2 and not lines(third)
    traces = next(h for h in http_server.heads if h["path"] == "/v1/traces")
    assert traces["api-key"] == "first" and traces["content-encoding"] == "gzip" and "tenant" not in traces
    assert any(h.get("tenant") == "a,b;c=d %" for h in grpc_server.heads) and not any("api-key" in h for h in grpc_server.heads)
    json = third.heads[0]
    assert json["content-type"] == "application/json" and not {"api-key", "tenant", "content-encoding"} & set(json)
    if by == "variables":
        assert ran.err.count("SONDE_OTLP_TRACES_ENDPOINTS: 'what' is left out") == 1 and ran.err.count("SONDE_OTLP_LOGS_ENDPOINTS: 'often'") == 1, ran.err


def test_same_place_other_headers_have_spools_of_their_own(run, tmp_path):  # noqa: F811
    dead = Http()
    dead.stop()
    entry = f"{dead.url};protocol=http/protobuf;headers=tenant%3D"
    ran = run("spans:3", "shutdown:300", **TRACES, OTEL_EXPORTER_OTLP_ENDPOINT=dead.url, OTEL_EXPORTER_OTLP_HEADERS="tenant=a",
              SONDE_OTLP_TRACES_ENDPOINTS=f"{entry}b,{entry}c", SONDE_SPOOL_DIR=str(tmp_path / "spool"))
    assert ran.code == 0 and len(list((tmp_path / "spool").iterdir())) == 3


def test_further_destination_with_a_certificate(run):  # noqa: F811
    """A file that is not there is told, and nothing goes in plain text."""
    server = Grpc()
    try:
        ran = run("spans:1", "shutdown:300", OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=server.url,
                  SONDE_OTLP_TRACES_ENDPOINTS=f"https://{server.url[7:]};certificate=/nowhere.pem")
    finally:
        server.stop()
    assert "/nowhere.pem" in ran.err and len(spans(server)) == 1, ran.err
