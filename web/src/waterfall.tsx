// The spans as a tree on the shared axis. Rows are virtual; what is collapsed and selected stands in the URL.
import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Fields, LogRow, RequestDetail, SpanRow } from "./api";
import { level, serviceColor } from "./colors";
import { dur, percent, plural, value } from "./format";
import { clockNs, diffMs, rfc3339 } from "./time";
import { at, place, px, type View, visible } from "./timeline";
import { cls, Copy, LevelTag, linkIds, Service, tipProps } from "./ui";
import { VList, type VListApi } from "./vlist";
import { href, requestPath } from "./router";

const ROW = 26;

const SpanTip = (p: { s: SpanRow; t: number; logs: number }): JSX.Element => (
  <>
    <b>{p.s.name}</b> <span class="dim">{p.s.service} · {p.s.kind}</span>
    <div>{dur(p.s.duration_ms)} <span class="dim">from {dur(p.t)}, own time {dur(p.s.self_ms)}</span></div>
    {p.s.status_message && <div class="lv-error">{p.s.status_message.slice(0, 240)}</div>}
    <table class="tiptable"><tbody>
      {Object.entries(p.s.attributes).slice(0, 10).map(([k, v]) => <tr key={k}><td class="dim">{k}</td><td>{value(v).slice(0, 80)}</td></tr>)}
    </tbody></table>
    <div class="dim">{plural(p.s.events.length, "event")} · {plural(p.logs, "log line")}</div>
  </>
);

export interface TreeProps {
  d: RequestDetail;
  view: View;
  selected: string;
  collapsed: Set<string>;
  onSelect: (id: string) => void;
  onCollapse: (ids: Set<string>) => void;
}

// How many spans stand below each, from the depths alone.
function descendants(spans: SpanRow[]): Int32Array {
  const out = new Int32Array(spans.length);
  const open: number[] = [];
  spans.forEach((s, i) => {
    while (open.length && spans[open.at(-1)!]!.depth >= s.depth) out[open.at(-1)!] = i - open.pop()! - 1;
    open.push(i);
  });
  for (const i of open) out[i] = spans.length - i - 1;
  return out;
}

export const parents = (spans: SpanRow[]): string[] => spans.filter((s, i) => (spans[i + 1]?.depth ?? 0) > s.depth).map((s) => s.span_id);

export function Waterfall(p: TreeProps): JSX.Element {
  const { d, view } = p;
  const base = d.request.start_ns;
  const kids = useMemo(() => descendants(d.spans), [d]);
  const rows = useMemo(() => {
    const out: { s: SpanRow; kids: number; t: number }[] = [];
    let skip = Infinity;
    d.spans.forEach((s, i) => {
      if (s.depth > skip) return;
      skip = p.collapsed.has(s.span_id) ? s.depth : Infinity;
      out.push({ s, kids: kids[i]!, t: diffMs(s.start_ns, base) });
    });
    return out;
  }, [d, p.collapsed, base]);
  const logs = useMemo(() => {
    const m = new Map<string, LogRow[]>();
    for (const l of d.logs) {
      const had = m.get(l.span_id);
      if (had) had.push(l);
      else if (l.span_id) m.set(l.span_id, [l]);
    }
    return m;
  }, [d]);
  const api = useRef<VListApi>(null);
  const [focus, setFocus] = useState(0);
  const wantFocus = useRef(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const i = rows.findIndex((r) => r.s.span_id === p.selected);
    if (i >= 0) setFocus(i);
  }, [p.selected]);
  useEffect(() => {
    if (!wantFocus.current) return;
    wantFocus.current = false;
    box.current?.querySelector<HTMLElement>(`[data-i="${focus}"]`)?.focus({ preventScroll: true });
  });
  const toggle = (id: string): void => {
    const c = new Set(p.collapsed);
    if (!c.delete(id)) c.add(id);
    p.onCollapse(c);
  };
  const key = (e: KeyboardEvent): void => {
    const r = rows[focus];
    if (!r) return;
    const step = (to: number): void => {
      wantFocus.current = true;
      const i = Math.max(0, Math.min(rows.length - 1, to));
      setFocus(i);
      api.current?.show(i);
    };
    switch (e.key) {
      case "ArrowDown": step(focus + 1); break;
      case "ArrowUp": step(focus - 1); break;
      case "Home": step(0); break;
      case "End": step(rows.length - 1); break;
      case "ArrowRight": if (r.kids && p.collapsed.has(r.s.span_id)) toggle(r.s.span_id); else if (r.kids) step(focus + 1); break;
      case "ArrowLeft":
        if (r.kids && !p.collapsed.has(r.s.span_id)) toggle(r.s.span_id);
        else for (let i = focus - 1; i >= 0; i--) if (rows[i]!.s.depth < r.s.depth) { step(i); break; }
        break;
      case "Enter": case " ": p.onSelect(r.s.span_id); break;
      default: return;
    }
    e.preventDefault();
    e.stopPropagation();
  };
  const keyOf = useCallback((i: number) => rows[i]!.s.span_id, [rows]);
  const row = (i: number): JSX.Element => {
    const { s, kids, t } = rows[i]!;
    const own = logs.get(s.span_id) ?? [];
    const shut = p.collapsed.has(s.span_id);
    const end = at(view, t + s.duration_ms);
    const label = `${dur(s.duration_ms)}`;
    const inside = px(view, s.duration_ms) > 90;
    return (
      <div role="row" class={cls("span", s.span_id === p.selected && "selected", s.status === "error" && "is-error")} data-test="span" data-i={i} data-id={s.span_id}
        aria-level={s.depth + 1} aria-expanded={kids ? !shut : undefined} aria-selected={s.span_id === p.selected} tabIndex={i === focus ? 0 : -1}
        aria-label={`${s.name}, ${s.service}, ${dur(s.duration_ms)}${s.status === "error" ? ", error" : ""}`}
        onFocus={() => setFocus(i)} onClick={() => p.onSelect(s.span_id)}>
        <div class="gut" role="gridcell" style={{ "--c": serviceColor(s.service), "--d": String(s.depth) }}>
          {kids ? <button type="button" tabIndex={-1} class={cls("twist", shut && "shut")} aria-label={shut ? "Expand" : "Collapse"} onClick={(e) => {
            e.stopPropagation();
            toggle(s.span_id);
          }} /> : <i class="leaf" />}
          <span class="spanname" title={`${s.name} · ${s.service}`}>{s.name}</span>
          {shut && <span class="badge">+{kids}</span>}
          {s.orphan && <span class="badge warnb" title="its parent span never arrived">orphan</span>}
          <span class="spansvc">{s.service}</span>
        </div>
        <div class="plot" role="gridcell" {...tipProps(() => <SpanTip s={s} t={t} logs={own.length} />)}>
          {visible(view, t, s.duration_ms) && <i class={cls("spanbar", s.orphan && "orphan")} style={{ ...place(view, t, s.duration_ms), "--c": serviceColor(s.service) }} />}
          {s.events.map((ev, k) => <i key={k} class="evt" style={{ left: `${at(view, diffMs(ev.time_ns, base))}%` }} />)}
          {own.filter((l) => ["error", "critical", "warn"].includes(level(l.level))).map((l, k) => <i key={`l${k}`} class={`evt lv-${level(l.level)}`} style={{ left: `${at(view, diffMs(l.time_ns, base))}%` }} />)}
          <span class={cls("spandur", inside ? "in" : end > 88 ? "before" : "after")} style={inside ? { left: `${Math.max(0, at(view, t))}%` } : end > 88 ? { right: `${100 - Math.max(0, at(view, t))}%` } : { left: `${Math.max(0, end)}%` }}>
            {s.status === "error" && <b class="lv-error" aria-hidden="true">✕ </b>}{label}
          </span>
        </div>
      </div>
    );
  };
  const open = parents(d.spans);
  return (
    <section class="waterfall" aria-label="Spans" ref={box} id="spans">
      <div class="sechead">
        <h2>Spans <span class="dim">{d.spans.length}</span></h2>
        <span class="grow" />
        {open.length > 0 && (
          <>
            <button type="button" class="link" onClick={() => p.onCollapse(new Set(open))} title="Collapse all ([)">collapse</button>
            <button type="button" class="link" onClick={() => p.onCollapse(new Set())} title="Expand all (])">expand</button>
          </>
        )}
      </div>
      {d.spans.length === 0 ? <p class="none">No span of this request has arrived; what is shown comes from its log lines.</p>
        : <VList count={rows.length} rowH={ROW} keyOf={keyOf} row={row} api={api} role="treegrid" label="Span tree" attrs={{ onKeyDown: key }} top={60} />}
    </section>
  );
}

export function FieldTable(p: { fields: Fields; link?: boolean; empty?: string }): JSX.Element {
  const all = Object.entries(p.fields);
  if (all.length === 0) return <p class="none">{p.empty ?? "none"}</p>;
  return (
    <table class="fields">
      <tbody>
        {all.map(([k, v]) => {
          const text = value(v);
          const id = p.link && /^(x_request_id|request_id|trace_id|x-request-id)$/.test(k) ? text : "";
          return (
            <tr key={k}>
              <th scope="row">{k}</th>
              <td class={typeof v === "number" ? "num" : typeof v === "boolean" ? "bool" : ""}>
                {id ? <a href={href(requestPath(id))}>{text}</a> : linkIds(text, (x) => href(requestPath(x)))}
                <Copy text={text} title={`Copy ${k}`} />
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

export function SpanPanel(p: { s: SpanRow; d: RequestDetail; onClose: () => void; onLogs: (id: string) => void; onSelect: (id: string) => void }): JSX.Element {
  const { s, d } = p;
  const base = d.request.start_ns;
  const own = d.logs.filter((l) => l.span_id === s.span_id);
  const parent = d.spans.find((x) => x.span_id === s.parent_id);
  return (
    <aside class="spanpanel" aria-label={`Span ${s.name}`} data-test="span-panel">
      <header>
        <h2>{s.name}</h2>
        <button type="button" class="icon" onClick={p.onClose} aria-label="Close (Esc)" title="Close (Esc)">✕</button>
      </header>
      <dl class="facts">
        <dt>service</dt><dd><Service name={s.service} />{s.instance && <span class="dim"> {s.instance}</span>}</dd>
        <dt>time</dt><dd title={rfc3339(s.start_ns)}>{clockNs(s.start_ns, 6)} <span class="dim">at {dur(diffMs(s.start_ns, base))}</span></dd>
        <dt>duration</dt><dd>{dur(s.duration_ms)} <span class="dim">{percent(s.duration_ms, d.request.duration_ms)}, own {dur(s.self_ms)}</span></dd>
        <dt>kind</dt><dd>{s.kind}</dd>
        <dt>status</dt><dd class={s.status === "error" ? "lv-error" : ""}>{s.status}{s.status_message && `: ${s.status_message}`}</dd>
        <dt>span id</dt><dd class="mono">{s.span_id} <Copy text={s.span_id} /></dd>
        <dt>parent</dt><dd class="mono">{parent ? <button type="button" class="link" onClick={() => p.onSelect(parent.span_id)}>{parent.name}</button> : s.parent_id ? `${s.parent_id} (never arrived)` : "none: root"}</dd>
      </dl>
      <h3>Attributes</h3>
      <FieldTable fields={s.attributes} link />
      <h3>Events <span class="dim">{s.events.length}</span></h3>
      {s.events.length === 0 ? <p class="none">none</p> : (
        <ul class="events">
          {s.events.map((e, i) => (
            <li key={i}>
              <span class="dim n">{dur(diffMs(e.time_ns, base))}</span> <b>{e.name}</b>
              {Object.keys(e.attributes).length > 0 && <FieldTable fields={e.attributes} />}
            </li>
          ))}
        </ul>
      )}
      <h3>Log lines <span class="dim">{own.length}</span></h3>
      {own.slice(0, 6).map((l, i) => <p class="ownlog" key={i}><LevelTag level={level(l.level)} /> {l.message}</p>)}
      {own.length > 0 && <button type="button" onClick={() => p.onLogs(s.span_id)}>Show {own.length > 1 ? `all ${own.length}` : "it"} in the log</button>}
      <details>
        <summary>Resource</summary>
        <FieldTable fields={s.resource} />
      </details>
    </aside>
  );
}
