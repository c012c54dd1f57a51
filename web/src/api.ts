// The data contract (docs/api-sonde.md, Loki's query_range) and the fetch cache: the last answers are kept by key, so the
// back button paints at once and then refreshes.
import { useEffect, useRef, useState } from "preact/hooks";
import { loc } from "./router";

export type Status = "ok" | "error" | "cancelled" | "running";
export interface PhaseSum { name: string; ms: number }
export interface RequestRow {
  request_id: string; trace_id: string; start_ns: string; duration_ms: number; status: Status;
  http_status: number | null; verdict: string; name: string; service: string; model: string; stream: boolean;
  input_tokens: number | null; output_tokens: number | null; ttft_ms: number | null; itl_ms: number | null;
  prefill_worker: string; decode_worker: string; attempts: number; spans: number; logs: number; errors: number;
  phases: PhaseSum[];
}
export interface RequestList { requests: RequestRow[]; truncated: boolean }
export interface Phase { name: string; service: string; start_ns: string; ms: number; kind: string }
export interface Block { name: string; start_ns: string; ms: number; kind: string; span_id: string }
export interface Mark { name: string; time_ns: string }
export interface Lane { service: string; role: string; blocks: Block[]; marks: Mark[] }
export type Fields = Record<string, unknown>;
export interface SpanEvent { name: string; time_ns: string; attributes: Fields }
export interface SpanRow {
  span_id: string; parent_id: string; depth: number; name: string; kind: string; service: string; instance: string;
  start_ns: string; duration_ms: number; status: string; status_message: string; self_ms: number; orphan: boolean;
  attributes: Fields; resource: Fields; events: SpanEvent[];
}
export interface LogRow {
  time_ns: string; level: string; service: string; target: string; message: string; span_id: string; line: string; fields: Fields;
}
export interface Failure { where: string; service: string; when_ns: string; what: string; why: string; evidence: number[] }
export interface RequestDetail {
  request: RequestRow;
  traces: { trace_id: string; start_ns: string; status: Status; verdict: string }[];
  services: { name: string; role: string }[];
  phases: Phase[]; lanes: Lane[]; spans: SpanRow[]; logs: LogRow[]; failure: Failure | null; notes: string[];
}

export interface LokiStream { stream: Record<string, string>; values: [string, string, { structuredMetadata?: Record<string, string>; parsed?: Record<string, string> }?][] }
export interface LokiSeries { metric: Record<string, string>; values: [number, string][] }
export interface LokiAnswer {
  data: ({ resultType: "streams"; result: LokiStream[] } | { resultType: "matrix"; result: LokiSeries[] })
    & { stats?: { summary?: { totalLinesProcessed?: number; totalBytesProcessed?: number } } };
  warnings?: string[];
}

export class ApiError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

// Whose records: ?tenant= in the address, sent as X-Scope-OrgID; without it the server's default.
export const tenant = (): string => loc.value.params.get("tenant") ?? "";

export async function get<T>(url: string, signal?: AbortSignal, headers: Record<string, string> = {}): Promise<T> {
  let r: Response;
  try {
    const org = tenant();
    r = await fetch(url, { signal: signal ?? null, headers: { accept: "application/json", ...(org ? { "X-Scope-OrgID": org } : {}), ...headers } });
  } catch (e) {
    if ((e as Error).name === "AbortError") throw e;
    throw new ApiError("The server does not answer. Is sonde serve still running?", 0);
  }
  const text = await r.text();
  if (!r.ok) {
    let message = text.trim();
    try {
      const j = JSON.parse(text) as { error?: string; message?: string };
      message = j.error ?? j.message ?? message;
    } catch { /* Loki answers in plain text */ }
    throw new ApiError(message || `The server answered ${r.status}.`, r.status);
  }
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError("The server's answer is not JSON. Another program may be using this port.", r.status);
  }
}

const cache = new Map<string, unknown>();
function keep(key: string, v: unknown): void {
  cache.delete(key);
  cache.set(key, v);
  if (cache.size > 24) cache.delete(cache.keys().next().value!);
}

export interface Loaded<T> {
  data: T | undefined; // of this key, or of the one before while loading
  stale: boolean;      // data belongs to an earlier key or is being refreshed
  error: ApiError | undefined;
  loading: boolean;
  tookMs: number | undefined;
  reload: () => void;
  cancel: () => void;
}

// Loads by key; everyMs > 0 repeats (not while the tab is hidden). key null: nothing to load.
export function useData<T>(name: string | null, load: (signal: AbortSignal) => Promise<T>, everyMs = 0): Loaded<T> {
  const key = name === null ? null : `${tenant()}|${name}`;
  const [state, setState] = useState<{ key: string | null; data?: T; error?: ApiError; loading: boolean; tookMs?: number }>(() => ({
    key, data: key === null ? undefined : (cache.get(key) as T | undefined), loading: key !== null,
  }) as { key: string | null; data?: T; loading: boolean });
  const [turn, setTurn] = useState(0);
  const abort = useRef<AbortController | null>(null);
  const loader = useRef(load);
  loader.current = load;
  useEffect(() => {
    if (key === null) {
      setState({ key, loading: false });
      return undefined;
    }
    const ac = new AbortController();
    abort.current = ac;
    const t0 = performance.now();
    const cached = cache.get(key) as T | undefined;
    setState((s) => (cached !== undefined ? { key, data: cached, loading: true } : { ...s, loading: true }));
    loader.current(ac.signal).then(
      (data) => {
        keep(key, data);
        setState({ key, data, loading: false, tookMs: performance.now() - t0 });
      },
      (e: unknown) => {
        if (ac.signal.aborted) return;
        setState((s) => {
          const error = e instanceof ApiError ? e : new ApiError(String(e), 0);
          return s.key === key && s.data !== undefined ? { ...s, loading: false, error } : { key, loading: false, error };
        });
      },
    );
    return () => ac.abort();
  }, [key, turn]);
  useEffect(() => {
    if (!everyMs || key === null) return undefined;
    const t = setInterval(() => {
      if (!document.hidden) setTurn((n) => n + 1);
    }, everyMs);
    return () => clearInterval(t);
  }, [everyMs, key]);
  return {
    data: state.data, stale: state.key !== key || state.loading, error: state.error, loading: state.loading, tookMs: state.tookMs,
    reload: () => setTurn((n) => n + 1),
    cancel: () => {
      abort.current?.abort();
      setState((s) => ({ ...s, loading: false }));
    },
  };
}
