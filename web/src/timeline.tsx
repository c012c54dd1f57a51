// The time axis that lanes and waterfall share: one scale, drag to zoom, a crosshair through everything.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { dur, ticks } from "./format";
import { clockNs } from "./time";

// All in milliseconds from the request's start.
export interface View {
  a: number;
  b: number;
  width: number; // pixels of the plot, to decide what still fits
}

export const at = (v: View, t: number): number => (100 * (t - v.a)) / (v.b - v.a);
export const px = (v: View, ms: number): number => (v.width * ms) / (v.b - v.a);
export const place = (v: View, t: number, ms: number): Record<string, string> => ({ left: `${at(v, t)}%`, width: `${Math.max(0, (100 * ms) / (v.b - v.a))}%` });
export const visible = (v: View, t: number, ms: number): boolean => t + ms >= v.a && t <= v.b;

interface Props {
  domain: [number, number];
  zoom: [number, number] | null;
  baseNs: string;
  onZoom: (z: [number, number] | null) => void;
  children: (v: View) => ComponentChildren;
}

export function Timeline(p: Props): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const cross = useRef<HTMLDivElement>(null);
  const brush = useRef<HTMLDivElement>(null);
  const drag = useRef<{ x0: number; on: boolean } | null>(null);
  const [width, setWidth] = useState(600);
  const [a, b] = p.zoom ?? p.domain;
  const v: View = { a, b, width };

  const plot = (): { left: number; width: number; host: DOMRect } => {
    const h = host.current!.getBoundingClientRect();
    const r = host.current!.querySelector(".axis .plot")!.getBoundingClientRect();
    return { left: r.left, width: r.width, host: h };
  };
  useEffect(() => {
    const ro = new ResizeObserver(() => setWidth(host.current?.querySelector(".axis .plot")?.clientWidth ?? 600));
    ro.observe(host.current!);
    return () => ro.disconnect();
  }, []);

  const move = (e: PointerEvent): void => {
    const r = plot();
    const x = e.clientX - r.left;
    const inside = x >= 0 && x <= r.width && e.pointerType === "mouse";
    const c = cross.current!;
    c.hidden = !inside;
    if (inside) {
      const t = a + (x / r.width) * (b - a);
      c.style.left = `${r.left - r.host.left + x}px`;
      c.firstElementChild!.textContent = dur(t);
      c.classList.toggle("flip", x > r.width - 70);
    }
    const d = drag.current;
    if (!d) return;
    if (!d.on && Math.abs(e.clientX - d.x0) > 5) {
      d.on = true;
      host.current!.setPointerCapture(e.pointerId);
    }
    if (d.on) {
      const s = brush.current!;
      const x0 = Math.max(0, Math.min(d.x0, e.clientX) - r.left), x1 = Math.min(r.width, Math.max(d.x0, e.clientX) - r.left);
      s.hidden = false;
      s.style.left = `${r.left - r.host.left + x0}px`;
      s.style.width = `${Math.max(0, x1 - x0)}px`;
    }
  };
  const up = (e: PointerEvent): void => {
    const d = drag.current;
    drag.current = null;
    brush.current!.hidden = true;
    if (!d?.on) return;
    const r = plot();
    const t = (x: number): number => a + (Math.max(0, Math.min(r.width, x - r.left)) / r.width) * (b - a);
    const z: [number, number] = [t(Math.min(d.x0, e.clientX)), t(Math.max(d.x0, e.clientX))];
    if (z[1] - z[0] > (p.domain[1] - p.domain[0]) * 1e-6) p.onZoom(z);
  };

  return (
    <div class="timeline" ref={host}
      onPointerDown={(e) => {
        if (e.button === 0 && e.pointerType === "mouse" && e.clientX >= plot().left) drag.current = { x0: e.clientX, on: false };
      }}
      onPointerMove={move} onPointerUp={up} onPointerCancel={() => (drag.current = null)}
      onPointerLeave={() => (cross.current!.hidden = true)}
      onDblClick={(e) => e.clientX >= plot().left && p.zoom && p.onZoom(null)}>
      <div class="axis">
        <div class="gut">
          {p.zoom ? <button type="button" class="link" onClick={() => p.onZoom(null)}>whole request (z)</button> : <span class="dim">from {clockNs(p.baseNs, 6)}</span>}
        </div>
        <div class="plot">
          {ticks(a, b, Math.max(2, width / 110)).map((t) => <span key={t} class="tick" style={{ left: `${at(v, t)}%` }}>{px(v, b - t) > 44 && <b>{dur(t)}</b>}</span>)}
        </div>
      </div>
      {p.children(v)}
      <div class="crosshair" ref={cross} hidden><b /></div>
      <div class="brush" ref={brush} hidden />
    </div>
  );
}
