// Colours are tokens of style.css; here names are mapped to them. The three roles of an inference stack have fixed hues,
// other names hash to a slot, so a service has the same colour on every page and every load.
const PHASES = new Set(["queue", "routing", "prefill", "handover", "kv_transfer", "decode", "waiting", "retry", "unaccounted"]);
const SLOTS = 8;

function hash(s: string): number {
  let h = 2166136261;
  for (let i = 0; i < s.length; i++) h = Math.imul(h ^ s.charCodeAt(i), 16777619);
  return h >>> 0;
}

export const phaseColor = (name: string): string => (PHASES.has(name) ? `var(--ph-${name})` : `var(--slot-${hash(name) % SLOTS})`);

export function serviceColor(name: string): string {
  const n = name.toLowerCase();
  if (n.includes("prefill")) return "var(--svc-prefill)";
  if (n.includes("decode") || n === "backend" || n.endsWith("-backend")) return "var(--svc-decode)";
  if (n.includes("frontend")) return "var(--svc-frontend)";
  return `var(--slot-${hash(n) % SLOTS})`;
}

export type Level = "critical" | "error" | "warn" | "info" | "debug" | "trace" | "unknown";
export const LEVELS: Level[] = ["critical", "error", "warn", "info", "debug", "trace", "unknown"];

export function level(text: string | undefined | null): Level {
  switch ((text ?? "").toLowerCase()) {
    case "critical": case "crit": case "fatal": case "emerg": case "emergency": case "alert": case "panic": return "critical";
    case "error": case "err": case "eror": return "error";
    case "warn": case "warning": return "warn";
    case "info": case "notice": case "informational": case "information": return "info";
    case "debug": case "dbug": return "debug";
    case "trace": return "trace";
    default: return "unknown";
  }
}
export const levelColor = (l: Level): string => `var(--lv-${l})`;
export const LEVEL_TEXT: Record<Level, string> = {
  critical: "CRIT", error: "ERROR", warn: "WARN", info: "INFO", debug: "DEBUG", trace: "TRACE", unknown: "?",
};

// What a phase means, for tooltips and the table under the bar.
export const PHASE_ABOUT: Record<string, string> = {
  queue: "waiting for a free slot", waiting: "ready, but what it needs has not come", routing: "choosing a worker", prefill: "the prompt is computed", handover: "from prefill to decode worker",
  kv_transfer: "the KV cache moves between workers", decode: "tokens are generated", retry: "asked again after a failure", unaccounted: "no span or log line explains this time",
};
export const phaseText = (name: string): string => (name === "kv_transfer" ? "KV transfer" : name);
