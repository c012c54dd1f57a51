// A virtual list: only rows in sight exist. Rows have one height, except those that were measured otherwise (expanded
// ones). It works in whatever scrolls around it, the page or a box, by watching where it stands in the viewport.
import type { ComponentChildren, JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface VListApi {
  show: (index: number, block?: "nearest" | "center") => void;
}

interface Props {
  count: number;
  rowH: number;
  keyOf: (i: number) => string;
  row: (i: number) => ComponentChildren;
  api?: RefObject<VListApi | null>;
  class?: string;
  role?: "list" | "rowgroup" | "treegrid";
  label: string;
  // attributes of the outer element (aria-*, key handling)
  attrs?: Record<string, unknown>;
  top?: number; // pixels at the top of the viewport covered by sticky bars
}

const OVER = 8; // rows drawn beyond each edge, so that a quick scroll meets no white

function scrollParent(el: Element): Element | null {
  for (let p = el.parentElement; p && p !== document.body; p = p.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(p).overflowY) && p.scrollHeight > p.clientHeight + 1) return p;
  }
  return null;
}

export function VList(p: Props): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<string, number>());
  const [version, setVersion] = useState(0);
  const [win, setWin] = useState({ a: 0, b: 60 });

  // offsets[i] = top of row i; only built when some row differs
  const offsets = useMemo(() => {
    if (heights.current.size === 0) return null;
    const o = new Float64Array(p.count + 1);
    for (let i = 0; i < p.count; i++) o[i + 1] = o[i]! + (heights.current.get(p.keyOf(i)) ?? p.rowH);
    return o;
  }, [version, p.count, p.rowH, p.keyOf]);
  const top = (i: number): number => (offsets ? offsets[i]! : i * p.rowH);
  const total = top(p.count);
  const indexAt = (y: number): number => {
    if (!offsets) return Math.floor(y / p.rowH);
    let lo = 0, hi = p.count;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (offsets[mid + 1]! <= y) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  };

  const update = (): void => {
    const el = box.current;
    if (!el) return;
    const r = el.getBoundingClientRect();
    const s = scrollParent(el)?.getBoundingClientRect();
    const from = Math.max(0, s ? s.top : 0) - r.top;
    const to = Math.min(innerHeight, s ? s.bottom : innerHeight) - r.top;
    const a = Math.max(0, Math.min(p.count, indexAt(Math.max(0, from))) - OVER);
    const b = Math.min(p.count, indexAt(Math.max(0, to)) + 1 + OVER);
    setWin((w) => (w.a === a && w.b === b ? w : { a, b }));
  };
  const latest = useRef(update);
  latest.current = update;

  useEffect(() => {
    let frame = 0;
    const f = (): void => {
      if (!frame) frame = requestAnimationFrame(() => {
        frame = 0;
        latest.current();
      });
    };
    document.addEventListener("scroll", f, { capture: true, passive: true });
    addEventListener("resize", f);
    const ro = new ResizeObserver(f);
    ro.observe(document.body);
    return () => {
      document.removeEventListener("scroll", f, { capture: true });
      removeEventListener("resize", f);
      ro.disconnect();
      cancelAnimationFrame(frame);
    };
  }, []);
  useLayoutEffect(update, [p.count, p.rowH, version]);

  // rows that are not of the usual height are measured after each draw
  useLayoutEffect(() => {
    let changed = false;
    box.current?.querySelectorAll<HTMLElement>(":scope > .vrow").forEach((el) => {
      const key = el.dataset.key!;
      const h = el.offsetHeight;
      if (h > p.rowH + 1) {
        if (heights.current.get(key) !== h) changed = !!heights.current.set(key, h);
      } else if (heights.current.delete(key)) changed = true;
    });
    if (changed) setVersion((v) => v + 1);
  });

  useLayoutEffect(() => {
    if (!p.api) return;
    p.api.current = {
      show(i, block = "nearest") {
        const el = box.current;
        if (!el || i < 0 || i >= p.count) return;
        const s = scrollParent(el);
        const r = el.getBoundingClientRect();
        const view = s ? s.getBoundingClientRect() : { top: p.top ?? 0, bottom: innerHeight };
        const y0 = r.top + top(i), y1 = r.top + top(i + 1);
        let by = 0;
        if (block === "center") by = (y0 + y1) / 2 - (view.top + view.bottom) / 2;
        else if (y0 < view.top) by = y0 - view.top;
        else if (y1 > view.bottom) by = y1 - view.bottom;
        if (by) (s ?? window).scrollBy(0, by);
        update();
      },
    };
  });

  const a = Math.min(win.a, p.count), b = Math.min(Math.max(win.b, a), p.count);
  const rows: JSX.Element[] = [];
  for (let i = a; i < b; i++) {
    const key = p.keyOf(i);
    rows.push(<div class="vrow" key={key} data-key={key} role="presentation" style={{ minHeight: `${p.rowH}px` }}>{p.row(i)}</div>);
  }
  return (
    <div ref={box} class={p.class} role={p.role ?? "list"} aria-label={p.label} {...p.attrs}>
      <div role="presentation" style={{ height: `${top(a)}px` }} />
      {rows}
      <div role="presentation" style={{ height: `${Math.max(0, total - top(b))}px` }} />
    </div>
  );
}
