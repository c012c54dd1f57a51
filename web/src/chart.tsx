// Charts over uPlot: stacked bars over time (requests, log volume) and lines (metric queries). Drag to zoom.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { num } from "./format";
import { paint, token } from "./theme";
import { clockNs, stamp, toNs, utc } from "./time";

export interface Series {
  name: string;
  color: string; // name of a token, without var()
  values: (number | null)[];
}

// A sample with somewhere to go: an exemplar that leads to its request.
export interface Dot { x: number; y: number; href: string; title: string } // x: ms

interface Props {
  label: string;
  from: number; // ms; the whole range asked for, also where no data is
  to: number;
  xs: number[]; // ms, left edge of each bucket (bars) or the sample's time (lines)
  stepMs: number;
  series: Series[];
  height: number;
  lines?: boolean;
  dots?: Dot[] | undefined;
  uncovered?: [number, number] | null; // part of the range the data does not speak about
  onZoom: (from: number, to: number) => void;
  onReset?: () => void;
}

// Counts have whole steps only.
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1e8, 1e9];

const css = (c: string): string => token(`--${c}`) || c;

function hatch(u: uPlot, from: number, to: number): void {
  const x0 = Math.max(u.bbox.left, u.valToPos(from / 1000, "x", true));
  const x1 = Math.min(u.bbox.left + u.bbox.width, u.valToPos(to / 1000, "x", true));
  if (x1 <= x0) return;
  const g = u.ctx;
  g.save();
  g.beginPath();
  g.rect(x0, u.bbox.top, x1 - x0, u.bbox.height);
  g.clip();
  g.strokeStyle = css("line");
  g.lineWidth = devicePixelRatio;
  g.beginPath();
  for (let x = x0 - u.bbox.height; x < x1; x += 6 * devicePixelRatio) {
    g.moveTo(x, u.bbox.top + u.bbox.height);
    g.lineTo(x + u.bbox.height, u.bbox.top);
  }
  g.stroke();
  g.restore();
}

// Links laid over the plot where their samples are; those outside of it are left out.
function place(u: uPlot, dots: Dot[]): void {
  u.over.querySelectorAll("a.exemplar").forEach((e) => e.remove());
  const { width, height } = u.over.getBoundingClientRect();
  for (const d of dots) {
    const x = u.valToPos(d.x / 1000, "x"), y = u.valToPos(d.y, "y");
    if (!(x >= 0 && x <= width && y >= 0 && y <= height)) continue;
    const a = document.createElement("a");
    a.className = "exemplar";
    a.href = d.href;
    a.title = d.title;
    a.setAttribute("aria-label", d.title);
    a.dataset.test = "exemplar";
    a.style.left = `${x}px`;
    a.style.top = `${y}px`;
    a.addEventListener("mousedown", (e) => e.stopPropagation()); // no zoom begins here
    u.over.append(a);
  }
}

// Stacked from below: the drawn series are running sums, the topmost drawn first.
function stack(series: Series[], n: number): (number | null)[][] {
  const sum = new Array<number>(n).fill(0);
  const out: (number | null)[][] = [];
  for (const s of series) {
    for (let i = 0; i < n; i++) sum[i]! += s.values[i] ?? 0;
    out.push(sum.map((v) => v || null));
  }
  return out.reverse();
}

function axisValues(_u: uPlot, splits: number[], _i: number, _s: number, incr: number): string[] {
  return splits.map((v) => {
    const s = stamp(v * 1000);
    if (incr >= 86_400) return s.slice(5, 10);
    return incr < 1 ? clockNs(toNs(v * 1000), 3) : incr < 60 ? s.slice(11) : s.slice(11, 16);
  });
}

function options(p: Props, width: number, hover: (i: number | null) => void, zoom: Props["onZoom"], reset: () => void): uPlot.Options {
  const bars = uPlot.paths.bars!({ size: [1, Infinity], align: 1, gap: 1 });
  const order = p.lines ? p.series : [...p.series].reverse();
  const font = `11px ${token("--sans")}`;
  return {
    width, height: p.height, pxAlign: 1, tzDate: (ts) => (utc() ? uPlot.tzDate(new Date(ts * 1e3), "Etc/UTC") : new Date(ts * 1e3)),
    padding: [6, 8, 0, 0],
    legend: { show: false },
    cursor: { x: true, y: false, points: { show: !!p.lines }, drag: { x: true, y: false, setScale: false, dist: 4 },
      bind: { dblclick: () => () => (reset(), null) } },
    scales: { x: { time: true, range: () => [p.from / 1000, p.to / 1000] as [number, number] },
      y: { range: (_u, lo, hi) => [p.lines ? Math.min(0, lo) : 0, hi > 0 ? hi * 1.08 : 1] as [number, number] } },
    axes: [
      { stroke: css("dim"), font, size: 24, gap: 4, space: 80, grid: { show: false }, ticks: { stroke: css("line"), size: 4, width: 1 }, values: axisValues },
      { stroke: css("dim"), font, size: 48, gap: 4, space: 26, ...(p.lines ? {} : { incrs: WHOLE }), grid: { stroke: css("line"), width: 1 }, ticks: { show: false },
        values: (_u, v) => v.map((x) => (Math.abs(x) >= 1e6 ? `${x / 1e6} M` : Math.abs(x) >= 1e4 ? `${x / 1e3} k` : p.lines || Number.isInteger(x) ? String(+x.toPrecision(6)) : "")) },
    ],
    series: [{}, ...order.map((s): uPlot.Series => p.lines
      ? { label: s.name, stroke: css(s.color), width: 1.5, points: { show: p.xs.length < 40, size: 4 } }
      : { label: s.name, fill: css(s.color), stroke: css(s.color), width: 0, paths: bars, points: { show: false } })],
    hooks: {
      draw: [(u) => place(u, p.dots ?? [])],
      drawClear: [(u) => p.uncovered && hatch(u, p.uncovered[0], p.uncovered[1])],
      setCursor: [(u) => {
        const left = u.cursor.left ?? -1;
        if (left < 0) return hover(null);
        if (p.lines) return hover(u.cursor.idx ?? null);
        const i = Math.floor((u.posToVal(left, "x") * 1000 - (p.xs[0] ?? 0)) / p.stepMs);
        return hover(i >= 0 && i < p.xs.length ? i : null);
      }],
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const a = u.posToVal(u.select.left, "x") * 1000, b = u.posToVal(u.select.left + u.select.width, "x") * 1000;
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        zoom(Math.floor(a), Math.ceil(b));
      }],
    },
  };
}

export function Chart(p: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const onZoom = useRef(p.onZoom);
  onZoom.current = p.onZoom;
  const onReset = useRef(p.onReset);
  onReset.current = p.onReset;
  const look = paint.value;

  useEffect(() => {
    const ro = new ResizeObserver(() => setWidth(Math.floor(host.current?.clientWidth ?? 0)));
    ro.observe(host.current!);
    return () => ro.disconnect();
  }, []);
  const shape = JSON.stringify([p.from, p.to, p.stepMs, p.xs.length, p.series, p.dots, p.uncovered, p.height, utc()]);
  useLayoutEffect(() => {
    if (!width) return undefined;
    const ys = p.lines ? p.series.map((s) => s.values) : stack(p.series, p.xs.length);
    const u = new uPlot(options(p, width, setAt, (a, b) => onZoom.current(a, b), () => onReset.current?.()),
      [p.xs.map((x) => x / 1000), ...ys] as uPlot.AlignedData, host.current!);
    return () => u.destroy();
  }, [width, shape, look]);

  const total = (s: Series): number => s.values.reduce<number>((a, v) => a + (v ?? 0), 0);
  return (
    <figure class="chart" aria-label={p.label}>
      <figcaption>
        <span class="when">{at === null ? p.label : p.lines ? stamp(p.xs[at]!) : `${stamp(p.xs[at]!)} + ${p.stepMs >= 1000 ? `${p.stepMs / 1000} s` : `${p.stepMs} ms`}`}</span>
        {p.series.slice(0, 12).map((s) => (
          <span class="key" key={s.name}>
            <i style={{ background: s.color.startsWith("#") ? s.color : `var(--${s.color})` }} />
            {s.name} <b>{at === null ? (p.lines ? "" : num(total(s))) : (s.values[at] === null ? "–" : p.lines ? String(+(s.values[at] ?? 0).toPrecision(6)) : num(s.values[at] ?? 0))}</b>
          </span>
        ))}
        {p.series.length > 12 && <span class="dim">+{p.series.length - 12}</span>}
      </figcaption>
      <div ref={host} class="plot" style={{ height: `${p.height}px` }} />
    </figure>
  );
}
