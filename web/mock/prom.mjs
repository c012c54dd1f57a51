// As much of Prometheus' API over invented requests as the page asks for: names, metadata, exemplars, and series of any query
// that parses to balanced brackets. The numbers follow the requests: a minute's count, its slowest.
const HELP = {
  dynamo_frontend_requests_total: { type: "counter", help: "Requests taken", unit: "" },
  dynamo_frontend_inflight_requests: { type: "gauge", help: "Requests under way", unit: "" },
  dynamo_frontend_time_to_first_token_seconds: { type: "histogram", help: "Time to the first token", unit: "seconds" },
};
const NAMES = ["dynamo_frontend_requests_total", "dynamo_frontend_inflight_requests",
  ...["bucket", "sum", "count"].map((s) => `dynamo_frontend_time_to_first_token_seconds_${s}`)];

function check(q) {
  const open = [];
  for (let i = 0; i < q.length; i++) {
    if ("([{".includes(q[i])) open.push(i);
    if (")]}".includes(q[i]) && open.pop() === undefined) return `1:${i + 1}: parse error: unexpected "${q[i]}"`;
  }
  return open.length ? `1:${q.length + 1}: parse error: unclosed "${q[open.at(-1)]}"` : null;
}

export function prom(all) {
  const requests = all.map((d) => d.request);
  const ok = (data) => [200, JSON.stringify({ status: "success", data }), "application/json"];
  const within = (p) => requests.filter((r) => Number(r.start_ns) / 1e9 >= Number(p.get("start")) && Number(r.start_ns) / 1e9 <= Number(p.get("end")));
  return (url) => {
    const p = url.searchParams, q = p.get("query") ?? "";
    if (!url.pathname.startsWith("/api/v1/")) return null;
    const bad = p.has("query") ? check(q) : null;
    if (bad) return [400, JSON.stringify({ status: "error", errorType: "bad_data", error: `invalid parameter "query": ${bad}` }), "application/json"];
    switch (url.pathname.slice(8)) {
      case "label/__name__/values": return ok(all.length ? NAMES : []);
      case "metadata": return ok(Object.fromEntries(Object.entries(HELP).map(([k, v]) => [k, [v]])));
      case "query_range": {
        if (!NAMES.some((n) => q.includes(n))) return ok({ resultType: "matrix", result: [] });
        const step = parseFloat(p.get("step")), values = [];
        for (let t = Number(p.get("start")); t <= Number(p.get("end")); t += step) values.push([t, String(requests.filter((r) => Math.abs(Number(r.start_ns) / 1e9 - t) < 150).length / 3)]);
        return ok({ resultType: "matrix", result: ["prefill", "decode"].map((s, k) => ({ metric: { service_name: s }, values: values.map(([t, v]) => [t, String(Number(v) * (k + 1))]) })) });
      }
      case "query_exemplars":
        return ok([{ seriesLabels: { __name__: "dynamo_frontend_requests_total" }, exemplars: within(p).slice(0, 20).map((r) => ({ labels: { trace_id: r.trace_id }, value: "2", timestamp: Number(r.start_ns) / 1e9 })) }]);
      default: return null;
    }
  };
}
