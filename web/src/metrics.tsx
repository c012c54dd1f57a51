// /ui/metrics : PromQL over stored samples; without a query, what there is to ask about.
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { get, type LokiSeries, useData } from "./api";
import type { Dot } from "./chart";
import { dur, plural } from "./format";
import { useKeys } from "./keys";
import { type Family, families, type Meta } from "./promql";
import { QueryBox, QueryError } from "./querybox";
import { RangePicker, Refresh, refreshMs, setRange, urlRange } from "./rangepicker";
import { href, loc, requestPath, set } from "./router";
import { type Matrix, seriesName, SeriesResult } from "./series";
import { logqlDuration, niceStep, resolve, type Span, stamp } from "./time";
import { Copy, Empty, Progress, Skeleton, useBar, useTitle } from "./ui";

interface Answer<T> { status: string; data: T; warnings?: string[]; infos?: string[] }
type Result = { resultType: "matrix"; result: LokiSeries[] } | { resultType: "scalar" | "string"; result: [number, string] };
interface Exemplar { labels: Record<string, string>; value: string; timestamp: number }
interface ExemplarSeries { seriesLabels: Record<string, string>; exemplars: Exemplar[] }

const SHOWN = 400, DOTS = 120;
const sec = (ms: number): string => (ms / 1000).toFixed(3);
const url = (path: string, q: Record<string, string>): string => `/api/v1/${path}?${new URLSearchParams(q)}`;

async function loadSeries(q: string, span: Span, signal: AbortSignal): Promise<Matrix & { warnings: string[] }> {
  const step = Math.max(1000, niceStep(span.to - span.from, 250));
  const first = Math.ceil(span.from / step) * step; // the same instants on every refresh
  const a = await get<Answer<Result>>(url("query_range", { query: q, start: sec(first), end: sec(span.to), step: logqlDuration(step) }), signal);
  return { series: a.data.resultType === "matrix" ? a.data.result : [], span, step, warnings: [...(a.warnings ?? []), ...(a.infos ?? [])] };
}

// Only exemplars that name a trace lead anywhere; the largest values are kept, for those one asks about.
async function loadDots(q: string, span: Span, signal: AbortSignal): Promise<Dot[]> {
  const a = await get<Answer<ExemplarSeries[]>>(url("query_exemplars", { query: q, start: sec(span.from), end: sec(span.to) }), signal);
  const dots = a.data.flatMap((s) => s.exemplars.map((e): Dot | null => {
    const id = e.labels.trace_id ?? e.labels.traceID ?? e.labels.traceId ?? "";
    return id ? { x: e.timestamp * 1000, y: Number(e.value), href: href(requestPath(id)), title: `${e.value} at ${stamp(e.timestamp * 1000)}: open its request (${seriesName(s.seriesLabels)})` } : null;
  })).filter((d): d is Dot => d !== null && Number.isFinite(d.y));
  return [...new Map(dots.map((d) => [`${d.x}|${d.href}`, d])).values()].sort((x, y) => y.y - x.y).slice(0, DOTS);
}

async function loadFamilies(span: Span, signal: AbortSignal): Promise<Family[]> {
  const [names, meta] = await Promise.all([
    get<Answer<string[]>>(url("label/__name__/values", { start: sec(span.from), end: sec(span.to) }), signal),
    get<Answer<Record<string, Meta[]>>>(url("metadata", {}), signal),
  ]);
  return families(names.data, meta.data);
}

function Browse(p: { list: Family[] }): JSX.Element {
  const [filter, setFilter] = useState("");
  const found = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    return p.list.filter((f) => words.every((w) => f.name.toLowerCase().includes(w) || f.help.toLowerCase().includes(w)));
  }, [p.list, filter]);
  return (
    <>
      <div class="summary">
        <span class="search"><input type="search" aria-label="Find a metric" placeholder="find a metric" value={filter} onInput={(e) => setFilter(e.currentTarget.value)} /></span>
        <span role="status"><b>{plural(found.length, "metric")}</b></span>
        {found.length > SHOWN && <span class="dim">the first {SHOWN} are listed</span>}
      </div>
      <table class="series metrics" data-test="metrics">
        <thead><tr><th>metric</th><th class="extra">type</th><th>meaning</th></tr></thead>
        <tbody>
          {found.slice(0, SHOWN).map((f) => (
            <tr key={f.name}>
              <td class="mono"><a href={href("/ui/metrics", { ...Object.fromEntries(loc.value.params), q: f.query })} title={f.query}>{f.name}</a></td>
              <td class="dim extra">{f.type || "–"}</td><td>{f.help}{f.unit && <span class="dim"> ({f.unit})</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

export function MetricsPage(): JSX.Element {
  useTitle("Metrics");
  const r = urlRange();
  const q = (loc.value.params.get("q") ?? "").trim();
  const valid = resolve(r) !== null;
  const key = valid ? JSON.stringify([q, r]) : null;
  const answer = useData(q && key ? `metrics:${key}` : null, (s) => loadSeries(q, resolve(r)!, s), refreshMs());
  const dots = useData(q && key ? `exemplars:${key}` : null, (s) => loadDots(q, resolve(r)!, s), refreshMs());
  const list = useData(!q && key ? `families:${key}` : null, (s) => loadFamilies(resolve(r)!, s));
  const reload = (): void => [answer, dots, list].forEach((x) => x.reload());
  const run = (next: string): void => {
    const t = next.trim();
    if (t === q) reload();
    else set({ q: t || null });
  };
  useKeys("Page", [{ keys: ["r"], label: "r", about: "run again", run: reload }]);
  const a = answer.data, error = answer.error ?? list.error;
  const busy = answer.loading || list.loading;
  return (
    <main id="main" class="page logs">
      <div class="bar" ref={useBar()}>
        <h1>Metrics</h1>
        <QueryBox q={q} label="PromQL query" hint="sum by (service_name) (rate(http_requests_total[5m]))" run={run} error={answer.error} busy={answer.loading} cancel={answer.cancel} />
        <RangePicker />
        <Refresh reload={reload} busy={busy} />
      </div>
      <Progress on={busy} />
      {!valid && <Empty title="The time range in the address cannot be read"><button type="button" onClick={() => setRange({ from: "now-1h", to: "now" })}>Last hour</button></Empty>}
      {error && <QueryError q={q} error={error} retry={reload} />}
      {valid && !error && busy && !(q ? a : list.data) && <Skeleton rows={12} />}
      {!error && q && a && (
        <>
          <div class="summary">
            <span role="status"><b>{plural(a.series.length, "series", "series")}</b></span>
            <span class="dim">a point each {logqlDuration(a.step)}</span>
            {answer.tookMs !== undefined && <span class="dim">{dur(answer.tookMs)}</span>}
            {dots.data && dots.data.length > 0 && <span class="dim" data-test="dots">{plural(dots.data.length, "exemplar")}: a dot opens its request</span>}
            {a.warnings.map((w, i) => <span class="warn" key={i}>{w}</span>)}
            <span class="grow" />
            <a href={href("/ui/metrics", { from: loc.value.params.get("from"), to: loc.value.params.get("to") })}>All metrics</a>
            <Copy class="btn" text={location.href} label="Link" title="Copy a link to this query" />
          </div>
          <SeriesResult a={a} dots={dots.data} />
        </>
      )}
      {!error && !q && list.data && (list.data.length > 0 ? <Browse list={list.data} /> : (
        <Empty title="No metrics yet">
          <p>Processes send them over OTLP, Prometheus by remote write to <code>/api/v1/write</code>:</p>
          <pre class="code">{`OTEL_METRICS_EXPORTER=otlp\nOTEL_EXPORTER_OTLP_ENDPOINT=http://${location.hostname}:4317`}</pre>
          <div class="row"><button type="button" onClick={() => setRange({ from: "now-24h", to: "now" })}>Last 24 hours</button></div>
        </Empty>
      ))}
    </main>
  );
}
