// A browser for the tests: Debian's Chromium through playwright-core (installed by npm in web/). Each page watches itself:
// an error on the console, a breach of the content security policy or a request to another host fails the test.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before } from "node:test";

const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))("playwright-core");

export const URL_ = process.env.SONDE_TEST_URL;
export const ID = process.env.SONDE_REQUEST;

const executablePath = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((p) => p && existsSync(p));
const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

let browser;
export function useBrowser() {
  before(async () => {
    browser = await chromium.launch({ executablePath, args });
  });
  after(() => browser?.close());
}

// Opens path and calls body(page). failing: answers with an error status are expected (the browser notes them itself).
export async function visit(path, body, { width = 1500, height = 1000, scheme = "light", base = URL_, failing = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, permissions: ["clipboard-read", "clipboard-write"] });
  const problems = [];
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    await page.addInitScript(() => addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)));
    page.on("console", (m) => {
      if (!["error", "warning"].includes(m.type()) || (failing && /Failed to load resource/.test(m.text()))) return;
      problems.push(`${m.type()}: ${m.text()}`);
    });
    page.on("pageerror", (e) => problems.push(`exception: ${e.stack}`));
    page.on("request", (r) => {
      if (!r.url().startsWith(base) && !r.url().startsWith("data:")) problems.push(`request to ${r.url()}`);
    });
    await page.goto(base + path);
    await body(page);
    assert.deepEqual(problems, [], `what the browser complained about on ${path}`);
  } catch (e) {
    if (problems.length) e.message += `\nthe browser said: ${problems.join("\n")}`;
    throw e;
  } finally {
    await context.close();
  }
}

export const texts = (locator) => locator.evaluateAll((all) => all.map((e) => e.textContent));
export const data = (locator, name) => locator.evaluateAll((all, n) => all.map((e) => e.dataset[n]), name);

// Where an element is, once it has stood still: a chart is drawn anew when its range changes, and has no place meanwhile.
export async function still(locator) {
  let before = null;
  for (let i = 0; i < 100; i++) {
    const now = await locator.boundingBox();
    if (now && before && JSON.stringify(now) === JSON.stringify(before)) return now;
    before = now;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${locator} did not come to a stand`);
}
