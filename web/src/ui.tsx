// Small parts used on every page.
import { signal } from "@preact/signals";
import type { ComponentChildren, JSX, RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ApiError, PhaseSum, Status } from "./api";
import { LEVEL_TEXT, type Level, phaseColor, phaseText, serviceColor } from "./colors";
import { dur, percent } from "./format";

export const cls = (...names: (string | false | null | undefined)[]): string => names.filter(Boolean).join(" ");

const announcement = signal("");
export function announce(text: string): void {
  announcement.value = text;
}
export const Announcer = (): JSX.Element => <div class="vh" role="status" aria-live="polite">{announcement.value}</div>;

export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // plain http on another host has no clipboard API: the old way, through a selection
    const t = document.createElement("textarea");
    t.value = text;
    t.className = "vh";
    document.body.append(t);
    t.select();
    const ok = document.execCommand("copy");
    t.remove();
    return ok;
  }
}

export function Copy(p: { text: string; label?: string; title?: string; class?: string }): JSX.Element {
  const [done, setDone] = useState("");
  useEffect(() => {
    if (!done) return undefined;
    const t = setTimeout(() => setDone(""), 1200);
    return () => clearTimeout(t);
  }, [done]);
  const title = p.title ?? `Copy ${p.text}`;
  return (
    <button type="button" class={cls("copy", p.label && "labelled", done && "done", p.class)} title={title} aria-label={title}
      onClick={async (e) => {
        e.stopPropagation();
        e.preventDefault();
        const ok = await copy(p.text);
        setDone(ok ? "copied" : "not copied");
        announce(ok ? "Copied" : "The browser did not allow copying");
      }}>
      <svg viewBox="0 0 16 16" aria-hidden="true">{done === "copied" ? <path d="M3.5 8.5l3 3 6-7" /> : <path d="M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" />}</svg>
      {p.label && <span>{done === "copied" ? "Copied" : p.label}</span>}
    </button>
  );
}

const STATUS_GLYPH: Record<Status, string> = { ok: "●", error: "✕", cancelled: "◌", running: "◐" };
export const StatusMark = (p: { status: Status; http?: number | null; text?: boolean }): JSX.Element => (
  <span class={`status st-${p.status}`} title={p.status + (p.http ? ` · HTTP ${p.http}` : "")}>
    <i aria-hidden="true">{STATUS_GLYPH[p.status] ?? "?"}</i>
    <span class={p.text ? "" : "vh"}>{p.status}</span>
  </span>
);

export const LevelTag = (p: { level: Level }): JSX.Element => <span class={`lv lv-${p.level}`}>{LEVEL_TEXT[p.level]}</span>;

export const Service = (p: { name: string }): JSX.Element => (
  <span class="svc" style={{ "--c": serviceColor(p.name) }} title={p.name}>{p.name}</span>
);

// Room for the longest name of a column of services, so that dynamo-worker-prefill and -decode can be told apart.
export const serviceWidth = (names: Iterable<string>): Record<string, string> => ({ "--svcw": `${Math.min(26, Math.max(8, ...[...names].map((n) => n.length)) + 2.5)}ch` });

// The phases of one request as one bar, widths by share; the words are in the tooltip and for readers of the screen.
export function MiniBar(p: { phases: PhaseSum[]; total: number }): JSX.Element {
  const words = p.phases.map((x) => `${phaseText(x.name)} ${dur(x.ms)}`).join(", ");
  return (
    <span class="minibar" role="img" aria-label={words || "no phases known"}
      {...tipProps(() => <PhaseTip phases={p.phases} total={p.total} />)}>
      {p.phases.map((x, i) => (
        <i key={i} class={cls(x.name === "unaccounted" && "hatch")} style={{ flexGrow: String(Math.max(x.ms, 0)), "--c": phaseColor(x.name) }} />
      ))}
    </span>
  );
}

const PhaseTip = (p: { phases: PhaseSum[]; total: number }): JSX.Element => (
  <table class="tiptable">
    <tbody>
      {p.phases.map((x, i) => (
        <tr key={i}>
          <td><i class={cls("swatch", x.name === "unaccounted" && "hatch")} style={{ "--c": phaseColor(x.name) }} />{phaseText(x.name)}</td>
          <td class="n">{dur(x.ms)}</td>
          <td class="n dim">{percent(x.ms, p.total)}</td>
        </tr>
      ))}
      <tr class="sum"><td>wall time</td><td class="n">{dur(p.total)}</td><td /></tr>
    </tbody>
  </table>
);

// ---- tooltip: one for the page, placed beside the pointer, never under it
const tip = signal<{ x: number; y: number; body: () => ComponentChildren } | null>(null);
export function tipProps(body: () => ComponentChildren): Record<string, unknown> {
  return {
    onPointerMove: (e: PointerEvent) => {
      if (e.pointerType === "mouse") tip.value = { x: e.clientX, y: e.clientY, body };
    },
    onPointerLeave: () => (tip.value = null),
  };
}
export const hideTip = (): void => void (tip.value = null);

export function Tooltip(): JSX.Element | null {
  const t = tip.value;
  const el = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (!t || !el.current) return;
    const r = el.current.getBoundingClientRect();
    const x = t.x + 14 + r.width > innerWidth ? Math.max(4, t.x - r.width - 12) : t.x + 14;
    const y = t.y + 16 + r.height > innerHeight ? Math.max(4, t.y - r.height - 12) : t.y + 16;
    el.current.style.transform = `translate(${x}px, ${y}px)`;
  });
  return t ? <div class="tip" ref={el} aria-hidden="true">{t.body()}</div> : null;
}

// ---- states of a page
export function ErrorBox(p: { error: ApiError; retry?: () => void; title?: string }): JSX.Element {
  return (
    <div class="state bad" role="alert">
      <h2>{p.title ?? "That did not work"}</h2>
      <p>{p.error.message}</p>
      {p.retry && <button type="button" onClick={p.retry}>Try again</button>}
    </div>
  );
}

export const Empty = (p: { title: string; children?: ComponentChildren }): JSX.Element => (
  <div class="state">
    <h2>{p.title}</h2>
    {p.children}
  </div>
);

export const Skeleton = (p: { rows: number }): JSX.Element => (
  <div class="skeleton" aria-busy="true" aria-label="Loading">
    {Array.from({ length: p.rows }, (_, i) => <i key={i} style={{ width: `${92 - ((i * 37) % 41)}%` }} />)}
  </div>
);

export const Progress = (p: { on: boolean }): JSX.Element => <div class={cls("progress", p.on && "on")} aria-hidden="true" />;

// Sets the tab's title while the page is shown.
export function useTitle(t: string): void {
  useEffect(() => {
    document.title = t ? `${t} · Sonde` : "Sonde";
  }, [t]);
}

// The height of a page's sticky bar as --bar, for what sticks below it.
export function useBar(): RefObject<HTMLDivElement | null> {
  const el = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const f = (): void => document.documentElement.style.setProperty("--bar", `${el.current?.offsetHeight ?? 0}px`);
    const ro = new ResizeObserver(f);
    ro.observe(el.current!);
    f();
    return () => ro.disconnect();
  }, []);
  return el;
}

export function useMedia(query: string): boolean {
  const [on, setOn] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const m = matchMedia(query);
    const f = (): void => setOn(m.matches);
    m.addEventListener("change", f);
    return () => m.removeEventListener("change", f);
  }, [query]);
  return on;
}

// A state that handlers read as it is now, not as it was when they were made: keys come faster than pages are drawn.
export function useNow<T>(first: T): [T, () => T, (v: T) => void] {
  const [shown, show] = useState(first);
  const now = useRef(first);
  return [shown, () => now.current, (v) => {
    now.current = v;
    show(v);
  }];
}

// A text field whose value lives in the URL: typing is local, the URL follows after a pause.
export function useDraft(value: string, commit: (v: string) => void, wait = 250): [string, (v: string) => void, () => void] {
  const [draft, setDraft] = useState(value);
  const sent = useRef(value);
  const timer = useRef(0);
  useEffect(() => {
    if (value !== sent.current) {
      sent.current = value;
      setDraft(value);
    }
  }, [value]);
  const flush = (v: string): void => {
    clearTimeout(timer.current);
    if (v !== sent.current) {
      sent.current = v;
      commit(v);
    }
  };
  return [draft, (v) => {
    setDraft(v);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => flush(v), wait);
  }, () => flush(draft)];
}

// Any id that names a request becomes a link: 32 hex digits, or what stands behind x_request_id / request_id / trace_id.
const ID = /\b[0-9a-f]{32}\b|(?:x[-_]request[-_]id|request_id|trace_id|traceID)\\?"?\s*[=:]\s*\\?"?([A-Za-z0-9][\w.:-]{2,127})/g;
export function linkIds(text: string, link: (id: string) => string): ComponentChildren {
  if (text.length > 4096) return text;
  const out: ComponentChildren[] = [];
  let at = 0;
  for (const m of text.matchAll(ID)) {
    const id = m[1] ?? m[0];
    const from = m.index + m[0].length - id.length;
    if (/^(none|null|true|false)$/.test(id)) continue;
    out.push(text.slice(at, from), <a key={from} href={link(id)} onClick={(e) => e.stopPropagation()}>{id}</a>);
    at = from + id.length;
  }
  if (!at) return text;
  out.push(text.slice(at));
  return out;
}

// Marks what a search text found.
export function mark(text: string, needle: string): ComponentChildren {
  if (!needle || text.length > 20_000) return text;
  const low = text.toLowerCase(), n = needle.toLowerCase();
  const out: ComponentChildren[] = [];
  let at = 0;
  for (let i = low.indexOf(n); i >= 0 && out.length < 60; i = low.indexOf(n, at)) {
    out.push(text.slice(at, i), <mark key={i}>{text.slice(i, i + n.length)}</mark>);
    at = i + n.length;
  }
  return at ? [...out, text.slice(at)] : text;
}
