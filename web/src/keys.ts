// Single-key shortcuts. The newest scope wins; none fires while a text field has the focus, and they can be switched
// off altogether (WCAG 2.1.4).
import { useLayoutEffect } from "preact/hooks";
import { signal } from "@preact/signals";

export interface Shortcut {
  keys: string[]; // KeyboardEvent.key values
  label: string;  // as shown in the help
  about: string;
  run: (e: KeyboardEvent) => void;
}

function storedOff(): boolean {
  try {
    return localStorage.getItem("sonde.keys") === "off";
  } catch {
    return false;
  }
}
export const keysOff = signal(storedOff());
export function setKeysOff(off: boolean): void {
  keysOff.value = off;
  try {
    if (off) localStorage.setItem("sonde.keys", "off");
    else localStorage.removeItem("sonde.keys");
  } catch { /* as in theme.ts */ }
}

const scopes: { name: string; list: Shortcut[] }[] = [];
export const activeScopes = (): { name: string; list: Shortcut[] }[] => scopes;

export const inText = (t: EventTarget | null): boolean =>
  t instanceof HTMLElement && (t.isContentEditable || t.tagName === "INPUT" || t.tagName === "TEXTAREA" || t.tagName === "SELECT");

addEventListener("keydown", (e) => {
  if (keysOff.value || e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || inText(e.target)) return;
  for (let i = scopes.length - 1; i >= 0; i--) {
    const s = scopes[i]!.list.find((x) => x.keys.includes(e.key));
    if (s) {
      e.preventDefault();
      s.run(e);
      return;
    }
  }
});

export function useKeys(name: string, list: Shortcut[]): void {
  useLayoutEffect(() => {
    const scope = { name, list };
    scopes.push(scope);
    return () => void scopes.splice(scopes.indexOf(scope), 1);
  });
}
