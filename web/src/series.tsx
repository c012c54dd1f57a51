// Series over time, of LogQL or PromQL: lines, and a table of what each is worth.
import type { JSX } from "preact";
import type { LokiSeries } from "./api";
import { Chart, type Dot, type Series } from "./chart";
import { plural } from "./format";
import { zoomOut, zoomTo } from "./rangepicker";
import type { Span } from "./time";
import { Empty } from "./ui";

export interface Matrix { series: LokiSeries[]; span: Span; step: number }

const DRAWN = 40;
const VALUE: Record<string, number> = { "+Inf": Infinity, "-Inf": -Infinity };
const read = (v: string): number | null => {
  const n = VALUE[v] ?? Number(v);
  return Number.isFinite(n) ? n : null; // what has no place on an axis is a gap
};
const show = (n: number | undefined): string => (n === undefined ? "–" : String(+n.toPrecision(6)));

export const seriesName = (m: Record<string, string>): string => {
  const { __name__: name = "", ...labels } = m;
  const all = Object.entries(labels);
  return all.length || !name ? `${name}{${all.map(([k, v]) => `${k}="${v}"`).join(", ")}}` : name;
};

export function SeriesResult(p: { a: Matrix; dots?: Dot[] }): JSX.Element {
  const { a } = p;
  const times = [...new Set(a.series.flatMap((s) => s.values.map((v) => v[0])))].sort((x, y) => x - y);
  const index = new Map(times.map((t, i) => [t, i]));
  const series: Series[] = a.series.slice(0, DRAWN).map((s, k) => {
    const values: (number | null)[] = new Array<number | null>(times.length).fill(null);
    for (const [t, v] of s.values) values[index.get(t)!] = read(v);
    return { name: seriesName(s.metric), color: `slot-${k % 8}`, values };
  });
  if (a.series.length === 0) return <Empty title="No series"><p>The query is fine, but it has no sample in this time range.</p></Empty>;
  return (
    <>
      <Chart label={plural(a.series.length, "series", "series")} from={a.span.from} to={a.span.to} xs={times.map((t) => t * 1000)} stepMs={a.step} series={series} dots={p.dots} height={280} lines onZoom={zoomTo} onReset={zoomOut} />
      <table class="series" data-test="series">
        <thead><tr><th>series</th><th class="n">last</th><th class="n extra">min</th><th class="n extra">mean</th><th class="n">max</th></tr></thead>
        <tbody>
          {series.map((s) => {
            const v = s.values.filter((x): x is number => x !== null);
            const mean = v.length ? v.reduce((x, y) => x + y, 0) / v.length : undefined;
            return (
              <tr key={s.name}>
                <td class="mono"><i class="swatch" style={{ "--c": `var(--${s.color})` }} />{s.name}</td>
                <td class="n">{show(v.at(-1))}</td><td class="n extra">{show(v.length ? Math.min(...v) : undefined)}</td><td class="n extra">{show(mean)}</td><td class="n">{show(v.length ? Math.max(...v) : undefined)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {a.series.length > DRAWN && <p class="dim">The first {DRAWN} of {a.series.length} series are drawn.</p>}
    </>
  );
}
