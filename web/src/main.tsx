// The shell: top bar, routes, help. One bundle; see router.ts for how the URL drives the pages.
import { render } from "preact";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { activeScopes, keysOff, setKeysOff, useKeys } from "./keys";
import { LogsPage } from "./logs";
import { MetricsPage } from "./metrics";
import { RequestPage } from "./request";
import { RequestsPage } from "./requests";
import { go, href, loc, set, start } from "./router";
import { setTheme, theme, type Theme } from "./theme";
import { zoneText } from "./time";
import { Announcer, Empty, hideTip, Tooltip, useTitle } from "./ui";

const THEMES: { id: Theme; label: string; icon: JSX.Element }[] = [
  { id: "system", label: "as the system", icon: <><circle cx="8" cy="8" r="5.5" /><path d="M8 2.5v11a5.5 5.5 0 0 0 0-11z" fill="currentColor" /></> },
  { id: "light", label: "light", icon: <><circle cx="8" cy="8" r="3" /><path d="M8 1.5v1.5M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1 1M11.6 11.6l1 1M12.6 3.4l-1 1M4.4 11.6l-1 1" /></> },
  { id: "dark", label: "dark", icon: <path d="M12.8 9.6A5.2 5.2 0 0 1 6.4 3.2a5.2 5.2 0 1 0 6.4 6.4z" /> },
];

function Help(p: { close: () => void }): JSX.Element {
  const el = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    el.current?.showModal();
  }, []);
  return (
    <dialog ref={el} class="help" aria-labelledby="helptitle" onClose={p.close} onClick={(e) => e.target === el.current && p.close()}>
      <header><h2 id="helptitle">Keys</h2><button type="button" class="icon" onClick={p.close} aria-label="Close">✕</button></header>
      <div class="helpgrid">
        {activeScopes().filter((s) => s.list.length).map((s) => (
          <section key={s.name}>
            <h3>{s.name}</h3>
            <dl>{s.list.map((k) => <div key={k.label}><dt><kbd>{k.label}</kbd></dt><dd>{k.about}</dd></div>)}</dl>
          </section>
        ))}
        <section>
          <h3>Timeline</h3>
          <dl><div><dt><kbd>drag</kbd></dt><dd>zoom in</dd></div><div><dt><kbd>double click</kbd></dt><dd>zoom out</dd></div><div><dt><kbd>← → ↑ ↓</kbd></dt><dd>move in the span tree</dd></div></dl>
        </section>
      </div>
      <label class="check"><input type="checkbox" checked={!keysOff.value} onChange={(e) => setKeysOff(!e.currentTarget.checked)} /> single-key shortcuts</label>
    </dialog>
  );
}

function Shell(): JSX.Element {
  const [help, setHelp] = useState(false);
  const path = loc.value.path.replace(/\/+$/, "") || "/";
  const current = THEMES.findIndex((t) => t.id === theme.value);
  const next = THEMES[(current + 1) % THEMES.length]!;
  useKeys("Everywhere", [
    { keys: ["?"], label: "?", about: "this help", run: () => setHelp(true) },
    { keys: ["/"], label: "/", about: "filter or query", run: () => {
      const f = document.getElementById("focus") as HTMLInputElement | null;
      f?.focus();
      f?.select();
    } },
    { keys: ["1"], label: "1", about: "requests", run: () => go(href("/ui/")) },
    { keys: ["2"], label: "2", about: "logs", run: () => go(href("/ui/logs")) },
    { keys: ["3"], label: "3", about: "metrics", run: () => go(href("/ui/metrics")) },
  ]);
  useEffect(hideTip, [loc.value]);
  const id = /^\/ui\/request\/(.+)$/.exec(path)?.[1];
  let page: JSX.Element;
  if (path === "/ui" || path === "/" || path === "/ui/requests") page = <RequestsPage />;
  else if (id) page = <RequestPage key={id} id={id} />;
  else if (path === "/ui/logs") page = <LogsPage />;
  else if (path === "/ui/metrics") page = <MetricsPage />;
  else page = <NotFound path={path} />;
  const onRequests = path === "/ui" || !!id;
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), e.stopPropagation(), document.getElementById("main")?.querySelector<HTMLElement>("input,textarea,button,a,[tabindex='0']")?.focus())}>Skip to the content</a>
      <header class="top">
        <a class="brand" href={href("/ui/")} aria-label="Sonde, requests">
          <svg viewBox="0 0 20 20" aria-hidden="true"><path class="b1" d="M2 5h9" /><path class="b2" d="M6 10h8" /><path class="b3" d="M9 15h9" /></svg>
          <b>Sonde</b>
        </a>
        <nav aria-label="Pages">
          <a href={href("/ui/")} aria-current={onRequests ? "page" : undefined}>Requests</a>
          <a href={href("/ui/logs")} aria-current={path === "/ui/logs" ? "page" : undefined}>Logs</a>
          <a href={href("/ui/metrics")} aria-current={path === "/ui/metrics" ? "page" : undefined}>Metrics</a>
        </nav>
        <span class="grow" />
        <button type="button" class="zone" title="Change the time zone shown" onClick={() => set({ tz: loc.value.params.get("tz") === "utc" ? null : "utc" }, true)}>{zoneText()}</button>
        <button type="button" class="icon" title={`Theme: ${THEMES[current]!.label}; change to ${next.label}`} aria-label={`Theme: ${THEMES[current]!.label}; change to ${next.label}`} onClick={() => setTheme(next.id)}>
          <svg viewBox="0 0 16 16" aria-hidden="true">{THEMES[current]!.icon}</svg>
        </button>
        <button type="button" class="icon" title="Keys (?)" aria-label="Keys" onClick={() => setHelp(true)}>?</button>
      </header>
      {page}
      {help && <Help close={() => setHelp(false)} />}
      <Tooltip />
      <Announcer />
    </>
  );
}

function NotFound(p: { path: string }): JSX.Element {
  useTitle("Not found");
  return <main id="main" class="page"><Empty title="There is no such page"><p class="mono">{p.path}</p><a class="button" href={href("/ui/")}>Requests</a></Empty></main>;
}

start();
const root = document.getElementById("app")!;
root.textContent = "";
render(<Shell />, root);
