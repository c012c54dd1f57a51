// What must hold on any server that has the request named by SONDE_REQUEST: the demo, Dynamo, invented data.
import assert from "node:assert/strict";
import { test } from "node:test";
import { data, ID, still, URL_, useBrowser, visit } from "./lib.mjs";

useBrowser();
const request = `/ui/request/${encodeURIComponent(ID)}`;
const tall = { height: 3000 };

test("the start page comes with a strict policy and nothing inline", async () => {
  const r = await fetch(`${URL_}/ui/`);
  assert.equal(r.status, 200);
  const csp = r.headers.get("content-security-policy");
  assert.match(csp, /default-src 'none'/);
  assert.match(csp, /script-src 'self'/);
  assert.doesNotMatch(csp, /unsafe/);
  const html = await r.text();
  assert.doesNotMatch(html, /<style|<script>|\sstyle=|https?:\/\//);
  const root = await fetch(`${URL_}/`, { redirect: "manual" });
  assert.equal(root.status, 302);
  assert.equal(new URL(root.headers.get("location"), URL_).pathname, "/ui/");
});

test("the list shows the request, and a click leads to it and back", async () => {
  await visit(`/ui/?from=now-24h&q=${encodeURIComponent(ID)}`, async (page) => {
    const row = page.locator(`[data-test=request-row][data-id="${ID}"]`).first();
    await row.waitFor();
    assert.match(await row.textContent(), new RegExp(ID));
    assert.ok((await row.locator(".minibar i").count()) >= 1, "the row has a bar of phases");
    await page.locator(".chart canvas").waitFor();
    await row.locator(".c-duration").click();
    await page.locator("[data-test=head]").waitFor();
    assert.equal(new URL(page.url()).pathname, request);
    await page.goBack();
    await row.waitFor();
    assert.equal(new URL(page.url()).searchParams.get("q"), ID);
    await page.goForward();
    await page.locator("[data-test=lanes]").waitFor();
  });
});

test("one request: lanes of three processes, and phases that sum to the wall time", async () => {
  await visit(request, async (page) => {
    await page.locator("[data-test=lanes]").waitFor();
    const services = await data(page.locator("[data-test=lane]"), "service");
    assert.ok(new Set(services).size >= 3, `lanes: ${services}`);
    const total = Number(await page.locator("[data-test=head]").getAttribute("data-duration-ms"));
    const phases = (await data(page.locator("[data-test=phase]"), "ms")).map(Number);
    assert.ok(phases.length >= 3, `${phases.length} phases`);
    const sum = phases.reduce((a, b) => a + b, 0);
    assert.ok(total > 0 && Math.abs(sum - total) <= total * 0.01, `phases sum to ${sum} ms of ${total} ms`);
    // the same as drawn: no gap, no overlap, the whole width of the request
    const boxes = await page.locator("[data-test=phase]").evaluateAll((all) => all.map((e) => e.getBoundingClientRect().toJSON()));
    for (let i = 1; i < boxes.length; i++) assert.ok(boxes[i].left >= boxes[i - 1].left && boxes[i].left - (boxes[i - 1].left + boxes[i - 1].width) < 2, `gap before phase ${i}`);
    const names = await data(page.locator("[data-test=lane-block]"), "name");
    assert.ok(names.some((n) => n === "prefill") && names.some((n) => n === "decode"), `blocks: ${names}`);
    assert.ok((await page.locator("[data-test=first-token]").count()) === 1, "the first token is marked");
  }, tall);
});

test("one request: at least five spans as a tree, and what a span holds", async () => {
  await visit(request, async (page) => {
    const spans = page.locator("[data-test=span]");
    await spans.first().waitFor();
    assert.ok((await spans.count()) >= 5, `${await spans.count()} spans`);
    const levels = (await spans.evaluateAll((all) => all.map((e) => Number(e.getAttribute("aria-level")))));
    assert.equal(levels[0], 1);
    for (let i = 1; i < levels.length; i++) assert.ok(levels[i] <= levels[i - 1] + 1, `depths ${levels}`);
    assert.ok(Math.max(...levels) >= 3, `depths ${levels}`);
    await spans.nth(1).click();
    await page.locator("[data-test=span-panel]").waitFor();
    assert.ok(new URL(page.url()).searchParams.get("span"), "the selection is in the address");
    assert.ok((await page.locator("[data-test=span-panel] table.fields tr").count()) > 0, "the span shows its attributes");
    await page.reload();
    await page.locator("[data-test=span-panel]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("[data-test=span-panel]").waitFor({ state: "detached" });
  }, tall);
});

test("one request: the log lines of three processes in time order", async () => {
  await visit(request, async (page) => {
    const lines = page.locator("[data-test=log]");
    await lines.first().waitFor();
    const times = (await data(lines, "time")).map(BigInt);
    assert.ok(times.length >= 3, `${times.length} lines`);
    for (let i = 1; i < times.length; i++) assert.ok(times[i] >= times[i - 1], `line ${i} is older than the one before it`);
    assert.ok(new Set(await data(lines, "service")).size >= 3, "three processes have lines");
    await lines.first().locator(".logline time").click();
    await lines.first().locator(".logmore").waitFor();
    const n = await lines.count();
    await page.getByRole("group", { name: "Services" }).getByRole("button").first().click();
    await page.waitForFunction((k) => document.querySelectorAll("[data-test=log]").length < k, n);
    assert.equal(new Set(await data(lines, "service")).size, 1);
    await page.getByRole("button", { name: "show all" }).click();
    await page.waitForFunction((k) => document.querySelectorAll("[data-test=log]").length === k, n);
  }, tall);
});

test("a failed request tells where, when and why", { skip: !process.env.SONDE_FAILED_REQUEST }, async () => {
  await visit(`/ui/request/${encodeURIComponent(process.env.SONDE_FAILED_REQUEST)}`, async (page) => {
    const card = page.locator("[data-test=failure]");
    await card.waitFor();
    assert.match(await card.locator("h2").textContent(), /Failed in \w+/);
    assert.ok((await card.locator(".why").textContent()).length > 10, "a sentence says why");
    assert.equal(await page.locator("[data-test=head]").getAttribute("data-status"), "error");
    assert.ok((await page.locator("[data-test=evidence]").count()) >= 1, "log lines prove it");
    await page.locator("[data-test=evidence]").first().click();
    await page.locator("[data-test=log].current").waitFor();
  }, tall);
});

test("logs: volume and lines, newest first, leading to their request", async () => {
  await visit(`/ui/logs?from=now-24h`, async (page) => {
    const lines = page.locator("[data-test=line]");
    await lines.first().waitFor();
    await page.locator(".chart canvas").waitFor();
    const times = (await data(lines, "time")).map(BigInt);
    for (let i = 1; i < times.length; i++) assert.ok(times[i] <= times[i - 1], `line ${i} is newer than the one before it`);
    const box = page.getByLabel("LogQL query");
    await box.fill('{service_name=~".+"} |= `surely no line holds this`');
    await box.press("Enter");
    await page.getByText("No line matches").waitFor();
    assert.match(new URL(page.url()).searchParams.get("q"), /surely/);
    await page.goBack();
    await lines.first().waitFor();
    assert.equal(await box.inputValue(), "");
  });
});

test("logs: an error in the query is shown where it is", async () => {
  await visit(`/ui/logs?q=${encodeURIComponent('{service_name="x" | json')}`, async (page) => {
    const error = page.locator("[data-test=query-error]");
    await error.waitFor();
    const caret = await page.locator("[data-test=caret]").textContent();
    assert.ok(caret.indexOf("^") >= 10 && caret.indexOf("^") <= 20, `the caret stands at ${caret.indexOf("^")}`);
    const box = page.getByLabel("LogQL query");
    assert.equal(await box.getAttribute("aria-invalid"), "true");
    assert.equal(await box.inputValue(), '{service_name="x" | json', "what was typed stays");
  }, { failing: true });
});

test("a request that is not there is said to be unknown", async () => {
  await visit("/ui/request/no-such-request-anywhere", async (page) => {
    await page.getByText("No such request").waitFor();
    await page.getByRole("link", { name: "Search the logs" }).waitFor();
  }, { failing: true });
});

test("a page that is not there says so", async () => {
  await visit("/ui/nowhere", async (page) => {
    await page.getByText("There is no such page").waitFor();
    await page.getByRole("main").getByRole("link", { name: "Requests" }).click();
    await page.getByRole("heading", { name: "Requests" }).waitFor();
  });
});

test("metrics: a histogram's quantile over time, and from its exemplar to the request", { skip: !process.env.SONDE_METRIC && "SONDE_METRIC names no histogram with exemplars" }, async () => {
  await visit("/ui/metrics?from=now-15m", async (page) => {
    await page.getByLabel("Find a metric").fill(process.env.SONDE_METRIC);
    await page.locator("[data-test=metrics] a").first().click();
    await page.locator("[data-test=series] tbody tr").first().waitFor();
    const dot = page.locator("[data-test=exemplar]").first();
    await dot.waitFor();
    await still(dot);
    await dot.click({ force: true });
    await page.locator("[data-test=lanes]").waitFor();
    assert.match(new URL(page.url()).pathname, /^\/ui\/request\/[0-9a-f]{32}$/);
  });
});
