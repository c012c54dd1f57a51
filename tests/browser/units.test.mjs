// The page's small functions, bundled by esbuild and called without a browser: times, ranges, numbers, LogQL edits.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const { build } = createRequire(new URL("../../web/package.json", import.meta.url))("esbuild");
const dir = mkdtempSync(join(tmpdir(), "sonde-units-"));
let time, format, logql, promql, router;

before(async () => {
  process.env.TZ = "UTC";
  globalThis.location = { pathname: "/ui/logs", search: "?q=a&tz=utc", origin: "http://x" };
  const out = join(dir, "units.mjs");
  await build({ stdin: { contents: ["time", "format", "logql", "promql", "router"].map((m) => `export * as ${m} from "./src/${m}";`).join("\n"), resolveDir: fileURLToPath(new URL("../../web", import.meta.url)) },
    bundle: true, format: "esm", outfile: out, logLevel: "error" });
  ({ time, format, logql, promql, router } = await import(pathToFileURL(out)));
});
after(() => rmSync(dir, { recursive: true, force: true }));

const now = Date.UTC(2026, 10, 22, 17, 45, 30, 250); // a Sunday

test("times as people write them", () => {
  const rows = [
    ["now", now], ["now-15m", now - 900_000], ["now - 1.5h", now - 5_400_000], ["now+1s", now + 1000], ["-3h", now - 10_800_000], ["15m", now - 900_000],
    ["now/d", Date.UTC(2026, 10, 22)], ["now-1d/d", Date.UTC(2026, 10, 21)], ["now/h", Date.UTC(2026, 10, 22, 17)], ["now/w", Date.UTC(2026, 10, 16)], ["now/M", Date.UTC(2026, 10, 1)], ["now/y", Date.UTC(2026, 0, 1)],
    ["1763830000", 1763830000000], ["1763830000.5", 1763830000500], ["1763830000123", 1763830000123], ["1763830000123456", 1763830000123.456], ["1763830000123456789", 1763830000123.4568],
    ["2026-11-22 10:30", Date.UTC(2026, 10, 22, 10, 30)], ["2026-11-22T10:30:15.5Z", Date.UTC(2026, 10, 22, 10, 30, 15, 500)], ["2026-11-22T10:30:00+02:00", Date.UTC(2026, 10, 22, 8, 30)], ["2026-11-22", Date.UTC(2026, 10, 22)],
    ["yesterday 14:00", Date.UTC(2026, 10, 21, 14)], ["today", Date.UTC(2026, 10, 22)],
    ["", null], ["soon", null], ["now-", null], ["2026-13-01", null], ["12", null], ["now-1x", null],
  ];
  for (const [text, want] of rows) {
    const got = time.parseTime(text, now);
    assert.ok(want === null ? got === null : Math.abs(got - want) < 0.001, `${text}: ${got}, want ${want}`);
  }
  assert.equal(time.parseTime("now/d", now, true), Date.UTC(2026, 10, 23) - 1, "the end of the day");
  assert.equal(time.resolve({ from: "now", to: "now-1h" }, now), null, "backwards");
});

test("nanoseconds stay exact", () => {
  assert.equal(time.clockNs("1763830000123456789", 9), "16:46:40.123456789");
  assert.equal(time.clockNs("1763830000000000001", 3), "16:46:40.000");
  assert.equal(time.diffMs("1763830000123456790", "1763830000123456789"), 0.000001);
  assert.equal(time.diffMs("1763830000000000000", "1763830001000000000"), -1000);
  assert.equal(time.toNs(1763830000123.5), "1763830000123500000");
  assert.equal(time.rfc3339("1763830000123456789"), "2025-11-22T16:46:40.123456789Z");
});

test("steps are round and few", () => {
  assert.equal(time.niceStep(3_600_000, 120), 30_000);
  assert.equal(time.niceStep(900_000, 120), 10_000);
  assert.equal(time.logqlDuration(30_000), "30s");
  assert.equal(time.logqlDuration(1500), "1500ms");
});

test("durations and shares", () => {
  for (const [ms, want] of [[null, "–"], [0, "0 ms"], [0.00025, "250 ns"], [0.42, "420 µs"], [5.774, "5.77 ms"], [71.04, "71.0 ms"], [153.2, "153 ms"], [999.4, "999 ms"], [9.999, "10.0 ms"], [99.97, "100 ms"], [3250, "3.25 s"], [125_000, "2 m 5 s"], [3_725_000, "1 h 2 m"], [-4.2, "-4.20 ms"]]) assert.equal(format.dur(ms), want);
  assert.equal(format.percent(1, 0), "–");
  assert.equal(format.percent(0.01, 100), "<0.1 %");
  assert.equal(format.num(12345), "12,345");
  assert.deepEqual(format.ticks(0, 100, 5), [0, 20, 40, 60, 80, 100]);
  assert.equal(format.ticks(5, 5, 4).length, 1);
});

test("filters go where they belong in a query", () => {
  const add = logql.addFilter;
  assert.equal(add('{a="b"}', "c", "d", "=", true), '{a="b", c="d"}');
  assert.equal(add('{a="}"} |= "x"', "c", 'q"\\', "!=", true), '{a="}", c!="q\\"\\\\"} |= "x"');
  assert.equal(add("{a=`}`,}", "c", "d", "=", true), '{a=`}`,c="d"}');
  assert.equal(add('{a="b"}', "c", "two\nlines", "=", false), '{a="b"} | c="two\\nlines"');
  assert.equal(logql.isLogQuery('# why\n {a="b"}'), true);
  assert.equal(logql.isLogQuery('rate({a="b"}[1m])'), false);
});

test("an error's spot stays within the text", () => {
  assert.deepEqual(logql.spotOf('{a="b"', "parse error at line 1, col 7: x"), { line: 0, col: 6 });
  assert.deepEqual(logql.spotOf("a\nbc", "parse error at line 9, col 99: x"), { line: 1, col: 2 });
  assert.equal(logql.spotOf("a", "query timed out"), null);
});

test("links keep what belongs to the person", () => {
  assert.equal(router.href("/ui/", { q: "x:y", status: "" }), "/ui/?q=x:y&tz=utc");
  assert.equal(router.requestPath("a/b c"), "/ui/request/a%2Fb%20c");
});

test("metrics as a person thinks of them, and what is meant by a name", () => {
  const meta = { lat_seconds: [{ type: "histogram", help: "how long", unit: "seconds" }], up: [{ type: "gauge", help: "", unit: "" }], req: [{ type: "counter", help: "of OpenMetrics", unit: "" }], size_sum: [{ type: "gauge", help: "a name that ends so", unit: "" }], exp: [{ type: "histogram", help: "", unit: "" }] };
  const rows = promql.families(["lat_seconds_bucket", "lat_seconds_sum", "lat_seconds_count", "up", "req_total", "size_sum", "exp", "other_bucket", "other_count", "a.b"], meta);
  assert.deepEqual(rows.map((f) => [f.name, f.type, f.query]), [
    ["a.b", "", '{"a.b"}'],
    ["exp", "native_histogram", "histogram_quantile(0.95, sum(rate(exp[5m])))"],
    ["lat_seconds", "histogram", "histogram_quantile(0.95, sum by (le) (rate(lat_seconds_bucket[5m])))"],
    ["other", "histogram", "histogram_quantile(0.95, sum by (le) (rate(other_bucket[5m])))"],
    ["req_total", "counter", "sum(rate(req_total[5m]))"],
    ["size_sum", "gauge", "size_sum"],
    ["up", "gauge", "up"],
  ]);
  assert.equal(rows.find((f) => f.name === "req_total").help, "of OpenMetrics");
  assert.deepEqual(logql.spotOf("sum(rate(", 'invalid parameter "query": 1:10: parse error: unclosed'), { line: 0, col: 9 });
});
