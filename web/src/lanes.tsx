// Phases as lanes: the total row is consecutive and sums to the wall time; below it one lane for each process, whose blocks
// may overlap as they really did.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import type { Block, Lane, LogRow, RequestDetail } from "./api";
import { level, phaseColor, PHASE_ABOUT, phaseText, serviceColor } from "./colors";
import { dur, percent } from "./format";
import { diffMs } from "./time";
import { at, place, px, type View, visible } from "./timeline";
import { cls, hideTip, tipProps } from "./ui";

const ROW = 24;

// First free row for each block, by start, so that overlapping blocks stay apart.
function pack(blocks: Block[], base: string): { block: Block; row: number; t: number }[] {
  const ends: number[] = [];
  return blocks.map((block) => ({ block, t: diffMs(block.start_ns, base) })).sort((x, y) => x.t - y.t || y.block.ms - x.block.ms).map(({ block, t }) => {
    let row = ends.findIndex((e) => e <= t + 1e-6);
    if (row < 0) row = ends.length;
    ends[row] = t + block.ms;
    return { block, row, t };
  });
}

const BlockTip = (p: { name: string; kind: string; service: string; t: number; ms: number; total: number }): JSX.Element => (
  <>
    <b>{phaseText(p.name)}</b> <span class="dim">{p.service}{p.kind !== "work" && p.kind !== p.name ? ` · ${p.kind}` : ""}</span>
    <div>{dur(p.ms)} <span class="dim">· {percent(p.ms, p.total)} · from {dur(p.t)} to {dur(p.t + p.ms)}</span></div>
    {PHASE_ABOUT[p.name] && <div class="dim">{PHASE_ABOUT[p.name]}</div>}
  </>
);

// What fits into a block: name and time, the name, or nothing.
function Label(p: { name: string; ms: number; room: number }): JSX.Element | null {
  const name = phaseText(p.name), time = dur(p.ms);
  if (p.room < name.length * 6 + 16) return null;
  return <span>{name} {p.room >= (name.length + time.length) * 6.2 + 24 && <em>{time}</em>}</span>;
}

function Ticks(p: { logs: [number, LogRow][]; view: View; base: string; onLog: (i: number) => void }): JSX.Element {
  // one tick a pixel and colour is all that can be seen
  const seen = new Set<string>();
  return (
    <>
      {p.logs.map(([i, l]) => {
        const t = diffMs(l.time_ns, p.base);
        if (!visible(p.view, t, 0)) return null;
        const lv = level(l.level);
        const k = `${Math.round(px(p.view, t - p.view.a))}${lv}`;
        if (seen.has(k)) return null;
        seen.add(k);
        return (
          <i key={i} class={`tickmark lv-${lv}`} style={{ left: `${at(p.view, t)}%` }}
            onClick={() => p.onLog(i)} {...tipProps(() => <><b class={`lv-${lv}`}>{l.level}</b> <span class="dim">{dur(t)} · {l.target}</span><div class="tipmsg">{l.message.slice(0, 300)}</div></>)} />
        );
      })}
    </>
  );
}

function LaneRow(p: { lane: Lane; d: RequestDetail; view: View; logs: [number, LogRow][]; onSpan: (id: string) => void; onLog: (i: number) => void }): JSX.Element {
  const base = p.d.request.start_ns;
  const packed = useMemo(() => pack(p.lane.blocks, base), [p.lane, base]);
  const rows = Math.max(1, ...packed.map((x) => x.row + 1));
  const errors = p.logs.filter(([, l]) => ["error", "critical"].includes(level(l.level))).length;
  const busy = p.lane.blocks.filter((b) => b.kind !== "unaccounted").length;
  return (
    <div class="lane" role="listitem" data-test="lane" data-service={p.lane.service}
      aria-label={`${p.lane.service}: ${p.lane.blocks.map((b) => `${phaseText(b.name)} ${dur(b.ms)}`).join(", ") || "no phases"}`}>
      <div class="gut" style={{ "--c": serviceColor(p.lane.role || p.lane.service) }}>
        <b class="svcname" title={p.lane.service}>{p.lane.service}</b>
        {p.lane.role && p.lane.role !== p.lane.service && <span class="dim">{p.lane.role}</span>}
        <span class="grow" />
        {errors > 0 && <span class="count lv-error" title={`${errors} error lines`}>✕ {errors}</span>}
        {busy === 0 && <span class="dim">nothing recorded</span>}
      </div>
      <div class="plot" style={{ height: `${rows * ROW + 12}px` }}>
        {packed.map(({ block, row, t }, i) => visible(p.view, t, block.ms) && (
          <button type="button" key={i} tabIndex={-1} class={cls("blk", `k-${block.kind}`, block.name === "unaccounted" && "hatch")} data-test="lane-block" data-name={block.name}
            style={{ ...place(p.view, t, block.ms), top: `${4 + row * ROW}px`, "--c": phaseColor(block.name) }}
            onClick={() => {
              hideTip();
              if (block.span_id) p.onSpan(block.span_id);
            }}
            {...tipProps(() => <BlockTip name={block.name} kind={block.kind} service={p.lane.service} t={t} ms={block.ms} total={p.d.request.duration_ms} />)}>
            <Label name={block.name} ms={block.ms} room={px(p.view, block.ms)} />
          </button>
        ))}
        <Ticks logs={p.logs} view={p.view} base={base} onLog={p.onLog} />
        {p.lane.marks.filter((m) => m.name !== "first_token").map((m, i) => (
          <i key={i} class={cls("diamond", `m-${m.name}`)} style={{ left: `${at(p.view, diffMs(m.time_ns, base))}%` }} {...tipProps(() => <><b>{m.name.replace(/_/g, " ")}</b> <span class="dim">{dur(diffMs(m.time_ns, base))}</span></>)} />
        ))}
      </div>
    </div>
  );
}

export function Lanes(p: { d: RequestDetail; view: View; onSpan: (id: string) => void; onLog: (i: number) => void }): JSX.Element {
  const { d, view } = p;
  const base = d.request.start_ns;
  const logs = useMemo(() => {
    const by = new Map<string, [number, LogRow][]>();
    d.logs.forEach((l, i) => {
      const had = by.get(l.service);
      if (had) had.push([i, l]);
      else by.set(l.service, [[i, l]]);
    });
    return by;
  }, [d]);
  const first = d.lanes.flatMap((l) => l.marks).find((m) => m.name === "first_token");
  const firstAt = first ? diffMs(first.time_ns, base) : null;
  const failAt = Number(d.failure?.when_ns ?? 0) ? diffMs(d.failure!.when_ns, base) : null;
  return (
    <section class="lanes" aria-label="Phases by process" data-test="lanes">
      <div class="flags">
        <div class="gut" />
        <div class="plot">
          {firstAt !== null && visible(view, firstAt, 0) && <span class="flag first" style={{ left: `${at(view, firstAt)}%` }} data-test="first-token"><b>first token {dur(firstAt)}</b></span>}
          {failAt !== null && visible(view, failAt, 0) && <span class={cls("flag fail", firstAt !== null && Math.abs(px(view, failAt - firstAt)) < 190 && "low")} style={{ left: `${at(view, failAt)}%` }}><b>failed {dur(failAt)}</b></span>}
        </div>
      </div>
      <div class="lane total">
        <div class="gut"><b>wall time</b><span class="grow" /><b class="n">{dur(d.request.duration_ms)}</b></div>
        <div class="plot" style={{ height: "34px" }} role="list" aria-label="Consecutive phases">
          {d.phases.map((x, i) => {
            const t = diffMs(x.start_ns, base);
            return (
              <span key={i} role="listitem" class={cls("blk tot", `k-${x.kind}`, x.kind === "unaccounted" && "hatch")} data-test="phase" data-ms={x.ms} data-name={x.name}
                aria-label={`${phaseText(x.name)} ${dur(x.ms)}`}
                style={{ ...place(view, t, x.ms), "--c": phaseColor(x.name) }}
                {...tipProps(() => <BlockTip name={x.name} kind={x.kind} service={x.service} t={t} ms={x.ms} total={d.request.duration_ms} />)}>
                <Label name={x.name} ms={x.ms} room={px(view, x.ms)} />
              </span>
            );
          })}
        </div>
      </div>
      <div role="list" aria-label="Processes">
        {d.lanes.map((l) => <LaneRow key={l.service} lane={l} d={d} view={view} logs={logs.get(l.service) ?? []} onSpan={p.onSpan} onLog={p.onLog} />)}
      </div>
    </section>
  );
}

// The same in words: name, time and share of each phase, by first appearance.
export function PhaseTable(p: { d: RequestDetail }): JSX.Element {
  const sum = p.d.phases.reduce((s, x) => s + x.ms, 0);
  const by = new Map<string, { name: string; kind: string; ms: number; n: number }>();
  for (const x of p.d.phases) {
    const had = by.get(x.name);
    if (had) {
      had.ms += x.ms;
      had.n++;
    } else by.set(x.name, { name: x.name, kind: x.kind, ms: x.ms, n: 1 });
  }
  return (
    <ul class="phasetable" aria-label="Phases in words">
      {[...by.values()].map((x) => (
        <li key={x.name} title={`${PHASE_ABOUT[x.name] ?? ""}${x.n > 1 ? ` (${x.n} pieces)` : ""}`}>
          <i class={cls("swatch", x.kind === "unaccounted" && "hatch")} style={{ "--c": phaseColor(x.name) }} />
          <span>{phaseText(x.name)}</span> <b class="n">{dur(x.ms)}</b> <span class="dim n">{percent(x.ms, p.d.request.duration_ms)}</span>
        </li>
      ))}
      <li class="sum" data-test="phase-sum" data-ms={sum}><span>sum</span> <b class="n">{dur(sum)}</b></li>
    </ul>
  );
}
