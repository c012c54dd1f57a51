// /ui/request/ID : one request over all its processes.
import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, type LogRow, type RequestDetail, tenant, useData } from "./api";
import { level, LEVEL_TEXT, LEVELS, type Level, levelColor, serviceColor } from "./colors";
import { dur, NONE, num, plural, short, value } from "./format";
import { useKeys } from "./keys";
import { Lanes, PhaseTable } from "./lanes";
import { href, loc, requestPath, set } from "./router";
import { agoText, clockNs, dateNs, diffMs, nsToMs, rfc3339, zoneText } from "./time";
import { Timeline } from "./timeline";
import { cls, Copy, Empty, ErrorBox, LevelTag, mark, Progress, serviceWidth, Skeleton, StatusMark, useDraft, useMedia, useTitle } from "./ui";
import { VList, type VListApi } from "./vlist";
import { FieldTable, parents, SpanPanel, Waterfall } from "./waterfall";

const BIG = 60; // above this many spans only the upper levels are open at first

function domainOf(d: RequestDetail): [number, number] {
  const base = d.request.start_ns;
  let a = 0, b = d.request.duration_ms;
  const cover = (ns: string, ms: number): void => {
    const t = diffMs(ns, base);
    a = Math.min(a, t);
    b = Math.max(b, t + ms);
  };
  d.spans.forEach((s) => cover(s.start_ns, s.duration_ms));
  d.lanes.forEach((l) => l.blocks.forEach((x) => cover(x.start_ns, x.ms)));
  return [a, b > a ? b : a + 1];
}

// A time that is known.
const since = (ns: string): boolean => ns !== "" && ns !== "0";

function Fact(p: { name: string; title?: string; children: JSX.Element | string | (JSX.Element | string)[] }): JSX.Element {
  return <div class="fact" title={p.title}><dt>{p.name}</dt><dd>{p.children}</dd></div>;
}

function Head(p: { id: string; d: RequestDetail }): JSX.Element {
  const r = p.d.request;
  const id = r.request_id || r.trace_id;
  const curl = `curl -s ${tenant() ? `-H 'X-Scope-OrgID: ${tenant()}' ` : ""}'${location.origin}/api/sonde/v1/requests/${encodeURIComponent(id)}'`;
  const logql = `{service_name=~".+"} | trace_id="${r.trace_id}"`;
  const around = { from: String(Math.floor(nsToMs(r.start_ns)) - 1000), to: String(Math.ceil(nsToMs(r.start_ns) + r.duration_ms) + 1000) };
  return (
    <header class={cls("rhead", `is-${r.status}`)} data-test="head" data-duration-ms={r.duration_ms} data-status={r.status}>
      <div class="titleline">
        <h1 class="mono" title={id}>{id}</h1>
        <Copy text={id} title="Copy the request id (c)" />
        <span class="grow" />
        <Copy class="btn" text={`sonde request ${id}`} label="CLI" title={`Copy: sonde request ${id}`} />
        <Copy class="btn" text={curl} label="curl" title={`Copy: ${curl}`} />
        <Copy class="btn" text={location.href} label="Link" title="Copy a link to what is shown" />
      </div>
      <p class="verdictline">
        <StatusMark status={r.status} http={r.http_status} text />
        <span class="verdict">{r.verdict}</span>
        {r.http_status !== null && <span class="dim">HTTP {r.http_status}</span>}
        {r.stream && <span class="badge">stream</span>}
        {r.attempts > 1 && <span class="badge warnb">{r.attempts} attempts</span>}
      </p>
      <dl class="factline">
        <Fact name="wall time">{dur(r.duration_ms)}</Fact>
        <Fact name="TTFT" title="time to the first token">{dur(r.ttft_ms)}</Fact>
        <Fact name="ITL" title="mean time between tokens">{dur(r.itl_ms)}</Fact>
        <Fact name="tokens" title="in → out">{`${num(r.input_tokens)} → ${num(r.output_tokens)}`}</Fact>
        <Fact name="model">{r.model || NONE}</Fact>
        {r.prefill_worker ? <Fact name="prefill worker"><span class="mono">{r.prefill_worker}</span></Fact> : <></>}
        {r.decode_worker ? <Fact name="decode worker"><span class="mono">{r.decode_worker}</span></Fact> : <></>}
        <Fact name="began" title={rfc3339(r.start_ns)}>{`${dateNs(r.start_ns)} ${clockNs(r.start_ns)} ${zoneText(nsToMs(r.start_ns))}`}</Fact>
        <Fact name="trace"><span class="mono" title={r.trace_id}>{short(r.trace_id, 12)}</span><Copy text={r.trace_id} title="Copy the trace id" /></Fact>
        <Fact name="more"><a href={href("/ui/logs", { q: logql, ...around })}>search its logs</a></Fact>
      </dl>
    </header>
  );
}

function FailureCard(p: { d: RequestDetail; onLog: (i: number) => void }): JSX.Element | null {
  const f = p.d.failure;
  if (!f) return null;
  const base = p.d.request.start_ns;
  return (
    <section class="failure" aria-label="Why it failed" data-test="failure">
      <h2><span aria-hidden="true">✕</span> Failed in {f.where || "an unknown place"}{since(f.when_ns) && <> after {dur(diffMs(f.when_ns, base))}</>}</h2>
      <p class="why">{f.why}</p>
      <dl class="facts">
        <dt>where</dt><dd>{f.where}{f.service && f.service !== f.where ? ` (${f.service})` : ""}</dd>
        {since(f.when_ns) && <><dt>when</dt><dd title={rfc3339(f.when_ns)}>{clockNs(f.when_ns, 6)}</dd></>}
        <dt>what</dt><dd class="mono">{f.what}</dd>
      </dl>
      {f.evidence.length > 0 && (
        <div class="evidence" role="group" aria-label="Evidence" style={serviceWidth(f.evidence.map((i) => p.d.logs[i]?.service ?? ""))}>
          {f.evidence.map((i) => {
            const l = p.d.logs[i];
            return l && (
              <button type="button" key={i} class="evline" data-test="evidence" onClick={() => p.onLog(i)} title="Show it in the log">
                <span class="n dim">{dur(diffMs(l.time_ns, base))}</span>
                <LevelTag level={level(l.level)} />
                <span class="svc" style={{ "--c": serviceColor(l.service) }}>{l.service}</span>
                <span class="msg">{l.message} <span class="kv">{inline(l.fields)}</span></span>
              </button>
            );
          })}
        </div>
      )}
    </section>
  );
}

// ---- logs of the request
const QUIET = new Set(["trace_id", "span_id", "x_request_id", "request_id", "level", "time", "message", "target", "span_name"]);

function inline(f: Record<string, unknown>): string {
  return Object.entries(f).filter(([k]) => !QUIET.has(k)).slice(0, 8).map(([k, v]) => {
    const t = value(v);
    return `${k}=${t.length > 80 ? `${t.slice(0, 80)}…` : t}`;
  }).join(" ");
}

interface LogsProps {
  d: RequestDetail;
  current: number; // index into d.logs, or -1
  onCurrent: (i: number, push?: boolean) => void;
  api: { current: VListApi | null };
  shownRef: { current: number[] };
}

function Chip(p: { on: boolean; color?: string; onClick: () => void; children: (JSX.Element | string | number)[] | string; title?: string }): JSX.Element {
  return <button type="button" class="chip" aria-pressed={p.on} style={p.color ? { "--c": p.color } : {}} onClick={p.onClick} title={p.title}>{p.children}</button>;
}

function RequestLogs(p: LogsProps): JSX.Element {
  const { d } = p;
  const q = loc.value.params;
  const text = q.get("lq") ?? "", span = q.get("ls") ?? "";
  const lvOff = new Set((q.get("lv") ?? "").split(",").filter(Boolean));
  const svcOn = new Set((q.get("svc") ?? "").split(",").filter(Boolean));
  const [draft, setDraft] = useDraft(text, (v) => set({ lq: v || null }, true));
  const [open, setOpen] = useState<Set<number>>(() => new Set());
  const narrow = useMedia("(max-width: 860px)");
  const base = d.request.start_ns;
  const counts = useMemo(() => {
    const lv = new Map<Level, number>(), sv = new Map<string, number>();
    for (const l of d.logs) {
      lv.set(level(l.level), (lv.get(level(l.level)) ?? 0) + 1);
      sv.set(l.service, (sv.get(l.service) ?? 0) + 1);
    }
    return { lv, sv };
  }, [d]);
  const shown = useMemo(() => {
    const n = text.toLowerCase();
    const out: number[] = [];
    d.logs.forEach((l, i) => {
      if (lvOff.has(level(l.level)) || (svcOn.size && !svcOn.has(l.service)) || (span && l.span_id !== span)) return;
      if (n && !l.message.toLowerCase().includes(n) && !l.line.toLowerCase().includes(n) && !l.target.toLowerCase().includes(n) && !inline(l.fields).toLowerCase().includes(n)) return;
      out.push(i);
    });
    return out;
  }, [d, text, span, q.get("lv"), q.get("svc")]);
  p.shownRef.current = shown;
  const keyOf = useCallback((k: number) => String(shown[k]), [shown]);
  const flip = (param: string, all: Set<string>, name: string): void => {
    if (!all.delete(name)) all.add(name);
    set({ [param]: [...all].join(",") || null }, true);
  };
  const spanRow = span ? d.spans.find((s) => s.span_id === span) : undefined;
  const filtered = shown.length !== d.logs.length;
  const row = (k: number): JSX.Element => {
    const i = shown[k]!;
    const l: LogRow = d.logs[i]!;
    const lv = level(l.level);
    const isOpen = open.has(i);
    const proof = d.failure?.evidence.includes(i);
    return (
      <div class={cls("log", `lvl-${lv}`, i === p.current && "current", isOpen && "open", proof && "proof")} role="listitem" data-test="log" data-time={l.time_ns} data-service={l.service} data-i={i}>
        <div class="logline" onClick={(e) => {
          if ((e.target as Element).closest("a") || getSelection()?.toString()) return;
          const s = new Set(open);
          if (!s.delete(i)) s.add(i);
          setOpen(s);
          p.onCurrent(i);
        }}>
          <button type="button" class={cls("twist", !isOpen && "shut")} aria-expanded={isOpen} aria-label={`Fields of the line at ${dur(diffMs(l.time_ns, base))}`} />
          <time title={rfc3339(l.time_ns)} dateTime={rfc3339(l.time_ns)}>{clockNs(l.time_ns, 6)}</time>
          <span class="off n">{dur(diffMs(l.time_ns, base))}</span>
          <LevelTag level={lv} />
          <span class="svc" style={{ "--c": serviceColor(l.service) }}>{l.service}</span>
          <span class="msg">{mark(l.message || "(empty message)", text)} <span class="kv">{mark(inline(l.fields), text)}</span></span>
        </div>
        {isOpen && (
          <div class="logmore">
            <div class="logtools">
              <span class="dim mono">{l.target}</span>
              {l.span_id && <button type="button" class="link" onClick={() => set({ span: l.span_id })}>span {d.spans.find((s) => s.span_id === l.span_id)?.name ?? short(l.span_id)}</button>}
              <span class="grow" />
              <Copy text={l.line || l.message} label="line" title="Copy the raw line" />
            </div>
            <FieldTable fields={l.fields} empty="no fields" />
            {l.line && <pre class="raw">{l.line.length > 8192 ? `${l.line.slice(0, 8192)}… (${num(l.line.length)} characters)` : l.line}</pre>}
          </div>
        )}
      </div>
    );
  };
  return (
    <section class="reqlogs" aria-label="Log lines" id="logs" style={serviceWidth(counts.sv.keys())}>
      <div class="sechead logbar">
        <h2>Logs <span class="dim">{filtered ? `${shown.length} of ${d.logs.length}` : d.logs.length}</span></h2>
        <input type="search" id="focus" class="slim" placeholder="filter" aria-label="Filter log lines" value={draft} onInput={(e) => setDraft(e.currentTarget.value)} onKeyDown={(e) => e.key === "Escape" && e.currentTarget.blur()} />
        <div class="chips" role="group" aria-label="Levels">
          {LEVELS.filter((l) => counts.lv.get(l)).map((l) => <Chip key={l} on={!lvOff.has(l)} color={levelColor(l)} onClick={() => flip("lv", lvOff, l)} title={`${lvOff.has(l) ? "Show" : "Hide"} ${l}`}>{[LEVEL_TEXT[l], " ", counts.lv.get(l)!]}</Chip>)}
        </div>
        <div class="chips" role="group" aria-label="Services">
          {[...counts.sv.keys()].map((s) => <Chip key={s} on={!svcOn.size || svcOn.has(s)} color={serviceColor(s)} onClick={() => flip("svc", svcOn, s)} title={`Only ${s}`}>{[s, " ", counts.sv.get(s)!]}</Chip>)}
        </div>
        {span && <button type="button" class="chip" aria-pressed="true" onClick={() => set({ ls: null })} title="Show all spans' lines">span {spanRow?.name ?? short(span)} ✕</button>}
        {filtered && <button type="button" class="link" onClick={() => set({ lq: null, lv: null, svc: null, ls: null })}>show all</button>}
      </div>
      {d.logs.length === 0 && <p class="none">No log line of this request has arrived.</p>}
      {d.logs.length > 0 && shown.length === 0 && <p class="none">The filter leaves no line. <button type="button" class="link" onClick={() => set({ lq: null, lv: null, svc: null, ls: null })}>Show all</button></p>}
      {shown.length > 0 && <VList class="loglist" count={shown.length} rowH={narrow ? 42 : 23} keyOf={keyOf} row={row} api={p.api} label="Log lines by time" top={110} />}
    </section>
  );
}

function Body(p: { id: string; d: RequestDetail }): JSX.Element {
  const { d } = p;
  const q = loc.value.params;
  const z = /^(-?[\d.]+)~(-?[\d.]+)$/.exec(q.get("z") ?? "");
  const zoom: [number, number] | null = z && Number(z[1]) < Number(z[2]) ? [Number(z[1]), Number(z[2])] : null;
  const domain = useMemo(() => domainOf(d), [d]);
  const selected = q.get("span") ?? "";
  const span = d.spans.find((s) => s.span_id === selected);
  const c = q.get("c");
  const collapsed = useMemo(() => {
    if (c !== null) return new Set(c.split(","));
    return new Set(d.spans.length > BIG ? parents(d.spans.filter((s) => s.depth >= 2)) : []);
  }, [c, d]);
  const setCollapsed = (ids: Set<string>): void => set({ c: ids.size ? [...ids].join(",") : d.spans.length > BIG ? "0" : null }, true);
  const api = useRef<VListApi>(null);
  const shown = useRef<number[]>([]);
  const current = Number(q.get("log") ?? -1);
  const currentNow = (): number => Number(loc.peek().params.get("log") ?? -1);
  const [want, setWant] = useState(current);
  const goLog = (i: number): void => {
    // a line hidden by a filter is shown again
    if (!shown.current.includes(i)) set({ log: String(i), lq: null, lv: null, svc: null, ls: null });
    else set({ log: String(i) }, true);
    setWant(i);
  };
  useEffect(() => {
    if (want < 0) return;
    const k = shown.current.indexOf(want);
    if (k < 0) return;
    api.current?.show(k, "center");
    setWant(-1);
  });
  const jump = (dir: number): void => {
    const s = shown.current;
    let k = s.indexOf(currentNow());
    if (k < 0 && dir < 0) k = s.length;
    for (k += dir; k >= 0 && k < s.length; k += dir) {
      if (["error", "critical"].includes(level(d.logs[s[k]!]!.level))) return goLog(s[k]!);
    }
  };
  const step = (dir: number): void => {
    const s = shown.current;
    const k = Math.max(0, Math.min(s.length - 1, s.indexOf(currentNow()) + dir));
    if (s[k] === undefined) return;
    set({ log: String(s[k]) }, true);
    api.current?.show(k);
  };
  const select = (id: string): void => set({ span: id === selected ? null : id });
  const setZoom = (v: [number, number] | null): void => set({ z: v ? `${v[0].toFixed(3)}~${v[1].toFixed(3)}` : null });
  useKeys("Request", [
    { keys: ["e"], label: "e", about: "next error line", run: () => jump(1) },
    { keys: ["E"], label: "E", about: "previous error line", run: () => jump(-1) },
    { keys: ["j"], label: "j", about: "next line", run: () => step(1) },
    { keys: ["k"], label: "k", about: "previous line", run: () => step(-1) },
    { keys: ["["], label: "[", about: "collapse all spans", run: () => setCollapsed(new Set(parents(d.spans))) },
    { keys: ["]"], label: "]", about: "expand all spans", run: () => setCollapsed(new Set()) },
    { keys: ["z"], label: "z", about: "whole request", run: () => zoom && setZoom(null) },
    { keys: ["c"], label: "c", about: "copy the request id", run: () => document.querySelector<HTMLElement>(".titleline .copy")?.click() },
    { keys: ["Escape"], label: "Esc", about: "close the span", run: () => selected && set({ span: null }) },
  ]);
  return (
    <>
      <Head id={p.id} d={d} />
      {d.traces.length > 1 && (
        <nav class="attempts" aria-label="Traces with this request id" data-test="attempts">
          <span class="dim">{plural(d.traces.length, "trace")} with this request id:</span>
          {d.traces.map((t) => (
            <a key={t.trace_id} href={href(requestPath(p.id), { trace: t.trace_id })} aria-current={t.trace_id === d.request.trace_id ? "page" : undefined} title={`${t.trace_id}\n${t.verdict}`}>
              <StatusMark status={t.status} /><span class="mono">{clockNs(t.start_ns)}</span> <span class="verdict">{t.verdict}</span>
            </a>
          ))}
        </nav>
      )}
      {d.notes.length > 0 && <ul class="notes" aria-label="Notes" data-test="notes">{d.notes.map((n, i) => <li key={i}>{n}</li>)}</ul>}
      <FailureCard d={d} onLog={goLog} />
      <div class={cls("split", span && "with")}>
        <div class="panel">
          <Timeline domain={domain} zoom={zoom} baseNs={d.request.start_ns} onZoom={setZoom}>
            {(v) => (
              <>
                <Lanes d={d} view={v} onSpan={select} onLog={goLog} />
                <PhaseTable d={d} />
                <Waterfall d={d} view={v} selected={selected} collapsed={collapsed} onSelect={select} onCollapse={setCollapsed} />
              </>
            )}
          </Timeline>
        </div>
        {span && <SpanPanel s={span} d={d} onClose={() => set({ span: null })} onSelect={(id) => set({ span: id })} onLogs={(id) => {
          set({ ls: id });
          document.getElementById("logs")?.scrollIntoView();
        }} />}
      </div>
      <RequestLogs d={d} current={current} onCurrent={(i) => set({ log: String(i) }, true)} api={api} shownRef={shown} />
    </>
  );
}

export function RequestPage(p: { id: string }): JSX.Element {
  const trace = loc.value.params.get("trace") ?? "";
  useTitle(p.id);
  const url = `/api/sonde/v1/requests/${encodeURIComponent(p.id)}${trace ? `?trace=${encodeURIComponent(trace)}` : ""}`;
  const [every, setEvery] = useState(0);
  const r = useData<RequestDetail>(url, (s) => get<RequestDetail>(url, s), every);
  const running = r.data?.request.status === "running";
  useEffect(() => setEvery(running ? 2000 : 0), [running]);
  useKeys("Page", [{ keys: ["r"], label: "r", about: "refresh", run: r.reload }]);
  // what is shown must be what the address says: an earlier request is not dimmed but dropped
  const mine = r.data && (!r.stale || r.data.request.request_id === p.id || r.data.request.trace_id === p.id || !r.loading) ? r.data : undefined;
  return (
    <main id="main" class="page request">
      <nav class="crumbs" aria-label="Where you are"><a href={href("/ui/")}>Requests</a> <span aria-hidden="true">/</span> <span class="mono">{p.id}</span>
        {mine && <span class="dim"> {agoText(nsToMs(mine.request.start_ns))}</span>}
        <span class="grow" />
        {mine && <><a href="#spans" onClick={(e) => (e.preventDefault(), e.stopPropagation(), document.getElementById("spans")?.scrollIntoView())}>Spans</a><a href="#logs" onClick={(e) => (e.preventDefault(), e.stopPropagation(), document.getElementById("logs")?.scrollIntoView())}>Logs</a></>}
      </nav>
      <Progress on={r.loading} />
      {r.error?.status === 404 ? (
        <Empty title="No such request">
          <p>Nothing that has arrived here carries the id <span class="mono">{p.id}</span>: no x-request-id, no trace id, no span attribute.</p>
          <p class="dim">Records appear within a second of being sent. Ids are compared exactly, upper and lower case too.</p>
          <div class="row"><button type="button" onClick={r.reload}>Look again</button><a class="button" href={href("/ui/", { q: p.id, from: "now-24h" })}>Search for it</a><a class="button" href={href("/ui/logs", { q: `{service_name=~".+"} |= "${p.id.replace(/["\\]/g, "\\$&")}"`, from: "now-24h" })}>Search the logs</a></div>
        </Empty>
      ) : r.error && <ErrorBox error={r.error} retry={r.reload} title="The request could not be loaded" />}
      {!mine && r.loading && <Skeleton rows={12} />}
      {mine && <Body key={mine.request.trace_id} id={p.id} d={mine} />}
    </main>
  );
}
