// /ui/logs : LogQL over all logs; volume by level, then the lines, newest first and as far back as one scrolls.
import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, get, type LokiAnswer, type LokiSeries, type LokiStream, useData } from "./api";
import { Chart, type Series } from "./chart";
import { level, LEVELS, type Level, serviceColor } from "./colors";
import { addFilter, ALL, isLogQuery } from "./logql";
import { dur, num, plural, short, value } from "./format";
import { useKeys } from "./keys";
import { QueryBox, QueryError } from "./querybox";
import { RangePicker, Refresh, refreshMs, setRange, urlRange, zoomOut, zoomTo } from "./rangepicker";
import { href, loc, requestPath, set } from "./router";
import { type Matrix, SeriesResult } from "./series";
import { clockNs, dateNs, logqlDuration, niceStep, resolve, rfc3339, type Span, toNs, zoneText } from "./time";
import { cls, Copy, Empty, LevelTag, linkIds, Progress, serviceWidth, Skeleton, useBar, useMedia, useNow, useTitle } from "./ui";
import { VList, type VListApi } from "./vlist";

const PAGE = 1000;

interface Line {
  key: string;
  ns: string;
  line: string;
  labels: Record<string, string>; // of the stream
  meta: Record<string, string>;   // structured metadata and parsed labels, where the server tells them apart
}

const rangeUrl = (q: Record<string, string>): string => `/loki/api/v1/query_range?${new URLSearchParams(q)}`;
const CATEGORIES = { "X-Loki-Response-Encoding-Flags": "categorize-labels" };
const nsCompare = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

function lines(streams: LokiStream[]): Line[] {
  const out: Line[] = [];
  const seen = new Map<string, number>();
  for (const s of streams) {
    const stream = JSON.stringify(s.stream);
    for (const [ns, line, extra] of s.values) {
      const id = `${ns}|${stream}|${line.length}|${line.slice(0, 64)}`;
      const n = seen.get(id) ?? 0;
      seen.set(id, n + 1);
      out.push({ key: `${id}#${n}`, ns, line, labels: s.stream, meta: { ...extra?.structuredMetadata, ...extra?.parsed } });
    }
  }
  return out.sort((a, b) => nsCompare(b.ns, a.ns));
}

// ---- one line, taken apart only when it comes into sight
interface Parsed {
  level: Level;
  message: string;
  rest: string; // k=v of what the line holds besides
  request: string;
}
const parsed = new WeakMap<Line, Parsed>();
const HIDE = new Set(["message", "msg", "level", "severity", "time", "timestamp", "ts", "target", "trace_id", "span_id", "parent_id", "x_request_id", "request_id", "trace_flags"]);

// Metadata that OpenTelemetry adds to every record; it stays in the details.
const PLUMBING = /^(detected_level|severity_|observed_timestamp|event_name|scope_|flags$|host_|process_|telemetry_|service_|code_|thread_|busy_ns|idle_ns|span_name)/;

function parse(l: Line): Parsed {
  const had = parsed.get(l);
  if (had) return had;
  let message = l.line, rest = "", lv = l.meta.detected_level ?? l.meta.level ?? l.labels.level ?? l.labels.detected_level ?? l.meta.severity_text ?? l.labels.severity_text ?? "";
  let request = l.meta.x_request_id ?? l.labels.x_request_id ?? l.meta.request_id ?? l.labels.request_id ?? l.meta.trace_id ?? l.labels.trace_id ?? "";
  if (l.line.startsWith("{") && l.line.length < 65_536) {
    try {
      const o = JSON.parse(l.line) as Record<string, unknown>;
      message = value(o.message ?? o.msg ?? "");
      lv ||= value(o.level ?? o.severity ?? "");
      request ||= value(o.x_request_id ?? o.request_id ?? o.trace_id ?? "");
      rest = Object.entries(o).filter(([k]) => !HIDE.has(k)).map(([k, v]) => `${k}=${value(v).slice(0, 120)}`).join(" ");
      if (!message) {
        message = rest;
        rest = "";
      }
    } catch { /* not JSON after all */ }
  }
  if (!rest) rest = Object.entries(l.meta).filter(([k]) => !HIDE.has(k) && !PLUMBING.test(k)).map(([k, v]) => `${k}=${v.slice(0, 120)}`).join(" ");
  if (!lv) lv = /\b(CRITICAL|FATAL|ERROR|WARN(?:ING)?|INFO|DEBUG|TRACE)\b/.exec(l.line.slice(0, 160))?.[1] ?? "";
  const p = { level: level(lv), message, rest, request };
  parsed.set(l, p);
  return p;
}

const serviceOf = (l: Line): string => l.labels.service_name ?? l.labels.service ?? l.labels.job ?? "";

// ---- parts
interface Volume { xs: number[]; step: number; series: Series[] }

function volumeOf(series: LokiSeries[], first: number, step: number, n: number): Volume {
  const by = new Map<Level, number[]>();
  for (const s of series) {
    const l = level(s.metric.level || s.metric.detected_level);
    const v = by.get(l) ?? new Array<number>(n).fill(0);
    by.set(l, v);
    for (const [t, count] of s.values) {
      const i = Math.round((t * 1000 - first) / step) - 1; // a sample counts the step before it
      if (i >= 0 && i < n) v[i]! += Number(count);
    }
  }
  return { xs: Array.from({ length: n }, (_, i) => first + i * step), step,
    series: LEVELS.filter((l) => by.has(l)).map((l) => ({ name: l, color: `bar-${l}`, values: by.get(l)! })) };
}

async function loadVolume(q: string, span: Span, signal: AbortSignal): Promise<Volume & { span: Span }> {
  const step = Math.max(1000, niceStep(span.to - span.from, 120));
  const first = Math.floor(span.from / step) * step;
  const n = Math.max(1, Math.ceil((span.to - first) / step));
  const expr = `sum by (level, detected_level) (count_over_time(${q.trim()} [${logqlDuration(step)}]))`;
  const a = await get<LokiAnswer>(rangeUrl({ query: expr, start: toNs(first + step), end: toNs(first + n * step), step: logqlDuration(step) }), signal, { "X-Query-Tags": "Source=logvolhist" });
  return { ...volumeOf(a.data.resultType === "matrix" ? a.data.result : [], first, step, n), span };
}

type Answer = { kind: "lines"; lines: Line[]; span: Span; more: boolean; scanned: number | undefined; warnings: string[] } | ({ kind: "series" } & Matrix);

async function loadQuery(q: string, span: Span, signal: AbortSignal): Promise<Answer> {
  if (!isLogQuery(q)) {
    const step = Math.max(1000, niceStep(span.to - span.from, 250));
    const a = await get<LokiAnswer>(rangeUrl({ query: q, start: toNs(span.from), end: toNs(span.to), step: logqlDuration(step) }), signal);
    if (a.data.resultType === "matrix") return { kind: "series", series: a.data.result, span, step };
    return { kind: "lines", lines: lines(a.data.result), span, more: false, scanned: undefined, warnings: a.warnings ?? [] };
  }
  const a = await get<LokiAnswer>(rangeUrl({ query: q, start: toNs(span.from), end: toNs(span.to), limit: String(PAGE), direction: "backward" }), signal, CATEGORIES);
  if (a.data.resultType !== "streams") return { kind: "series", series: a.data.result, span, step: 1000 };
  const l = lines(a.data.result);
  return { kind: "lines", lines: l, span, more: l.length >= PAGE, scanned: a.data.stats?.summary?.totalLinesProcessed, warnings: a.warnings ?? [] };
}

function Detail(p: { l: Line; q: string; run: (q: string) => void }): JSX.Element {
  const row = (name: string, v: string, ofStream: boolean): JSX.Element => (
    <tr key={name}>
      <th scope="row">{name}</th>
      <td>
        <span class="plusminus">
          <button type="button" title={`Only ${name} = ${v}`} aria-label={`Only ${name} = ${v}`} onClick={() => p.run(addFilter(p.q, name, v, "=", ofStream))}>+</button>
          <button type="button" title={`Without ${name} = ${v}`} aria-label={`Without ${name} = ${v}`} onClick={() => p.run(addFilter(p.q, name, v, "!=", ofStream))}>−</button>
        </span>
        {/^(x_request_id|request_id|trace_id)$/.test(name) ? <a href={href(requestPath(v))}>{v}</a> : linkIds(v, (id) => href(requestPath(id)))}
        <Copy text={v} title={`Copy ${name}`} />
      </td>
    </tr>
  );
  const split = Object.keys(p.l.meta).length > 0;
  return (
    <div class="logmore">
      <div class="logtools">
        <span class="mono dim">{rfc3339(p.l.ns)}</span>
        <span class="grow" />
        <Copy text={p.l.line} label="line" title="Copy the line" />
      </div>
      <table class="fields">
        <tbody>
          {Object.entries(p.l.labels).map(([k, v]) => row(k, v, split))}
          {split && <tr class="sub"><th colSpan={2}>of this line</th></tr>}
          {Object.entries(p.l.meta).map(([k, v]) => row(k, v, false))}
        </tbody>
      </table>
      <pre class="raw">{linkIds(p.l.line.length > 16_384 ? `${p.l.line.slice(0, 16_384)}… (${num(p.l.line.length)} characters)` : pretty(p.l.line), (id) => href(requestPath(id)))}</pre>
    </div>
  );
}

function pretty(line: string): string {
  if (!line.startsWith("{")) return line;
  // numbers above 2^53 would change by a round trip: show those lines as they are
  if (/[:[,]\s*-?\d{16,}/.test(line)) return line;
  try {
    return JSON.stringify(JSON.parse(line), null, 2);
  } catch {
    return line;
  }
}

function LineList(p: { a: Answer & { kind: "lines" }; q: string; run: (q: string) => void; tookMs: number | undefined; stale: boolean }): JSX.Element {
  const [older, setOlder] = useState<{ lines: Line[]; more: boolean; error?: ApiError; busy: boolean }>({ lines: [], more: p.a.more, busy: false });
  const [open, setOpen] = useState<Set<string>>(() => new Set());
  const [active, activeNow, setActive] = useNow(-1);
  const api = useRef<VListApi>(null);
  const foot = useRef<HTMLDivElement>(null);
  const narrow = useMedia("(max-width: 860px)");
  const params = loc.value.params;
  const raw = params.get("raw") === "1", wrap = params.get("wrap") === "1";
  useEffect(() => setOlder({ lines: [], more: p.a.more, busy: false }), [p.a]);
  const all = useMemo(() => (older.lines.length ? [...p.a.lines, ...older.lines] : p.a.lines), [p.a, older.lines]);

  const load = async (): Promise<void> => {
    const last = all.at(-1);
    if (!last || older.busy || !older.more) return;
    setOlder((o) => ({ ...o, busy: true }));
    try {
      // lines of the oldest nanosecond come again and are dropped by key, so none is lost at the border
      const a = await get<LokiAnswer>(rangeUrl({ query: p.q, start: toNs(p.a.span.from), end: (BigInt(last.ns) + 1n).toString(), limit: String(PAGE), direction: "backward" }), undefined, CATEGORIES);
      const page = a.data.resultType === "streams" ? lines(a.data.result) : [];
      const have = new Set(all.slice(-PAGE).map((l) => l.key));
      const fresh = page.filter((l) => !have.has(l.key));
      setOlder((o) => ({ lines: [...o.lines, ...fresh], more: page.length >= PAGE && fresh.length > 0, busy: false }));
    } catch (e) {
      setOlder((o) => ({ ...o, busy: false, error: e as ApiError }));
    }
  };
  const loadRef = useRef(load);
  loadRef.current = load;
  useEffect(() => {
    if (!foot.current) return undefined;
    const io = new IntersectionObserver((e) => e[0]!.isIntersecting && void loadRef.current(), { rootMargin: "600px" });
    io.observe(foot.current);
    return () => io.disconnect();
  }, [older.more, all.length]);

  const toggle = (key: string): void => {
    const s = new Set(open);
    if (!s.delete(key)) s.add(key);
    setOpen(s);
  };
  const move = (to: number): void => {
    const i = Math.max(0, Math.min(all.length - 1, to));
    setActive(i);
    api.current?.show(i);
  };
  const jump = (dir: number): void => {
    for (let i = activeNow() + dir; i >= 0 && i < all.length; i += dir) if (["error", "critical"].includes(parse(all[i]!).level)) return move(i);
  };
  useKeys("Logs", [
    { keys: ["j"], label: "j", about: "older line", run: () => move(activeNow() + 1) },
    { keys: ["k"], label: "k", about: "newer line", run: () => move(activeNow() - 1) },
    { keys: ["g"], label: "g", about: "newest line", run: () => move(0) },
    { keys: ["G"], label: "G", about: "oldest loaded line", run: () => move(all.length - 1) },
    { keys: ["e"], label: "e", about: "next error", run: () => jump(1) },
    { keys: ["E"], label: "E", about: "previous error", run: () => jump(-1) },
    { keys: ["Enter", "l"], label: "⏎ l", about: "expand the line", run: () => all[activeNow()] && toggle(all[activeNow()]!.key) },
    { keys: ["w"], label: "w", about: "wrap lines", run: () => set({ wrap: wrap ? null : "1" }, true) },
    { keys: ["p"], label: "p", about: "raw or pretty lines", run: () => set({ raw: raw ? null : "1" }, true) },
  ]);
  const keyOf = useCallback((i: number) => all[i]!.key, [all]);
  const width = useMemo(() => serviceWidth(new Set(all.map(serviceOf))), [all]);
  const row = (i: number): JSX.Element => {
    const l = all[i]!;
    const x = parse(l);
    const isOpen = open.has(l.key);
    const service = serviceOf(l);
    const day = i > 0 && dateNs(l.ns) !== dateNs(all[i - 1]!.ns);
    return (
      <div class={cls("log", "wide", `lvl-${x.level}`, isOpen && "open", i === active && "current", wrap && "wrap", day && "newday")} role="listitem" data-test="line" data-time={l.ns}>
        <div class="logline" onClick={(e) => {
          if ((e.target as Element).closest("a") || getSelection()?.toString()) return;
          setActive(i);
          toggle(l.key);
        }}>
          <button type="button" class={cls("twist", !isOpen && "shut")} aria-expanded={isOpen} aria-label={`Labels of the line at ${clockNs(l.ns)}`} />
          <time title={rfc3339(l.ns)} dateTime={rfc3339(l.ns)}>{clockNs(l.ns)}</time>
          <LevelTag level={x.level} />
          <span class="svc" style={{ "--c": serviceColor(service) }}>{service}</span>
          {x.request ? <a class="reqid mono" href={href(requestPath(x.request))} title={`Request ${x.request}`}>{short(x.request, 14)}</a> : <span />}
          <span class="msg">{raw ? linkIds(l.line.slice(0, 4096), (id) => href(requestPath(id))) : <>{linkIds(x.message.slice(0, 4096), (id) => href(requestPath(id)))} {x.rest && <span class="kv">{linkIds(x.rest.slice(0, 2048), (id) => href(requestPath(id)))}</span>}</>}</span>
        </div>
        {isOpen && <Detail l={l} q={p.q} run={p.run} />}
      </div>
    );
  };
  return (
    <>
      <div class="summary">
        <span role="status"><b>{plural(all.length, "line")}</b>{older.more && <span class="dim"> loaded, more on scrolling</span>}</span>
        {p.a.scanned !== undefined && p.a.scanned > 0 && <span class="dim">{num(p.a.scanned)} read</span>}
        {p.tookMs !== undefined && <span class="dim">{dur(p.tookMs)}</span>}
        <span class="dim">newest first · times in {zoneText()}</span>
        {p.a.warnings.map((w, i) => <span class="warn" key={i}>{w}</span>)}
        <span class="grow" />
        <label class="check"><input type="checkbox" checked={wrap} onChange={() => set({ wrap: wrap ? null : "1" }, true)} /> wrap</label>
        <label class="check"><input type="checkbox" checked={raw} onChange={() => set({ raw: raw ? null : "1" }, true)} /> raw</label>
        <Copy class="btn" text={location.href} label="Link" title="Copy a link to this search" />
      </div>
      <VList class={cls("loglist", p.stale && "stale")} count={all.length} rowH={narrow ? 42 : 23} keyOf={keyOf} row={row} api={api} label="Log lines, newest first" top={110} attrs={{ style: width }} />
      <div ref={foot} class="foot dim">
        {older.busy ? "loading older lines …" : older.error ? <button type="button" onClick={() => void load()}>Older lines could not be loaded: {older.error.message} Try again</button> : older.more ? <button type="button" onClick={() => void load()}>Load older lines</button> : "start of the time range"}
      </div>
    </>
  );
}

export function LogsPage(): JSX.Element {
  useTitle("Logs");
  const r = urlRange();
  const q = loc.value.params.get("q") ?? "";
  const query = q.trim() || ALL;
  const valid = resolve(r) !== null;
  const base = valid ? JSON.stringify([query, r]) : null;
  const answer = useData<Answer>(base && `logs:${base}`, (s) => loadQuery(query, resolve(r)!, s), refreshMs());
  const volume = useData(base && isLogQuery(query) ? `volume:${base}` : null, (s) => loadVolume(query, resolve(r)!, s), refreshMs());
  const reload = (): void => {
    answer.reload();
    volume.reload();
  };
  const run = (next: string): void => {
    const t = next.trim();
    if (t === q.trim()) reload();
    else set({ q: t || null });
  };
  useKeys("Page", [{ keys: ["r"], label: "r", about: "run again", run: reload }]);
  const a = answer.data;
  const error = answer.error;
  return (
    <main id="main" class="page logs">
      <div class="bar" ref={useBar()}>
        <h1>Logs</h1>
        <QueryBox q={q} label="LogQL query" hint={ALL} run={run} error={error} busy={answer.loading} cancel={answer.cancel} />
        <RangePicker />
        <Refresh reload={reload} busy={answer.loading} />
      </div>
      <Progress on={answer.loading || volume.loading} />
      {!valid && <Empty title="The time range in the address cannot be read"><button type="button" onClick={() => setRange({ from: "now-1h", to: "now" })}>Last hour</button></Empty>}
      {error && <QueryError q={query} error={error} retry={answer.reload} />}
      {!error && volume.data && a?.kind !== "series" && (
        <Chart label="Lines by level" from={volume.data.span.from} to={volume.data.span.to} xs={volume.data.xs} stepMs={volume.data.step} series={volume.data.series} height={84} onZoom={zoomTo} onReset={zoomOut} />
      )}
      {!error && volume.error && <p class="dim">The volume over time could not be computed: {volume.error.message}</p>}
      {valid && !a && answer.loading && <Skeleton rows={16} />}
      {!error && a?.kind === "series" && <SeriesResult a={a} />}
      {!error && a?.kind === "lines" && (a.lines.length > 0
        ? <LineList a={a} q={query} run={run} tookMs={answer.tookMs} stale={answer.stale && answer.loading && !refreshMs()} />
        : !answer.loading && (
          <Empty title="No line matches">
            <p>The query is fine; nothing in this time range answers to it.</p>
            <div class="row">
              <button type="button" onClick={() => setRange({ from: "now-24h", to: "now" })}>Last 24 hours</button>
              {query !== ALL && <button type="button" onClick={() => run(ALL)}>All services</button>}
            </div>
          </Empty>
        ))}
    </main>
  );
}
