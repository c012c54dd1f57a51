// Time range: presets, or two texts; relative ranges stay relative in the URL.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { loc, set } from "./router";
import { parseTime, PRESETS, type Range, rangeText, resolve, stamp, zoneText } from "./time";
import { cls } from "./ui";
import { useKeys } from "./keys";

export const DEFAULT: Range = { from: "now-1h", to: "now" };

export function urlRange(): Range {
  const q = loc.value.params;
  return { from: q.get("from") ?? DEFAULT.from, to: q.get("to") ?? DEFAULT.to };
}

export function setRange(r: Range): void {
  const plain = r.from === DEFAULT.from && r.to === DEFAULT.to;
  set({ from: plain ? null : r.from, to: plain || r.to === "now" ? null : r.to });
}

export const zoomTo = (from: number, to: number): void => setRange({ from: String(Math.floor(from)), to: String(Math.ceil(to)) });

// Twice the span around the same middle, not beyond now.
export function zoomOut(): void {
  const s = resolve(urlRange());
  if (!s) return;
  const half = s.to - s.from;
  zoomTo(s.from - half / 2, Math.min(Date.now(), s.to + half / 2));
}

export function RangePicker(): JSX.Element {
  const r = urlRange();
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState(r.from);
  const [to, setTo] = useState(r.to);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useKeys("Time", [
    { keys: ["t"], label: "t", about: "time range", run: () => setOpen(true) },
    { keys: ["z"], label: "z", about: "zoom out", run: zoomOut },
  ]);
  useEffect(() => {
    if (!open) return undefined;
    const s = resolve(urlRange());
    const abs = /^\d+$/.test(r.from) && s;
    setFrom(abs ? stamp(s.from) : r.from);
    setTo(abs ? stamp(s.to) : r.to);
    box.current?.querySelector<HTMLElement>("[role=menuitemradio]")?.focus();
    const out = (e: Event): void => {
      if (!box.current?.contains(e.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", out);
    return () => document.removeEventListener("pointerdown", out);
  }, [open]);
  const now = Date.now();
  const a = parseTime(from, now), b = parseTime(to, now, true);
  const wrong = a === null ? "“from” is not a time" : b === null ? "“to” is not a time" : a >= b ? "“from” must be before “to”" : "";
  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  return (
    <div class="range" ref={box} onKeyDown={(e) => e.key === "Escape" && open && (e.stopPropagation(), close())}>
      <button type="button" ref={button} class="pick" aria-haspopup="true" aria-expanded={open} onClick={() => setOpen(!open)} title="Time range (t)">
        <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.5" /><path d="M8 5v3l2 1.5" /></svg>
        {rangeText(r)}
      </button>
      {open && (
        <div class="pop">
          <div role="menu" class="presets" aria-label="Recent ranges"
            onKeyDown={(e) => {
              const step = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
              if (!step) return;
              e.preventDefault();
              const all = [...e.currentTarget.querySelectorAll<HTMLElement>("button")];
              all[(all.indexOf(document.activeElement as HTMLElement) + step + all.length) % all.length]?.focus();
            }}>
            {PRESETS.map(([k, words]) => (
              <button type="button" key={k} role="menuitemradio" aria-checked={r.from === `now-${k}` && r.to === "now"}
                class={cls(r.from === `now-${k}` && r.to === "now" && "on")}
                onClick={() => {
                  setRange({ from: `now-${k}`, to: "now" });
                  close();
                }}>Last {words}</button>
            ))}
          </div>
          <form onSubmit={(e) => {
            e.preventDefault();
            if (wrong) return;
            const keep = (t: string, up: boolean): string => (/now|today|yesterday|^\d+(\.\d+)?[smhdwMy]$/.test(t) ? t.trim() : String(Math.round(parseTime(t, now, up)!)));
            setRange({ from: keep(from, false), to: keep(to, true) });
            close();
          }}>
            <label>From<input value={from} spellcheck={false} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
            <label>To<input value={to} spellcheck={false} onInput={(e) => setTo(e.currentTarget.value)} /></label>
            <p class={wrong ? "wrong" : "dim"} role={wrong ? "alert" : undefined}>{wrong || `${stamp(a!)} – ${stamp(b!)} ${zoneText()}`}</p>
            <button type="submit" class="primary" disabled={!!wrong}>Apply</button>
            <p class="dim small">now-90m · now/d · 2026-11-22 10:30 · epoch</p>
          </form>
        </div>
      )}
    </div>
  );
}

const REFRESH: [string, number][] = [["off", 0], ["5s", 5000], ["10s", 10_000], ["30s", 30_000], ["1m", 60_000]];
export const refreshMs = (): number => REFRESH.find((r) => r[0] === loc.value.params.get("refresh"))?.[1] ?? 0;

export function Refresh(p: { reload: () => void; busy: boolean }): JSX.Element {
  return (
    <div class="refresh">
      <button type="button" class={cls("icon", p.busy && "busy")} onClick={p.reload} title="Refresh (r)" aria-label="Refresh">
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3" /></svg>
      </button>
      <select aria-label="Refresh by itself" value={loc.value.params.get("refresh") ?? "off"} onChange={(e) => set({ refresh: e.currentTarget.value === "off" ? null : e.currentTarget.value }, true)}>
        {REFRESH.map(([k]) => <option key={k} value={k}>{k}</option>)}
      </select>
    </div>
  );
}
