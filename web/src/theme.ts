// Light, dark, or the system's choice; canvas code reads the tokens and redraws when the theme changes.
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
  try {
    const t = localStorage.getItem("sonde.theme");
    return t === "light" || t === "dark" ? t : "system";
  } catch {
    return "system";
  }
}

export const theme = signal<Theme>(stored());
// Counts up whenever the colours in force change.
export const paint = signal(0);

export function setTheme(t: Theme): void {
  theme.value = t;
  try {
    if (t === "system") localStorage.removeItem("sonde.theme");
    else localStorage.setItem("sonde.theme", t);
  } catch { /* private mode: the choice lasts as long as the page */ }
  apply();
}

// boot.js did the same before the first paint.
function apply(): void {
  document.documentElement.dataset.theme = theme.value === "system" ? (dark.matches ? "dark" : "light") : theme.value;
  paint.value++;
}
dark.addEventListener("change", apply);

export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
