// The query that a person most likely means by a metric's name, from its type.
export interface Meta { type: string; help: string; unit: string }
export interface Family extends Meta { name: string; query: string }

const WINDOW = "5m"; // holds several samples at any usual interval of scraping or export

const plain = (n: string): string => (/^[a-zA-Z_:][\w:]*$/.test(n) ? n : `{${JSON.stringify(n)}}`);

function queryOf(name: string, type: string): string {
  if (type === "histogram") return `histogram_quantile(0.95, sum by (le) (rate(${name}_bucket[${WINDOW}])))`;
  if (type === "native_histogram") return `histogram_quantile(0.95, sum(rate(${plain(name)}[${WINDOW}])))`;
  return type === "counter" || (type === "" && name.endsWith("_total")) ? `sum(rate(${plain(name)}[${WINDOW}]))` : plain(name);
}

// Names of series as a person thinks of them: the parts of a histogram or summary are one metric.
export function families(names: string[], meta: Record<string, Meta[]>): Family[] {
  const known = new Set(names), out = new Map<string, Family>();
  for (const n of names) {
    const base = n.replace(/_(bucket|sum|count)$/, "");
    const first = (k: string): Meta | undefined => meta[k]?.[0];
    let name = n, m = first(n);
    if (!m && base !== n && (first(base) || known.has(`${base}_bucket`))) {
      name = base;
      m = first(base);
    }
    let type = m?.type ?? "";
    if (name !== n && known.has(`${name}_bucket`)) type = "histogram";
    else if (type === "histogram" && !known.has(`${name}_bucket`)) type = "native_histogram";
    // OpenMetrics calls a counter by its name without _total
    if (!m && n.endsWith("_total")) m = first(n.slice(0, -6));
    if (!out.has(name)) out.set(name, { name, type: type || (m?.type ?? ""), help: m?.help ?? "", unit: m?.unit ?? "", query: queryOf(name, type || (m?.type ?? "")) });
  }
  return [...out.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
