// /ui/ : the requests of a time range, newest first.
import type { JSX } from "preact";
import { useCallback, useMemo, useRef } from "preact/hooks";
import { get, type RequestList, type RequestRow, useData } from "./api";
import { Chart, type Series } from "./chart";
import { dur, NONE, num, plural, short, tail } from "./format";
import { useKeys } from "./keys";
import { Refresh, RangePicker, refreshMs, setRange, urlRange, zoomOut, zoomTo } from "./rangepicker";
import { go, href, loc, requestPath, set } from "./router";
import { agoText, clockNs, dateNs, niceStep, nsToMs, resolve, rfc3339, type Span, stamp, toNs, zoneText } from "./time";
import { cls, Copy, Empty, ErrorBox, mark, MiniBar, Progress, Skeleton, StatusMark, tipProps, useBar, useDraft, useMedia, useNow, useTitle } from "./ui";
import { VList, type VListApi } from "./vlist";

const LIMIT = 1000;
const STATUSES = ["ok", "error", "cancelled", "running"] as const;

interface Answer extends RequestList {
  span: Span;
}

function listUrl(span: Span, q: string, status: string, minMs: string): string {
  const u = new URLSearchParams({ start: toNs(span.from), end: toNs(span.to), limit: String(LIMIT) });
  if (q) u.set("q", q);
  if (status) u.set("status", status);
  if (minMs) u.set("min_ms", minMs);
  return `/api/sonde/v1/requests?${u}`;
}

const idOf = (r: RequestRow): string => r.request_id || r.trace_id;
// Retries share the request id: a row leads to its own trace.
const rowHref = (r: RequestRow): string => href(requestPath(idOf(r)), { trace: r.request_id && r.attempts > 1 ? r.trace_id : "" });

interface Col {
  id: string;
  label: string;
  about: string;
  num?: boolean;
  by?: (r: RequestRow) => number | string; // what sorting compares; larger first
  cell: (r: RequestRow, ctx: { q: string; slow: number }) => JSX.Element | string;
}

const COLS: Col[] = [
  { id: "time", label: "Time", about: "when the request began", by: (r) => nsToMs(r.start_ns),
    cell: (r) => <time title={rfc3339(r.start_ns)} dateTime={rfc3339(r.start_ns)}>{clockNs(r.start_ns)}</time> },
  { id: "id", label: "Request", about: "x-request-id, or the trace id where none was sent",
    cell: (r, c) => (
      <>
        <a href={rowHref(r)} tabIndex={-1} class={cls("mono", !r.request_id && "traceid")} title={idOf(r)}>{mark(r.request_id || short(r.trace_id, 16), c.q)}</a>
        <Copy text={idOf(r)} />
      </>
    ) },
  { id: "status", label: "Status", about: "what became of it",
    cell: (r) => (
      <>
        <StatusMark status={r.status} http={r.http_status} />
        <span class="verdict" title={r.verdict}>{r.verdict}</span>
        {r.attempts > 1 && <span class="badge" title={`${r.attempts} attempts`}>×{r.attempts}</span>}
      </>
    ) },
  { id: "model", label: "Model", about: "the model asked for", by: (r) => r.model, cell: (r, c) => <span title={r.model}>{r.model ? mark(r.model, c.q) : NONE}</span> },
  { id: "workers", label: "Workers", about: "prefill worker → decode worker",
    cell: (r) => (r.prefill_worker || r.decode_worker
      ? <span class="mono dim" title={`prefill ${r.prefill_worker || NONE}\ndecode ${r.decode_worker || NONE}`}>{r.prefill_worker ? tail(r.prefill_worker, 4) : NONE} → {r.decode_worker ? tail(r.decode_worker, 4) : NONE}</span>
      : <span class="dim">{NONE}</span>) },
  { id: "tokens", label: "Tokens", about: "tokens in → tokens out", num: true, by: (r) => r.output_tokens ?? -1,
    cell: (r) => <span>{num(r.input_tokens)}<span class="dim"> → </span>{num(r.output_tokens)}</span> },
  { id: "ttft", label: "TTFT", about: "time to the first token", num: true, by: (r) => r.ttft_ms ?? -1, cell: (r) => dur(r.ttft_ms) },
  { id: "itl", label: "ITL", about: "mean time between tokens", num: true, by: (r) => r.itl_ms ?? -1, cell: (r) => dur(r.itl_ms) },
  { id: "duration", label: "Duration", about: "wall time as the frontend saw it", num: true, by: (r) => r.duration_ms,
    cell: (r, c) => (
      <span class="durcell" style={{ "--w": `${Math.min(100, (100 * r.duration_ms) / c.slow)}%` }}>{dur(r.duration_ms)}</span>
    ) },
  { id: "phases", label: "Phases", about: "where the time went: queue, routing, prefill, handover, KV transfer, decode, unaccounted",
    cell: (r) => <MiniBar phases={r.phases} total={r.duration_ms} /> },
];

function buckets(rows: RequestRow[], span: Span): { xs: number[]; step: number; series: Series[] } {
  const step = niceStep(span.to - span.from, 120);
  const first = Math.floor(span.from / step) * step;
  const n = Math.max(1, Math.ceil((span.to - first) / step));
  const ok = new Array<number>(n).fill(0), bad = new Array<number>(n).fill(0), other = new Array<number>(n).fill(0);
  for (const r of rows) {
    const i = Math.floor((nsToMs(r.start_ns) - first) / step);
    if (i < 0 || i >= n) continue;
    (r.status === "error" ? bad : r.status === "ok" ? ok : other)[i]!++;
  }
  return { xs: Array.from({ length: n }, (_, i) => first + i * step), step,
    series: [{ name: "error", color: "bar-error", values: bad }, { name: "cancelled or running", color: "bar-unknown", values: other }, { name: "ok", color: "bar-ok", values: ok }] };
}

// The three kinds of nothing: no data at all, none in this range, none under this filter.
function Nothing(p: { filtered: boolean; span: Span }): JSX.Element {
  const last = useData("last-request", (s) => get<RequestList>("/api/sonde/v1/requests?start=0&limit=1", s));
  const inRange = useData(p.filtered ? `any:${loc.value.params}` : null, (s) => get<RequestList>(listUrl(p.span, "", "", "") .replace(`limit=${LIMIT}`, "limit=1"), s));
  if (p.filtered && (inRange.data?.requests.length ?? 0) > 0) {
    return (
      <Empty title="The filter leaves no request">
        <p>There are requests in this time range, but none of them matches.</p>
        <button type="button" onClick={() => set({ q: null, status: null, min_ms: null })}>Drop the filter</button>
      </Empty>
    );
  }
  const newest = last.data?.requests[0];
  if (newest) {
    const ms = nsToMs(newest.start_ns);
    return (
      <Empty title="No request in this time range">
        <p>The newest one came {agoText(ms)}, at {stamp(ms)} {zoneText()}.</p>
        <button type="button" onClick={() => setRange({ from: String(Math.floor(ms - 1_800_000)), to: String(Math.ceil(ms + 60_000)) })}>Go there</button>
      </Empty>
    );
  }
  if (last.loading) return <Skeleton rows={3} />;
  const host = location.hostname;
  const env = `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:4317\nOTEL_EXPORT_ENABLED=1   # NVIDIA Dynamo`;
  return (
    <Empty title="Nothing has arrived yet">
      <p>Point an OpenTelemetry exporter at this server, then send a request through your frontend:</p>
      <pre class="code">{env}<Copy text={env} /></pre>
      <p class="dim">OTLP: gRPC {host}:4317, HTTP {host}:4318 · Loki push: {location.origin}/loki/api/v1/push</p>
    </Empty>
  );
}

function Filters(p: { q: string; status: string; minMs: string }): JSX.Element {
  const [draft, setDraft, flush] = useDraft(p.q, (v) => set({ q: v || null }, true));
  return (
    <div class="filters">
      <div class="search">
        <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="7" cy="7" r="4.5" /><path d="M10.5 10.5L14 14" /></svg>
        <input id="focus" type="search" value={draft} placeholder="request id, trace id, model, service" aria-label="Filter requests" spellcheck={false} autocomplete="off"
          onInput={(e) => setDraft(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === "Enter") {
              flush();
              if (/^[0-9a-f]{32}$/.test(draft.trim())) go(href(requestPath(draft.trim())));
            }
            if (e.key === "Escape") e.currentTarget.blur();
          }} />
        <kbd aria-hidden="true">/</kbd>
      </div>
      <div class="seg" role="group" aria-label="Status">
        <button type="button" aria-pressed={!p.status} onClick={() => set({ status: null })}>all</button>
        {STATUSES.map((s) => (
          <button type="button" key={s} aria-pressed={p.status === s} onClick={() => set({ status: p.status === s ? null : s })}>
            <i class={`dot st-${s}`} />{s}
          </button>
        ))}
      </div>
      <label class="minms">slower than{" "}
        <input type="number" min="0" step="any" value={p.minMs} aria-label="Slower than, in milliseconds" onChange={(e) => set({ min_ms: e.currentTarget.value || null })} /> ms
      </label>
    </div>
  );
}

export function RequestsPage(): JSX.Element {
  useTitle("Requests");
  const params = loc.value.params;
  const q = params.get("q") ?? "", status = params.get("status") ?? "", minMs = params.get("min_ms") ?? "", sort = params.get("sort") ?? "time";
  const r = urlRange();
  const valid = resolve(r) !== null;
  const key = valid ? `requests:${JSON.stringify([r, q, status, minMs])}` : null;
  const list = useData<Answer>(key, async (s) => {
    const span = resolve(r)!;
    return { ...(await get<RequestList>(listUrl(span, q, status, minMs), s)), span };
  }, refreshMs());
  const rows = useMemo(() => {
    const all = list.data?.requests ?? [];
    const by = COLS.find((c) => c.id === sort)?.by;
    if (!by || sort === "time") return all;
    return [...all].sort((a, b) => {
      const x = by(a), y = by(b);
      return typeof x === "string" ? x.localeCompare(y as string) : (y as number) - x;
    });
  }, [list.data, sort]);
  const slow = useMemo(() => {
    const d = rows.map((x) => x.duration_ms).sort((a, b) => a - b);
    return Math.max(1, d[Math.floor(d.length * 0.95)] ?? 1);
  }, [rows]);
  const hist = useMemo(() => list.data && buckets(list.data.requests, list.data.span), [list.data]);
  const [active, activeNow, setActive] = useNow(-1);
  const vl = useRef<VListApi>(null);
  const narrow = useMedia("(max-width: 860px)");
  const errors = useMemo(() => rows.filter((x) => x.status === "error").length, [rows]);
  const filtered = !!(q || status || minMs);

  const move = (to: number): void => {
    const i = Math.max(0, Math.min(rows.length - 1, to));
    setActive(i);
    vl.current?.show(i);
  };
  const jump = (dir: number): void => {
    for (let i = activeNow() + dir; i >= 0 && i < rows.length; i += dir) if (rows[i]!.status === "error") return move(i);
  };
  useKeys("Requests", [
    { keys: ["j", "ArrowDown"], label: "j ↓", about: "next row", run: () => move(activeNow() + 1) },
    { keys: ["k", "ArrowUp"], label: "k ↑", about: "previous row", run: () => move(activeNow() - 1) },
    { keys: ["g"], label: "g", about: "first row", run: () => move(0) },
    { keys: ["G"], label: "G", about: "last row", run: () => move(rows.length - 1) },
    { keys: ["e"], label: "e", about: "next error", run: () => jump(1) },
    { keys: ["E"], label: "E", about: "previous error", run: () => jump(-1) },
    { keys: ["Enter", "l"], label: "⏎ l", about: "open the request", run: () => rows[activeNow()] && go(rowHref(rows[activeNow()]!)) },
    { keys: ["r"], label: "r", about: "refresh", run: list.reload },
  ]);

  const keyOf = useCallback((i: number) => rows[i]!.trace_id, [rows]);
  const oldest = list.data?.requests.at(-1);
  const uncovered = list.data?.truncated && oldest ? [list.data.span.from, nsToMs(oldest.start_ns)] as [number, number] : null;
  const row = (i: number): JSX.Element => {
    const x = rows[i]!;
    const day = i > 0 && sort === "time" && dateNs(x.start_ns) !== dateNs(rows[i - 1]!.start_ns);
    return (
      <div role="row" aria-rowindex={i + 2} class={cls("rq", `is-${x.status}`, i === active && "active", day && "newday")} data-test="request-row" data-id={idOf(x)}
        tabIndex={i === Math.max(0, active) ? 0 : -1} aria-selected={i === active}
        onFocus={() => setActive(i)}
        onClick={(e) => {
          if ((e.target as Element).closest("a,button") || getSelection()?.toString()) return;
          if (e.metaKey || e.ctrlKey) open(rowHref(x), "_blank");
          else go(rowHref(x));
        }}>
        {COLS.map((c) => <div role="gridcell" key={c.id} class={cls(`c-${c.id}`, c.num && "n")}>{c.cell(x, { q, slow })}</div>)}
      </div>
    );
  };

  return (
    <main id="main" class="page requests">
      <div class="bar" ref={useBar()}>
        <h1>Requests</h1>
        <Filters q={q} status={status} minMs={minMs} />
        <span class="grow" />
        <RangePicker />
        <Refresh reload={list.reload} busy={list.loading} />
      </div>
      <Progress on={list.loading} />
      {!valid && <Empty title="The time range in the address cannot be read"><p>“{r.from}” to “{r.to}”: try now-1h to now.</p><button type="button" onClick={() => setRange({ from: "now-1h", to: "now" })}>Last hour</button></Empty>}
      {list.error && <ErrorBox error={list.error} retry={list.reload} title="The requests could not be loaded" />}
      {hist && list.data && (
        <Chart label="Requests" from={list.data.span.from} to={list.data.span.to} xs={hist.xs} stepMs={hist.step} series={hist.series} height={84}
          uncovered={uncovered} onZoom={zoomTo} onReset={zoomOut} />
      )}
      {valid && !list.data && list.loading && <Skeleton rows={14} />}
      {list.data && rows.length === 0 && !list.loading && <Nothing filtered={filtered} span={list.data.span} />}
      {rows.length > 0 && (
        <>
          <div class="summary" role="status">
            <b>{plural(rows.length, "request")}</b>{errors > 0 && <span class="bad">{plural(errors, "error")}</span>}
            {list.tookMs !== undefined && <span class="dim">{dur(list.tookMs)}</span>}
            <span class="dim">times in {zoneText()}</span>
            {list.data?.truncated && oldest && (
              <span class="warn">only the newest {num(LIMIT)}; older ones exist
                <button type="button" class="link" onClick={() => set({ to: String(Math.ceil(nsToMs(oldest.start_ns))), from: String(Math.floor(list.data!.span.from)) })}>show older</button>
              </span>
            )}
          </div>
          <div class={cls("grid", list.stale && list.data && list.loading && !refreshMs() && "stale")} role="grid" aria-label="Requests" aria-rowcount={rows.length + 1} aria-busy={list.loading}>
            <div role="row" class="rq cols" aria-rowindex={1}>
              {COLS.map((c) => (
                <div role="columnheader" key={c.id} class={cls(`c-${c.id}`, c.num && "n")} aria-sort={c.by && sort === c.id ? "descending" : undefined} {...tipProps(() => c.about)}>
                  {c.by ? <button type="button" class={cls(sort === c.id && "on")} onClick={() => set({ sort: c.id === "time" || c.id === sort ? null : c.id })}>{c.label}{sort === c.id && <span aria-hidden="true"> ↓</span>}</button> : c.label}
                </div>
              ))}
            </div>
            <VList count={rows.length} rowH={narrow ? 66 : 29} keyOf={keyOf} row={row} api={vl} role="rowgroup" label="Requests" top={80} />
          </div>
        </>
      )}
    </main>
  );
}
