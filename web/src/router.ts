// The URL is the state. One signal holds the current location; pages read their parameters from it and change them
// through set(). A step that a person would want to undo (a zoom, a filter) is pushed; typing is replaced.
import { signal } from "@preact/signals";

export interface Loc {
  path: string;
  params: URLSearchParams;
}

const read = (): Loc => ({ path: decodePath(location.pathname), params: new URLSearchParams(location.search) });

function decodePath(p: string): string {
  try {
    return decodeURIComponent(p);
  } catch {
    return p;
  }
}

export const loc = signal<Loc>(read());

// Parameters that belong to the person, not to a page: they survive every navigation.
const STICKY = ["tz", "tenant"];

export function href(path: string, params: Record<string, string | null | undefined> = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v) q.set(k, v);
  for (const k of STICKY) {
    const v = loc.value.params.get(k);
    if (v && !q.has(k)) q.set(k, v);
  }
  // colons, slashes and commas may stand in a query as they are; readable links are worth the three replacements
  const s = q.toString().replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%2C/g, ",");
  return s ? `${path}?${s}` : path;
}

export function go(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  loc.value = read();
}

// Changes some parameters of the current page; null or "" removes one.
export function set(changes: Record<string, string | null | undefined>, replace = false): void {
  const all: Record<string, string | null | undefined> = {};
  loc.peek().params.forEach((v, k) => (all[k] = v));
  Object.assign(all, changes);
  if (changes.tz === null) {
    loc.peek().params.delete("tz");
  }
  go(href(location.pathname, all), replace);
}

export const requestPath = (id: string): string => `/ui/request/${encodeURIComponent(id)}`;

export function start(): void {
  addEventListener("popstate", () => (loc.value = read()));
  // Links inside the app do not reload the page; modified clicks and other targets keep their meaning.
  document.addEventListener("click", (e) => {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element).closest?.("a");
    if (!a || a.target || a.hasAttribute("download") || a.origin !== location.origin || !a.pathname.startsWith("/ui")) return;
    e.preventDefault();
    const samePage = a.pathname === location.pathname;
    go(a.pathname + a.search);
    if (!samePage) scrollTo(0, 0);
  });
}
