// Numbers for people: three significant digits, thin units, an em dash where nothing is known.
export const NONE = "–";

export function dur(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE;
  const a = Math.abs(ms);
  if (a === 0) return "0 ms";
  if (a < 0.001) return `${Math.round(ms * 1e6)} ns`;
  if (a < 1) return `${trim(ms * 1000)} µs`;
  if (a < 1000) return `${trim(ms)} ms`;
  if (a < 60_000) return `${trim(ms / 1000)} s`;
  const s = Math.round(ms / 1000);
  return s < 3600 ? `${Math.floor(s / 60)} m ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`;
}

function trim(v: number): string {
  const a = Math.abs(v);
  return a >= 99.95 ? v.toFixed(0) : a >= 9.995 ? v.toFixed(1) : v.toFixed(2);
}

export const num = (n: number | null | undefined): string => (n === null || n === undefined ? NONE : n.toLocaleString("en-US"));

export const short = (id: string, n = 8): string => (id.length > n + 2 ? `${id.slice(0, n)}…` : id);
// Worker ids are 19 digits whose tails differ as much as their heads: show the last ones.
export const tail = (id: string, n = 6): string => (id.length > n + 1 ? `…${id.slice(-n)}` : id);

export const percent = (part: number, whole: number): string => {
  if (whole <= 0) return NONE;
  const p = (100 * part) / whole;
  return p < 0.1 && p > 0 ? "<0.1 %" : p < 10 ? `${p.toFixed(1)} %` : `${p.toFixed(0)} %`;
};

export function value(v: unknown): string {
  if (typeof v === "string") return v;
  if (v === null || v === undefined) return "null";
  return typeof v === "object" ? JSON.stringify(v) : String(v);
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${num(n)} ${n === 1 ? one : many}`;

// Round ticks for an axis from a to b, about n of them.
export function ticks(a: number, b: number, n: number): number[] {
  const raw = (b - a) / Math.max(1, n);
  if (!(raw > 0)) return [a];
  const mag = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * mag).find((s) => s >= raw) ?? raw;
  const out: number[] = [];
  for (let i = Math.ceil(a / step - 1e-9) + 0; i * step <= b + step * 1e-9; i++) out.push(i * step);
  return out;
}
