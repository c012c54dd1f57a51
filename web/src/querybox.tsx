// Where a query is written, and what is wrong with it.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "./api";
import { spotOf } from "./logql";
import { cls, Copy, ErrorBox } from "./ui";

export function QueryBox(p: { q: string; label: string; hint: string; run: (q: string) => void; error: ApiError | undefined; busy: boolean; cancel: () => void }): JSX.Element {
  const [draft, setDraft] = useState(p.q);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => setDraft(p.q), [p.q]);
  const rowsOf = Math.min(8, Math.max(1, draft.split("\n").length));
  return (
    <div class={cls("querybox", p.error && "bad")}>
      <textarea ref={area} id="focus" rows={rowsOf} value={draft} spellcheck={false} autocomplete="off" aria-label={p.label} aria-invalid={!!p.error} aria-describedby={p.error ? "queryerror" : undefined}
        placeholder={p.hint} onInput={(e) => setDraft(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === "Enter" && !e.shiftKey) {
            e.preventDefault();
            p.run(draft);
          } else if (e.key === "Escape") e.currentTarget.blur();
        }} />
      {draft !== p.q && draft.trim() !== "" && <span class="hint dim" aria-hidden="true">⏎ runs</span>}
      <Copy text={draft || p.hint} title="Copy the query" />
      {p.busy && <button type="button" onClick={p.cancel}>Cancel</button>}
      <button type="button" class="primary" onClick={() => p.run(draft)} title="Run (Enter)">Run</button>
    </div>
  );
}

// The server names line and column; show the spot.
export function QueryError(p: { q: string; error: ApiError; retry: () => void }): JSX.Element {
  const spot = p.error.status === 400 ? spotOf(p.q, p.error.message) : null;
  if (!spot) return <div id="queryerror"><ErrorBox error={p.error} retry={p.retry} title="The query could not be answered" /></div>;
  return (
    <div class="state bad query" role="alert" id="queryerror" data-test="query-error">
      <h2>The query cannot be read</h2>
      <pre class="code" aria-hidden="true">{p.q.split("\n").map((t, i) => <span key={i}>{t}{"\n"}{i === spot.line && <b data-test="caret">{" ".repeat(spot.col)}^{"\n"}</b>}</span>)}</pre>
      <p>{p.error.message}</p>
    </div>
  );
}
