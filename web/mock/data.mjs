// Invented requests that follow docs/api-sonde.md: good ones, a lost decode worker, an orphan, a client's retries, a
// cancelled stream, one under way. The same seed gives the same data; times count back from `now`.
const MS = 1_000_000n;

function random(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const PREFILL = ["1119608542163459509", "7361220983311204417"];
const DECODE = ["1821238053618364145", "5540917733201884302"];
const ns = (base, ms) => base + BigInt(Math.round(ms * 1e6));

function make(rnd, o) {
  const hex = (n) => Array.from({ length: n }, () => Math.floor(rnd() * 16).toString(16)).join("");
  const base = o.start;
  const input = o.input ?? 20 + Math.floor(rnd() * rnd() * 6000);
  const planned = o.output ?? 16 + Math.floor(rnd() * 240);
  const itl = 4 + rnd() * 5;
  const queue = o.queue ?? (rnd() < 0.25 ? rnd() * 60 : rnd() * 2);
  const routing = 0.6 + rnd() * 1.2;
  const prefill = 12 + input * 0.06 + rnd() * 10;
  const handover = 0.8 + rnd() * 2, kv = 2 + input * 0.004 + rnd() * 3;
  const kind = o.kind ?? "ok";
  const done = kind === "lost" ? Math.floor(planned * 0.6) : kind === "cancelled" ? Math.floor(planned * 0.3) : kind === "running" ? Math.floor(planned * 0.4) : planned;
  const decode = done * itl;
  const rest = 1 + rnd() * 2;
  const trace = o.trace ?? hex(32);
  const id = o.id ?? "";
  const pw = PREFILL[Math.floor(rnd() * 2)], dw = DECODE[Math.floor(rnd() * 2)];
  const t = { routing: queue, prefill: queue + routing, handover: queue + routing + prefill };
  t.kv = t.handover + handover;
  t.decode = t.kv + kv;
  t.end = t.decode + decode;
  const total = t.end + rest;
  const failed = kind === "lost" || kind === "rejected" || kind === "orphan";
  const status = failed ? "error" : kind === "cancelled" ? "cancelled" : kind === "running" ? "running" : "ok";
  const verdict = { ok: "served", lost: `decode worker lost after ${done} tokens`, orphan: "frontend went away before the answer; its root span never came", cancelled: `client went away after ${done} tokens`,
    running: "under way: decoding", rejected: "no worker had a free slot" }[kind];
  const rejected = kind === "rejected";
  const at = (ms) => ns(base, ms).toString();
  const phases = rejected ? [{ name: "queue", service: "frontend", start_ns: at(0), ms: total, kind: "wait" }] : [
    { name: "queue", service: "frontend", start_ns: at(0), ms: queue, kind: "wait" },
    { name: "routing", service: "frontend", start_ns: at(t.routing), ms: routing, kind: "work" },
    { name: "prefill", service: "prefill", start_ns: at(t.prefill), ms: prefill, kind: "work" },
    { name: "handover", service: "frontend", start_ns: at(t.handover), ms: handover, kind: "wait" },
    { name: "kv_transfer", service: "decode", start_ns: at(t.kv), ms: kv, kind: "transfer" },
    { name: "decode", service: "decode", start_ns: at(t.decode), ms: decode, kind: "work" },
    { name: "unaccounted", service: "", start_ns: at(t.end), ms: rest, kind: "unaccounted" },
  ];
  const sid = { root: hex(16), r1: hex(16), p: hex(16), r2: hex(16), d: hex(16), kv: hex(16) };
  const resource = (service, n) => ({ "service.name": service, "service.instance.id": n, "host.name": "node-3", "telemetry.sdk.name": "sonde" });
  const span = (span_id, parent_id, depth, name, kind_, service, a, ms, more = {}) => ({ span_id, parent_id, depth, name, kind: kind_, service, instance: more.instance ?? "", start_ns: at(a), duration_ms: ms,
    status: more.status ?? "unset", status_message: more.message ?? "", self_ms: more.self ?? ms, orphan: more.orphan ?? false, attributes: more.attributes ?? {}, resource: resource(service, more.instance ?? service), events: more.events ?? [] });
  const orphan = kind === "orphan";
  const spans = [];
  if (!orphan) spans.push(span(sid.root, "", 0, "http-request", "server", "frontend", 0, total, { self: queue + rest, status: failed ? "error" : "unset", message: failed ? verdict : "",
    attributes: { method: "POST", uri: "/v1/chat/completions", x_request_id: id, model: "tiny", input_tokens: input, output_tokens: done, ttft_ms: t.decode + itl, avg_itl_ms: itl, prefill_worker_id: pw, decode_worker_id: dw, "request.outcome": status },
    events: rejected ? [] : [{ name: "first_token", time_ns: at(t.decode + itl), attributes: { index: 0 } }] }));
  if (!rejected) {
    const d0 = orphan ? 0 : 1;
    spans.push(span(sid.r1, sid.root, d0, "router.route_request", "client", "frontend", t.routing, routing + prefill + 0.4, { self: routing, orphan, attributes: { phase: "prefill", worker_id: pw, router_mode: "kv", overlap_blocks: 12, "request.attempt": 1 } }));
    spans.push(span(sid.p, sid.r1, d0 + 1, "handle_payload", "server", "prefill", t.prefill, prefill, { instance: pw, attributes: { component: "prefill", prompt_tokens: input, cached_tokens: Math.floor(input * 0.4), "kv.blocks": Math.ceil(input / 16) } }));
    spans.push(span(sid.r2, sid.root, d0, "router.route_request", "client", "frontend", t.handover - 1.5, total - t.handover, { self: handover, orphan, status: kind === "lost" ? "error" : "unset", message: kind === "lost" ? "stream ended before generation completed" : "",
      attributes: { phase: "decode", worker_id: dw, router_mode: "kv", "error.type": kind === "lost" ? "disconnected" : undefined, "request.outcome": kind === "lost" ? "worker_disconnected" : "success" } }));
    if (kind !== "lost") spans.push(span(sid.d, sid.r2, d0 + 1, "handle_payload", "server", "decode", t.handover + 0.4, t.end - t.handover - 0.4, { instance: dw, self: decode, attributes: { component: "backend", "tokens.out": done, slots_used: 3, preemptions: 0 } }));
    spans.push(span(sid.kv, kind === "lost" ? sid.r2 : sid.d, kind === "lost" ? d0 + 1 : d0 + 2, "kv_transfer", "internal", "decode", t.kv, kv, { instance: dw, attributes: { bytes: input * 131072, "source.worker": pw, blocks: Math.ceil(input / 16) } }));
  }
  const logs = [];
  const log = (ms, level, service, target, message, span_id, fields = {}) => {
    const all = { ...fields, trace_id: trace, span_id, x_request_id: id || undefined };
    const time = new Date(Number(ns(base, ms) / MS)).toISOString();
    logs.push({ time_ns: at(ms), level, service, target, message, span_id, fields: JSON.parse(JSON.stringify(all)), line: JSON.stringify({ time, level, target, message, ...all }) });
  };
  log(0.2, "INFO", "frontend", "sonde::frontend::http", "request received", sid.root, { method: "POST", uri: "/v1/chat/completions", model: "tiny" });
  if (rejected) log(total - 1, "ERROR", "frontend", "sonde::frontend::http", "no free slot within the queue's deadline", sid.root, { waited_ms: total });
  else {
    log(t.routing, "DEBUG", "frontend", "sonde::router::kv", "candidates scored", sid.r1, { candidates: 4, best: Number((0.7 + rnd() * 0.3).toFixed(3)) });
    log(t.routing + routing, "INFO", "frontend", "sonde::router::kv", "selected worker", sid.r1, { phase: "prefill", worker_id: pw, overlap_blocks: 12 });
    log(t.prefill + 0.3, "INFO", "prefill", "sonde::engine::prefill", "prefill started", sid.p, { prompt_tokens: input, cached_tokens: Math.floor(input * 0.4) });
    if (input > 2500) log(t.prefill + prefill * 0.5, "WARN", "prefill", "sonde::engine::scheduler", "prompt split over several batches", sid.p, { chunks: Math.ceil(input / 2048) });
    log(t.prefill + prefill, "INFO", "prefill", "sonde::engine::prefill", "prefill done", sid.p, { ms: Number(prefill.toFixed(2)), blocks: Math.ceil(input / 16) });
    log(t.handover + handover * 0.5, "INFO", "frontend", "sonde::router::kv", "selected worker", sid.r2, { phase: "decode", worker_id: dw });
    log(t.kv, "DEBUG", "decode", "sonde::engine::kv", "pulling blocks", sid.kv, { from: pw, blocks: Math.ceil(input / 16), bytes: input * 131072 });
    log(t.decode, "INFO", "decode", "sonde::engine::decode", "KV cache received", sid.kv, { ms: Number(kv.toFixed(2)), gbit_per_s: 182.4 });
    log(t.decode + itl, "INFO", "decode", "sonde::engine::decode", "first token", sid.d, { ttft_ms: Number((t.decode + itl).toFixed(2)) });
    for (let i = 32; i < done; i += 32) log(t.decode + i * itl, "DEBUG", "decode", "sonde::engine::decode", "tokens generated", sid.d, { tokens: i, kv_usage: Number((0.3 + i / 900).toFixed(3)) });
    if (kind === "lost") {
      log(t.end, "ERROR", "frontend", "sonde::net::stream", "stream ended before generation completed", sid.r2, { worker_id: dw, tokens: done, error: "connection reset by peer" });
      log(t.end + 0.3, "WARN", "frontend", "sonde::router", "worker marked as down", sid.r2, { worker_id: dw, inhibited_s: 5 });
      log(total - 0.2, "ERROR", "frontend", "sonde::frontend::http", "request completed", sid.root, { status: 200, outcome: "worker_disconnected", tokens: done });
    } else if (kind === "cancelled") log(t.end, "WARN", "frontend", "sonde::frontend::http", "client closed the connection", sid.root, { tokens: done });
    else if (kind === "ok") {
      log(t.end, "INFO", "decode", "sonde::engine::decode", "generation finished", sid.d, { tokens: done, reason: "length" });
      log(total - 0.2, "INFO", "frontend", "sonde::frontend::http", "request completed", sid.root, { status: 200, tokens: done });
    }
  }
  const evidence = logs.flatMap((l, i) => (l.level === "ERROR" || l.message === "worker marked as down" ? [i] : []));
  const failure = !failed ? null : kind === "lost" ? { where: "decode", service: "decode", when_ns: at(t.end), what: "worker_disconnected", why: `The decode worker ${dw} closed its stream after ${done} of ${planned} tokens; it sent no more records from that moment on.`, evidence }
    : rejected ? { where: "queue", service: "frontend", when_ns: at(total - 1), what: "rejected", why: "All decode slots were taken for as long as a request may wait.", evidence }
    : { where: "frontend", service: "frontend", when_ns: at(t.end), what: "root_span_missing", why: "The frontend ended before it could export its root span.", evidence };
  const blocks = (list) => list.map(([name, a, ms, kind_, span_id]) => ({ name, start_ns: at(a), ms, kind: kind_, span_id }));
  const lanes = [{ service: "frontend", role: "frontend", blocks: blocks(rejected ? [["queue", 0, total, "wait", sid.root]] : [["queue", 0, queue, "wait", sid.root], ["routing", t.routing, routing, "work", sid.r1], ["handover", t.handover, handover, "wait", sid.r2]]),
    marks: rejected || done === 0 ? [] : [{ name: "first_token", time_ns: at(t.decode + itl) }] }];
  if (!rejected) {
    lanes.push({ service: "prefill", role: "prefill", blocks: blocks([["prefill", t.prefill, prefill, "work", sid.p], ["kv_transfer", t.kv, kv, "transfer", sid.p]]), marks: [] });
    lanes.push({ service: "decode", role: "decode", blocks: blocks([["queue", t.handover - 1.5, 1.5 + handover, "wait", sid.r2], ["kv_transfer", t.kv, kv, "transfer", sid.kv], ["decode", t.decode, decode, "work", sid.d]]), marks: [{ name: "kv_received", time_ns: at(t.decode) }] });
  }
  const duration = phases.reduce((s, p) => s + p.ms, 0);
  const row = { request_id: id, trace_id: trace, start_ns: base.toString(), duration_ms: duration, status, http_status: rejected ? 503 : kind === "running" ? null : 200, verdict, name: "http-request", service: "frontend", model: o.model ?? "tiny",
    stream: kind !== "ok" || rnd() < 0.5, input_tokens: input, output_tokens: rejected ? 0 : done, ttft_ms: rejected ? null : t.decode + itl, itl_ms: rejected ? null : itl, prefill_worker: rejected ? "" : pw, decode_worker: rejected ? "" : dw,
    attempts: 1, spans: spans.length, logs: logs.length, errors: logs.filter((l) => l.level === "ERROR").length, phases: phases.map((p) => ({ name: p.name, ms: p.ms })) };
  const notes = orphan ? ["The root span never arrived; the request is reconstructed from two orphaned routes and the log lines."] : kind === "lost" ? ["The decode worker's own span is missing: it had not been exported when the worker ended."] : [];
  return { request: row, services: lanes.map((l) => ({ name: l.service, role: l.role })), phases, lanes, spans, logs, failure, notes };
}

export function invent(nowMs = Date.now()) {
  const rnd = random(20261122);
  const now = BigInt(nowMs) * MS;
  const ago = (s) => now - BigInt(Math.round(s * 1000)) * MS;
  const all = [
    make(rnd, { id: "demo-42", start: ago(20), input: 1311, output: 64, queue: 4.2 }),
    make(rnd, { id: "demo-fail", start: ago(64), kind: "lost", input: 812, output: 249 }),
    make(rnd, { id: "demo-orphan", start: ago(130), kind: "orphan", input: 300, output: 40 }),
    make(rnd, { id: "demo-cancel", start: ago(200), kind: "cancelled", output: 200 }),
    make(rnd, { id: "demo-run", start: ago(1), kind: "running", output: 400 }),
    make(rnd, { id: "demo-retry", start: ago(33), kind: "rejected" }),
    make(rnd, { id: "demo-retry", start: ago(31), kind: "lost", output: 60 }),
    make(rnd, { id: "demo-retry", start: ago(28), input: 500, output: 80 }),
    make(rnd, { id: "", start: ago(90), input: 3200, output: 30 }),
  ];
  for (let i = 0; i < 260; i++) {
    const r = rnd();
    // a burst of failures some 25 minutes ago
    const s = i < 40 ? 1400 + rnd() * 200 : rnd() * 3500 + 5;
    const kind = i < 40 ? (r < 0.4 ? "lost" : r < 0.5 ? "rejected" : "ok") : r < 0.02 ? "lost" : r < 0.03 ? "cancelled" : "ok";
    all.push(make(rnd, { id: rnd() < 0.1 ? "" : `req-${(0x1000 + i * 7919).toString(36)}${i}`, start: ago(s), kind, model: rnd() < 0.3 ? "small-8b" : "tiny" }));
  }
  const byId = new Map();
  for (const d of all) if (d.request.request_id) byId.set(d.request.request_id, [...(byId.get(d.request.request_id) ?? []), d]);
  for (const d of all) {
    const same = byId.get(d.request.request_id) ?? [d];
    d.request.attempts = same.length;
    d.traces = same.map((x) => ({ trace_id: x.request.trace_id, start_ns: x.request.start_ns, status: x.request.status, verdict: x.request.verdict })).sort((a, b) => (BigInt(b.start_ns) > BigInt(a.start_ns) ? 1 : -1));
  }
  all.sort((a, b) => (BigInt(b.request.start_ns) > BigInt(a.request.start_ns) ? 1 : -1));
  return all;
}
