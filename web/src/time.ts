// Time: ranges as people write them (now-15m, 2026-11-22 10:30, epoch in s/ms/us/ns), nanoseconds as text from the
// server, offsets inside one request as float64 milliseconds (exact to the nanosecond for hours).
import { loc } from "./router";

export interface Range {
  from: string;
  to: string;
}

const UNIT_MS: Record<string, number> = {
  s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, M: 2_592_000_000, y: 31_536_000_000,
};

export const utc = (): boolean => loc.value.params.get("tz") === "utc";

// Start of the unit that holds t, in the zone shown; with up, its end.
function roundTo(t: number, unit: string, up: boolean): number {
  const d = new Date(t);
  const u = utc();
  const f = u
    ? [d.getUTCFullYear(), d.getUTCMonth(), d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()]
    : [d.getFullYear(), d.getMonth(), d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds()];
  let level = "yMdhms".indexOf(unit);
  if (unit === "w") {
    f[2]! -= ((u ? d.getUTCDay() : d.getDay()) + 6) % 7;
    level = 2;
  }
  for (let i = level + 1; i < 6; i++) f[i] = i === 2 ? 1 : 0;
  if (up) f[level]! += unit === "w" ? 7 : 1;
  const [y, mo, da, h, mi, s] = f as [number, number, number, number, number, number];
  return (u ? Date.UTC(y, mo, da, h, mi, s) : new Date(y, mo, da, h, mi, s).getTime()) - (up ? 1 : 0);
}

// Milliseconds since 1970, or null when the text is no time. up: the end of a rounded unit is meant (a range's "to").
export function parseTime(text: string, now: number, up = false): number | null {
  const t = text.trim();
  let m = /^now\s*(?:([+-])\s*(\d+(?:\.\d+)?)\s*([smhdwMy]))?(?:\/([smhdwMy]))?$/.exec(t);
  if (m) {
    const at = m[1] ? now + (m[1] === "-" ? -1 : 1) * Number(m[2]) * UNIT_MS[m[3]!]! : now;
    return m[4] ? roundTo(at, m[4], up) : at;
  }
  m = /^-?(\d+(?:\.\d+)?)\s*([smhdwMy])$/.exec(t);
  if (m) return now - Number(m[1]) * UNIT_MS[m[2]!]!;
  if (/^\d{9,20}(\.\d+)?$/.test(t)) {
    const n = Number(t);
    return n < 1e11 ? n * 1e3 : n < 1e14 ? n : n < 1e17 ? n / 1e3 : n / 1e6;
  }
  m = /^(today|yesterday)(?:\s+(\d{1,2}:\d{2}(?::\d{2})?))?$/i.exec(t);
  if (m) {
    const day = roundTo(now - (m[1]!.toLowerCase() === "yesterday" ? UNIT_MS.d! : 0), "d", false);
    const [h = 0, mi = 0, s = 0] = (m[2] ?? "0:0").split(":").map(Number);
    return !m[2] && up ? roundTo(day, "d", true) : day + h * 3_600_000 + mi * 60_000 + s * 1000;
  }
  m = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$/i.exec(t);
  if (m) {
    const zone = m[3] ? (/^(z|utc)$/i.test(m[3]) ? "Z" : m[3]) : utc() ? "Z" : "";
    const v = Date.parse(`${m[1]}T${m[2] ?? (up ? "23:59:59.999" : "00:00")}${zone}`);
    return Number.isNaN(v) ? null : v;
  }
  return null;
}

export interface Span {
  from: number;
  to: number;
} // milliseconds

export function resolve(r: Range, now = Date.now()): Span | null {
  const from = parseTime(r.from, now);
  const to = parseTime(r.to, now, true);
  return from === null || to === null || from >= to ? null : { from, to };
}

export const PRESETS: [string, string][] = [
  ["15m", "15 min"], ["1h", "1 hour"], ["6h", "6 hours"], ["24h", "24 hours"], ["7d", "7 days"],
];

export function rangeText(r: Range): string {
  const m = /^now-(\w+)$/.exec(r.from);
  if (m && r.to === "now") return `Last ${PRESETS.find((p) => p[0] === m[1])?.[1] ?? m[1]}`;
  const s = resolve(r);
  if (!s) return `${r.from} … ${r.to}`;
  const a = stamp(s.from), b = stamp(s.to);
  return a.slice(0, 10) === b.slice(0, 10) ? `${a} – ${b.slice(11)}` : `${a} – ${b}`;
}

export const toNs = (ms: number): string => (BigInt(Math.round(ms * 1000)) * 1000n).toString();
export const nsToMs = (ns: string): number => Number(BigInt(ns) / 1000n) / 1000;
// Exact difference in milliseconds of two times given as nanosecond texts.
export const diffMs = (ns: string, base: string): number => Number(BigInt(ns) - BigInt(base)) / 1e6;

const p2 = (n: number): string => (n < 10 ? `0${n}` : `${n}`);

function parts(ms: number): { date: string; clock: string } {
  const d = new Date(ms);
  return utc()
    ? { date: `${d.getUTCFullYear()}-${p2(d.getUTCMonth() + 1)}-${p2(d.getUTCDate())}`,
        clock: `${p2(d.getUTCHours())}:${p2(d.getUTCMinutes())}:${p2(d.getUTCSeconds())}` }
    : { date: `${d.getFullYear()}-${p2(d.getMonth() + 1)}-${p2(d.getDate())}`,
        clock: `${p2(d.getHours())}:${p2(d.getMinutes())}:${p2(d.getSeconds())}` };
}

// 2026-11-22 10:30:00
export const stamp = (ms: number): string => {
  const p = parts(ms);
  return `${p.date} ${p.clock}`;
};

// 10:30:00.123 (digits after the point: 0, 3, 6 or 9)
export function clockNs(ns: string, digits = 3): string {
  const v = BigInt(ns);
  const p = parts(Number(v / 1_000_000n));
  const frac = (v % 1_000_000_000n).toString().padStart(9, "0").slice(0, digits);
  return digits ? `${p.clock}.${frac}` : p.clock;
}

export const dateNs = (ns: string): string => parts(Number(BigInt(ns) / 1_000_000n)).date;

export function zoneText(at = Date.now()): string {
  if (utc()) return "UTC";
  const o = -new Date(at).getTimezoneOffset();
  if (o === 0) return "UTC+00:00";
  return `UTC${o < 0 ? "-" : "+"}${p2(Math.floor(Math.abs(o) / 60))}:${p2(Math.abs(o) % 60)}`;
}

// RFC 3339 with all nine digits, for titles and copies.
export function rfc3339(ns: string): string {
  const z = utc() ? "Z" : zoneText().slice(3);
  return `${dateNs(ns)}T${clockNs(ns, 9)}${z}`;
}

export function agoText(ms: number, now = Date.now()): string {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129_600) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86_400)} d ago`;
}

// A step from a short list of round numbers so that at most `buckets` cover the span; milliseconds.
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5];
export const niceStep = (span: number, buckets: number): number => STEPS.find((s) => span / s <= buckets) ?? 864e5;

// Milliseconds as a LogQL duration.
export const logqlDuration = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);
