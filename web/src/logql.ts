// As much of LogQL's text as the page touches: adding a filter by a click, telling logs from metrics, finding an error's spot.
export const ALL = '{service_name=~".+"}';

const quote = (v: string): string => `"${v.replace(/["\\]/g, "\\$&").replace(/\n/g, "\\n")}"`;

// Index of the brace that closes the stream selector, outside of strings; -1 if there is none.
function selectorEnd(q: string): number {
  let quoted = "";
  for (let i = 0; i < q.length; i++) {
    const c = q[i]!;
    if (quoted) {
      if (c === "\\" && quoted === '"') i++;
      else if (c === quoted) quoted = "";
    } else if (c === '"' || c === "`") quoted = c;
    else if (c === "}") return i;
  }
  return -1;
}

// Labels of the stream go into the selector, which makes the search smaller; everything else is a stage at the end.
export function addFilter(q: string, name: string, v: string, op: "=" | "!=", ofStream: boolean): string {
  const end = ofStream ? selectorEnd(q) : -1;
  if (end < 0) return `${q.trim()} | ${name}${op}${quote(v)}`;
  const inner = q.slice(0, end).trimEnd();
  return `${inner}${inner.endsWith("{") || inner.endsWith(",") ? "" : ", "}${name}${op}${quote(v)}${q.slice(end)}`;
}

export const isLogQuery = (q: string): boolean => /^[\s(]*\{/.test(q.replace(/^(\s*#[^\n]*\n)+/, ""));

// Where the server's message points to (LogQL's "parse error at line 1, col 19: …", PromQL's "1:19: parse error: …"), counted
// from zero and kept within the text.
export function spotOf(q: string, message: string): { line: number; col: number } | null {
  const m = /line (\d+),?\s*col(?:umn)?\s*(\d+)/i.exec(message) ?? /(?:^|\s)(\d+):(\d+): parse error/.exec(message);
  if (!m) return null;
  const all = q.split("\n");
  const line = Math.max(0, Math.min(Number(m[1]) - 1, all.length - 1));
  return { line, col: Math.max(0, Math.min(Number(m[2]) - 1, all[line]!.length)) };
}
