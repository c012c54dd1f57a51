// The data contract over invented data: GET /api/sonde/v1/requests[/ID] and as much of Loki's query_range as the page asks
// for: selectors, line filters, label filters, and sum by (…) (count_over_time(… [d])).
const toNs = (t, fallback) => {
  if (t === null) return fallback;
  const n = Number(t);
  if (Number.isNaN(n)) return BigInt(Date.parse(t)) * 1_000_000n;
  return n < 1e11 ? BigInt(Math.round(n * 1e9)) : BigInt(t);
};
const DURATION = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
const duration = (t) => {
  const m = /^([\d.]+)(ms|s|m|h)$/.exec(t ?? "");
  return m ? BigInt(Math.round(Number(m[1]) * DURATION[m[2]])) : BigInt(Math.round(Number(t ?? 1) * 1e9));
};

export class BadQuery extends Error {}

function parseLog(q, from = 0) {
  let i = from;
  const fail = (what) => {
    const before = q.slice(0, i).split("\n");
    throw new BadQuery(`parse error at line ${before.length}, col ${before.at(-1).length + 1}: syntax error: ${what}`);
  };
  const blank = () => {
    while (/\s/.test(q[i] ?? "")) i++;
  };
  const eat = (s) => (blank(), q.startsWith(s, i) && ((i += s.length), true));
  const string = () => {
    blank();
    const c = q[i];
    if (c !== '"' && c !== "`") fail(`expected a string, found ${q[i] ? `'${q[i]}'` : "the end"}`);
    let out = "";
    for (i++; q[i] !== c; i++) {
      if (i >= q.length) fail("the string is not closed");
      if (c === '"' && q[i] === "\\") i++;
      out += q[i];
    }
    i++;
    return out;
  };
  const name = () => {
    blank();
    const m = /^[A-Za-z_][\w]*/.exec(q.slice(i));
    if (!m) fail(`expected a label name, found ${q[i] ? `'${q[i]}'` : "the end"}`);
    i += m[0].length;
    return m[0];
  };
  const op = () => ["=~", "!~", "!=", "="].find(eat) ?? fail("expected =, !=, =~ or !~");
  const test = (o, v) => {
    if (o === "=") return (x) => x === v;
    if (o === "!=") return (x) => x !== v;
    const re = new RegExp(`^(?:${v})$`);
    return o === "=~" ? (x) => re.test(x) : (x) => !re.test(x);
  };
  if (!eat("{")) fail(`unexpected ${q[i] ? `'${q[i]}'` : "end"}`);
  const matchers = [];
  while (!eat("}")) {
    const n = name(), o = op();
    matchers.push([n, test(o, string())]);
    if (!eat(",")) {
      if (!eat("}")) fail(`unexpected ${q[i] ? `'${q[i]}'` : "end"}, expected , or }`);
      break;
    }
  }
  if (!matchers.length) fail("queries require at least one matcher");
  const stages = [];
  for (;;) {
    blank();
    const f = ["|=", "!=", "|~", "!~"].find((x) => q.startsWith(x, i));
    if (f) {
      i += 2;
      const v = string();
      const re = f.endsWith("~") ? new RegExp(v) : null;
      stages.push((e) => (re ? re.test(e.line) : e.line.includes(v)) === f.startsWith("|"));
    } else if (q[i] === "|") {
      i++;
      const n = name();
      if (n === "json" || n === "logfmt") continue;
      const o = op(), t = test(o, string());
      stages.push((e) => t(e.meta[n] ?? e.labels[n] ?? ""));
    } else break;
  }
  return { end: i, match: (e) => matchers.every(([n, t]) => t(e.labels[n] ?? "")) && stages.every((s) => s(e)), fail: (w) => fail(w) };
}

export function api(all) {
  const entries = all.flatMap((d) => d.logs.map((l) => ({
    ns: BigInt(l.time_ns), line: l.line, labels: { service_name: l.service, cluster: "mock" },
    meta: { detected_level: l.level.toLowerCase(), trace_id: d.request.trace_id, span_id: l.span_id, ...(d.request.request_id ? { x_request_id: d.request.request_id } : {}) },
  }))).sort((a, b) => (a.ns < b.ns ? 1 : -1));
  const now = () => BigInt(Date.now()) * 1_000_000n;

  function requests(p) {
    const start = toNs(p.get("start"), now() - 3_600_000_000_000n), end = toNs(p.get("end"), now());
    const limit = Math.min(1000, Number(p.get("limit") ?? 50));
    const q = p.get("q") ?? "", min = Number(p.get("min_ms") ?? 0), status = p.get("status");
    const hit = all.map((d) => d.request).filter((r) => BigInt(r.start_ns) >= start && BigInt(r.start_ns) < end && r.duration_ms >= min && (!status || r.status === status)
      && (!q || [r.request_id, r.trace_id, r.model, r.service].some((x) => x.includes(q))));
    return { requests: hit.slice(0, limit), truncated: hit.length > limit };
  }
  function request(id, trace) {
    const mine = all.filter((d) => d.request.request_id === id || d.request.trace_id === id);
    return (trace ? mine.find((d) => d.request.trace_id === trace) : undefined) ?? mine[0];
  }
  function queryRange(p, categorize) {
    const q = p.get("query") ?? "";
    const start = toNs(p.get("start"), now() - 3_600_000_000_000n), end = toNs(p.get("end"), now());
    const m = /^\s*(?:sum\s+by\s*\(([^)]*)\)\s*\(\s*)?(count_over_time|rate)\s*\(/.exec(q);
    if (m) {
      const log = parseLog(q, m[0].length);
      const r = /^\s*\[([\d.]+\w+)\]\s*\)\s*\)?\s*$/.exec(q.slice(log.end));
      if (!r) log.fail("expected [range])");
      const range = duration(r[1]), step = duration(p.get("step"));
      const by = m[1]?.split(",").map((s) => s.trim()) ?? ["service_name", "cluster", "detected_level"];
      const series = new Map();
      for (const e of entries) {
        if (e.ns <= start - range || e.ns > end || !log.match(e)) continue;
        const metric = Object.fromEntries(by.filter((n) => e.labels[n] ?? e.meta[n]).map((n) => [n, e.labels[n] ?? e.meta[n]]));
        const k = JSON.stringify(metric);
        const s = series.get(k) ?? series.set(k, { metric, at: new Map() }).get(k);
        for (let t = start + ((e.ns - start + step - 1n) / step) * step; t <= end && t - range < e.ns; t += step) s.at.set(t, (s.at.get(t) ?? 0) + 1);
      }
      const scale = m[2] === "rate" ? 1e9 / Number(range) : 1;
      return { status: "success", data: { resultType: "matrix", stats: {}, result: [...series.values()].map((s) => ({ metric: s.metric, values: [...s.at].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(([t, v]) => [Number(t) / 1e9, String(v * scale)]) })) } };
    }
    const log = parseLog(q);
    if (q.slice(log.end).trim()) log.fail(`unexpected '${q.slice(log.end).trim()[0]}'`);
    const limit = Number(p.get("limit") ?? 100);
    const hit = entries.filter((e) => e.ns >= start && e.ns < end && log.match(e)).slice(0, limit);
    const streams = new Map();
    for (const e of hit) {
      const stream = categorize ? e.labels : { ...e.labels, ...e.meta };
      const k = JSON.stringify(stream);
      (streams.get(k) ?? streams.set(k, { stream, values: [] }).get(k)).values.push(categorize ? [e.ns.toString(), e.line, { structuredMetadata: e.meta }] : [e.ns.toString(), e.line]);
    }
    return { status: "success", data: { resultType: "streams", ...(categorize ? { encodingFlags: ["categorize-labels"] } : {}), result: [...streams.values()], stats: { summary: { totalLinesProcessed: entries.length } } } };
  }

  // Answers [status, body, type] or null when the path is not an API's.
  return (url, headers) => {
    const p = url.searchParams;
    const json = (status, o) => [status, JSON.stringify(o), "application/json"];
    if (url.pathname === "/api/sonde/v1/requests") return json(200, requests(p));
    const m = /^\/api\/sonde\/v1\/requests\/(.+)$/.exec(url.pathname);
    if (m) {
      const d = request(decodeURIComponent(m[1]), p.get("trace"));
      return d ? json(200, d) : json(404, { error: `no request has the id ${decodeURIComponent(m[1])}` });
    }
    if (url.pathname === "/loki/api/v1/query_range") {
      try {
        return json(200, queryRange(p, (headers["x-loki-response-encoding-flags"] ?? "").includes("categorize-labels")));
      } catch (e) {
        if (e instanceof BadQuery || e instanceof SyntaxError) return [400, `${e.message}\n`, "text/plain; charset=utf-8"];
        throw e;
      }
    }
    return null;
  };
}
