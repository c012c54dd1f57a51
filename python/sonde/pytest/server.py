"""A private `sonde serve` for one test, and questions to it."""
from __future__ import annotations

import contextlib
import difflib
import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Dict, List, Optional

from .logs import tail
from .process import ended, sonde_program


class SondeServer:
    """Made by the fixture sonde_server. Ports are free ones, the store is in the test's folder."""

    def __init__(self, folder: pathlib.Path, *options: str) -> None:
        program = sonde_program()
        if program is None:
            raise FileNotFoundError("the program sonde is not in PATH; install it, or name it in SONDE_PROGRAM")
        self.program = program
        self.log_path = folder / "sonde-serve.log"
        self._log = open(self.log_path, "ab")
        self.process = subprocess.Popen([program, "serve", "--data", str(folder / "sonde-data"), "--http", "127.0.0.1:0", "--otlp-grpc",
                                         "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        ports = dict(re.findall(r"(http|otlp-grpc|otlp-http) http://127\.0\.0\.1:(\d+)", line))
        if len(ports) != 3:
            self.process.kill()
            raise RuntimeError(f"sonde serve did not start: {line!r}; see {folder / 'sonde-serve.log'}")
        self.url = f"http://127.0.0.1:{ports['http']}"
        self.grpc_url = f"http://127.0.0.1:{ports['otlp-grpc']}"
        self.otlp_url = f"http://127.0.0.1:{ports['otlp-http']}"

    @property
    def env(self) -> Dict[str, str]:
        """What makes a process send its spans and records here. Dynamo reads the endpoint of each signal alone."""
        return {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": self.grpc_url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": self.grpc_url, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": self.grpc_url,
                "OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": self.grpc_url, "OTEL_METRIC_EXPORT_INTERVAL": "250",
                "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50", "SONDE_URL": self.url}

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()

    # ---- questions -----------------------------------------------------------------------------------------------------------------
    def get(self, path: str, **params: Any) -> Any:
        """JSON of a path; None for 404."""
        query = urllib.parse.urlencode({k: v for k, v in params.items() if v is not None})
        try:
            with urllib.request.urlopen(f"{self.url}{path}{'?' + query if query else ''}", timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return None
            raise AssertionError(f"{path}: HTTP {e.code}: {e.read().decode(errors='replace')[:400]}") from None
        except OSError as e:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            if self.running:
                raise AssertionError(f"{path}: {e}; sonde serve runs, but does not answer") from None
            said = "".join(f"\n  {line}" for line in tail(self.log_path))
            raise AssertionError(f"sonde serve {ended(self.process)}{'; it said last:' + said if said else ''}") from None

    def query(self, logql: str, since: float = 3600.0, limit: int = 1000) -> List[Dict[str, Any]]:
        """Log lines of the last `since` seconds, oldest first: {"time_ns", "line", "labels"}. A metric query: its series."""
        now = time.time_ns()
        data = self.get("/loki/api/v1/query_range", query=logql, start=now - int(since * 1e9), end=now + 10**9, limit=limit, direction="backward")
        result = data["data"]["result"]
        if data["data"]["resultType"] != "streams":
            return list(result)
        lines = [{"time_ns": int(t), "line": line, "labels": s["stream"]} for s in result for t, line, *_ in s["values"]]
        return sorted(lines, key=lambda e: e["time_ns"])

    def metric(self, promql: str, at: Optional[float] = None) -> List[Dict[str, Any]]:
        """What a PromQL query gives now (or `at` seconds since 1970): {"labels", "value"} for each series; of a scalar one without labels."""
        data = self.get("/api/v1/query", query=promql, time=at)["data"]
        if data["resultType"] == "scalar":
            return [{"labels": {}, "value": float(data["result"][1])}]
        if data["resultType"] != "vector":
            raise AssertionError(f"{promql} gives a {data['resultType']}, not values: put a function around it, as in rate({promql})")
        return [{"labels": dict(s["metric"]), "value": float(s["value"][1]) if "value" in s else float("nan")} for s in data["result"]]

    def request(self, id: str, wait: float = 5.0) -> Dict[str, Any]:
        """One request by x-request-id or trace id, all of it: phases, lanes, spans, logs. Waits until it is there."""
        return self._until(f"/api/sonde/v1/requests/{urllib.parse.quote(id, safe='')}", f"request {id}", wait)

    def requests(self, limit: int = 100) -> List[Dict[str, Any]]:
        """The newest requests."""
        found = self.get("/api/sonde/v1/requests", limit=limit)
        return list((found or {}).get("requests", []))

    def trace(self, trace_id: str, wait: float = 5.0) -> Dict[str, Any]:
        """A trace as OTLP JSON."""
        return self._until(f"/api/traces/{trace_id}", f"trace {trace_id}", wait)

    def _until(self, path: str, what: str, wait: float) -> Dict[str, Any]:
        end = time.monotonic() + wait
        while True:
            found = self.get(path)
            if found is not None:
                return dict(found)
            if time.monotonic() > end:
                known = [str(r.get("request_id") or r.get("trace_id")) for r in self.requests(20)]
                raise AssertionError(f"{what} did not come within {wait:g} s; the server knows: {', '.join(known) or 'none'}")
            time.sleep(0.05)

    # ---- assertions ------------------------------------------------------------------------------------------------------------------
    def assert_span(self, request: str, name: str, wait: float = 5.0, **attributes: Any) -> Dict[str, Any]:
        """The request has a span of that name with these attributes; returns it."""
        end = time.monotonic() + wait
        while True:
            spans = list(self.request(request, wait).get("spans", []))
            named = [s for s in spans if s.get("name") == name]
            for s in named:
                have = s.get("attributes", {})
                if all(k in have and _same(have[k], v) for k, v in attributes.items()):
                    return dict(s)
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        if not named:
            raise AssertionError(f"request {request} has no span {name!r}; it has: {', '.join(sorted({str(s.get('name')) for s in spans}))}")
        wrong = "; ".join(", ".join(f"{k}={s.get('attributes', {}).get(k, '(absent)')!r}" for k in attributes) for s in named)
        raise AssertionError(f"span {name!r} of request {request} has {wrong} where {', '.join(f'{k}={v!r}' for k, v in attributes.items())} was wanted")

    def assert_log(self, text: str, selector: str = '{service_name=~".+"}', wait: float = 5.0) -> Dict[str, Any]:
        """A line that matches the regular expression; returns the first."""
        end, pattern = time.monotonic() + wait, re.compile(text)
        while True:
            lines = self.query(selector)
            for entry in lines:
                if pattern.search(entry["line"]):
                    return entry
            if time.monotonic() > end:
                last = "".join(f"\n  {e['line'][:200]}" for e in lines[-10:])
                raise AssertionError(f"no line of {selector} matches {text!r} within {wait:g} s; {len(lines)} lines are there{', the last:' + last if last else ''}")
            time.sleep(0.05)

    def assert_no_errors(self, except_: Optional[str] = None, selector: str = '{service_name=~".+"}') -> None:
        """No line of level ERROR but those that match except_."""
        pattern = re.compile(except_) if except_ else None
        bad = [e for e in self.query(selector + ' | detected_level=~"(?i)error|critical|fatal"') if not (pattern and pattern.search(e["line"]))]
        if bad:
            listed = "".join(f"\n  {e['labels'].get('service_name', '?')}: {e['line'][:300]}" for e in bad[:20])
            raise AssertionError(f"{len(bad)} error lines:{listed}")

    def assert_metric(self, promql: str, value: Optional[float] = None, *, at_least: Optional[float] = None, at_most: Optional[float] = None,
                      wait: float = 10.0) -> float:
        """The query gives at least one series, and all of them have that value, or lie between at_least and at_most, within `wait` seconds.
        Returns the value of the first."""
        end = time.monotonic() + wait
        while True:
            found = self.metric(promql)
            wrong = [s for s in found if not _holds(s["value"], value, at_least, at_most)]
            if found and not wrong:
                return float(found[0]["value"])
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        if wrong:
            limits = (("", value), ("at least ", at_least), ("at most ", at_most))
            told = " and ".join(f"{word}{limit:g}" for word, limit in limits if limit is not None)
            listed = "".join(f"\n  {_series(s['labels'])} {s['value']:g}" for s in wrong[:10])
            raise AssertionError(f"{promql} is not {told} within {wait:g} s; {len(wrong)} of {len(found)} series:{listed}")
        names = self.get("/api/v1/label/__name__/values")["data"]
        near = sorted({n for word in re.findall(r"[a-zA-Z_:][\w:]{3,}", promql) for n in difflib.get_close_matches(word, names, 5, 0.5)})
        there = ", ".join(near or names[:20])
        raise AssertionError(f"{promql} gives no series within {wait:g} s; {len(names)} metrics are there{': ' if there else ''}{there}")

    def assert_phases(self, request: str, *names: str, **at_most: float) -> Dict[str, float]:
        """The request has these phases, and none longer than told: assert_phases("r-1", "prefill", decode=2.0). Returns seconds by phase."""
        found = self.request(request)
        have: Dict[str, float] = {}
        for p in found.get("phases", []):
            have[str(p.get("name"))] = have.get(str(p.get("name")), 0.0) + _seconds(p)
        told = ", ".join(f"{k} {v:.3f} s" for k, v in have.items()) or "none"
        missing = [n for n in (*names, *at_most) if n not in have]
        if missing:
            raise AssertionError(f"request {request} has no phase {', '.join(missing)}; it has {told}")
        slow = [f"{n} took {have[n]:.3f} s, more than {limit:g} s" for n, limit in at_most.items() if have[n] > limit]
        if slow:
            raise AssertionError(f"request {request}: {'; '.join(slow)} ({told})")
        return have


def _same(have: Any, want: Any) -> bool:
    return bool(have == want) or str(have) == str(want)


def _holds(v: float, value: Optional[float], at_least: Optional[float], at_most: Optional[float]) -> bool:
    return (value is None or v == value) and (at_least is None or v >= at_least) and (at_most is None or v <= at_most)


def _series(labels: Dict[str, str]) -> str:
    rest = ", ".join(f'{k}="{v}"' for k, v in sorted(labels.items()) if k != "__name__")
    return f"{labels.get('__name__', '')}{{{rest}}}"


def _seconds(phase: Dict[str, Any]) -> float:
    return float(phase.get("ms") or 0.0) / 1000
