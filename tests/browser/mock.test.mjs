// What needs the invented data of web/mock: failures, orphans, retries, empty states, keys, themes, narrow screens.
import assert from "node:assert/strict";
import { test } from "node:test";
import { texts, useBrowser, visit as visitAny, still } from "./lib.mjs";

useBrowser();
const visit = (path, body, options = {}) => visitAny(path, body, { base: process.env.SONDE_TEST_MOCK_URL, ...options });
// Asked of the page: what the browser tells of its address comes later.
const param = (page, name) => page.evaluate((n) => new URLSearchParams(location.search).get(n), name);
const tall = { height: 3000 };

test("a failed request tells where, when and why, and leads to the evidence", async () => {
  await visit("/ui/request/demo-fail", async (page) => {
    const card = page.locator("[data-test=failure]");
    await card.waitFor();
    assert.match(await card.textContent(), /Failed in decode after .*decode worker .* closed its stream/);
    assert.ok((await page.locator("[data-test=evidence]").count()) >= 2);
    await page.locator("[data-test=evidence]").last().click();
    const line = page.locator("[data-test=log].current");
    await line.waitFor();
    assert.match(await line.textContent(), /request completed/);
    await page.waitForFunction(() => {
      const r = document.querySelector("[data-test=log].current").getBoundingClientRect();
      return r.top > 40 && r.bottom < innerHeight;
    });
    assert.equal(await param(page, "log"), await line.getAttribute("data-i"));
    assert.equal(await page.locator(".flag.fail").count(), 1);
  }, { height: 600 });
});

test("evidence behind a filter is shown again", async () => {
  await visit("/ui/request/demo-fail?lv=error,warn", async (page) => {
    await page.locator("[data-test=evidence]").first().click();
    await page.locator("[data-test=log].current").waitFor();
    assert.equal(await param(page, "lv"), null);
  }, tall);
});

test("orphans and missing spans are told", async () => {
  await visit("/ui/request/demo-orphan", async (page) => {
    await page.locator("[data-test=notes]").waitFor();
    assert.match(await page.locator("[data-test=notes]").textContent(), /root span never arrived/);
    assert.ok((await page.getByText("orphan", { exact: true }).count()) >= 2);
  });
});

test("a client's retries are traces of one request id", async () => {
  await visit("/ui/request/demo-retry", async (page) => {
    const links = page.locator("[data-test=attempts] a");
    await links.first().waitFor();
    assert.equal(await links.count(), 3);
    assert.equal(await page.locator("[data-test=head]").getAttribute("data-status"), "ok", "the newest is shown first");
    await links.nth(2).click();
    await page.locator("[data-test=head][data-status=error]").waitFor();
    assert.match(await page.locator("[data-test=head]").textContent(), /no worker had a free slot/);
    assert.ok(await param(page, "trace"));
    await page.goBack();
    await page.locator("[data-test=head][data-status=ok]").waitFor();
  });
});

test("filter, status and order of the list are in the address", async () => {
  await visit("/ui/", async (page) => {
    const rows = page.locator("[data-test=request-row]");
    await rows.first().waitFor();
    await page.getByRole("button", { name: "error", exact: true }).click();
    await page.waitForFunction(() => [...document.querySelectorAll("[data-test=request-row]")].every((r) => r.classList.contains("is-error")));
    assert.equal(await param(page, "status"), "error");
    await page.getByLabel("Filter requests").fill("demo-");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=request-row]").length === 4);
    assert.equal(await param(page, "q"), "demo-");
    await page.getByRole("button", { name: "Duration" }).click();
    await page.waitForFunction(() => document.querySelector(".cols .c-duration").getAttribute("aria-sort") === "descending");
    const ms = (await texts(page.locator("[data-test=request-row] .c-duration"))).map((t) => parseFloat(t) * (/ s$/.test(t) ? 1000 : 1));
    assert.deepEqual(ms, [...ms].sort((a, b) => b - a));
    await page.getByLabel("Filter requests").fill("nothing matches this");
    await page.getByText("The filter leaves no request").waitFor();
    await page.getByRole("button", { name: "Drop the filter" }).click();
    await page.waitForFunction(() => document.querySelectorAll("[data-test=request-row]").length > 20);
    assert.equal(await param(page, "status"), null);
  });
});

test("keys walk the list, open a request, and stay out of text fields", async () => {
  await visit("/ui/", async (page) => {
    await page.locator("[data-test=request-row]").first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    const id = await page.locator(".rq.active").getAttribute("data-id");
    assert.equal(id, "demo-42");
    await page.keyboard.press("e");
    assert.equal(await page.locator(".rq.active.is-error").count(), 1);
    await page.keyboard.press("/");
    await page.keyboard.type("jek?");
    assert.equal(await page.getByLabel("Filter requests").inputValue(), "jek?");
    await page.getByLabel("Filter requests").fill("demo-42");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=request-row]").length === 1);
    await page.keyboard.press("Escape");
    await page.keyboard.press("g");
    await page.keyboard.press("Enter");
    await page.locator("[data-test=head]").waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    assert.match(await page.getByRole("dialog").textContent(), /next error line/);
    await page.keyboard.press("Escape");
    await page.keyboard.press("2");
    await page.getByRole("heading", { name: "Logs" }).waitFor();
  });
});

test("the span tree answers to the keyboard", async () => {
  await visit("/ui/request/demo-42", async (page) => {
    const spans = page.locator("[data-test=span]");
    await spans.first().waitFor();
    assert.equal(await spans.count(), 6);
    await spans.first().focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=span]").length === 5);
    assert.ok(await param(page, "c"), "what is collapsed is in the address");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=span]").length === 6);
    await page.keyboard.press("Enter");
    await page.locator("[data-test=span-panel]").waitFor();
    await page.keyboard.press("[");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=span]").length === 1);
    await page.keyboard.press("]");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=span]").length === 6);
    await page.locator("[data-test=span]").nth(2).click();
    await page.locator("[data-test=span-panel]").getByRole("button", { name: /Show/ }).click();
    await page.waitForFunction(() => document.querySelectorAll("[data-test=log]").length === 2);
  }, tall);
});

test("dragging zooms the time axis, and the back button undoes it", async () => {
  await visit("/ui/request/demo-42", async (page) => {
    const plot = page.locator(".axis .plot");
    await plot.waitFor();
    const r = await still(plot);
    await page.mouse.move(r.x + r.width * 0.25, r.y + 60);
    await page.mouse.down();
    await page.mouse.move(r.x + r.width * 0.4, r.y + 62, { steps: 4 });
    await page.mouse.move(r.x + r.width * 0.5, r.y + 64, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(() => location.search.includes("z="));
    assert.match(await param(page, "z"), /^\d+\.\d+~\d+\.\d+$/);
    assert.equal(await param(page, "span"), null, "a drag is no click");
    const wide = (least, most) => page.waitForFunction(([l, m]) => {
      const w = document.querySelector("[data-test=phase][data-name=decode]").getBoundingClientRect().width;
      return w > l && w < m;
    }, [least, most]);
    await wide(r.width * 2, 1e9);
    await page.goBack();
    await page.waitForFunction(() => !location.search.includes("z="));
    await wide(0, r.width);
  });
});

test("lanes and spans share one axis", async () => {
  await visit("/ui/request/demo-42", async (page) => {
    await page.locator("[data-test=span]").first().waitFor();
    const [phase, bar] = await page.evaluate(() => {
      const box = (e) => e.getBoundingClientRect();
      const prefill = box(document.querySelector("[data-test=phase][data-name=prefill]"));
      const span = box(document.querySelectorAll("[data-test=span] .spanbar")[2]);
      return [[prefill.left, prefill.right], [span.left, span.right]];
    });
    assert.ok(Math.abs(phase[0] - bar[0]) < 1.5 && Math.abs(phase[1] - bar[1]) < 1.5, `${phase} and ${bar}`);
  });
});

test("ids and commands can be copied", async () => {
  await visit("/ui/request/demo-42", async (page) => {
    const clip = () => page.evaluate(() => navigator.clipboard.readText());
    await page.getByRole("button", { name: "Copy: sonde request" }).click();
    assert.equal(await clip(), "sonde request demo-42");
    await page.getByRole("button", { name: "Copy: curl" }).click();
    assert.match(await clip(), /^curl -s 'http:\/\/127\.0\.0\.1:\d+\/api\/sonde\/v1\/requests\/demo-42'$/);
    await page.keyboard.press("c");
    await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "demo-42");
  });
});

test("the time range can be picked, typed and zoomed", async () => {
  await visit("/ui/", async (page) => {
    await page.locator("[data-test=request-row]").first().waitFor();
    await page.keyboard.press("t");
    await page.getByRole("menuitemradio", { name: "Last 15 min" }).click();
    await page.waitForFunction(() => location.search.includes("from=now-15m"));
    await page.getByRole("button", { name: /Last 15 min/ }).click();
    await page.getByLabel("From").fill("gestern");
    await page.getByRole("alert").getByText("is not a time").waitFor();
    await page.getByLabel("From").fill("now-30m");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.waitForFunction(() => location.search.includes("from=now-30m"));
    await page.locator(".chart canvas").waitFor();
    const c = await still(page.locator(".chart .u-over"));
    await page.mouse.move(c.x + c.width * 0.3, c.y + 20);
    await page.mouse.down();
    await page.mouse.move(c.x + c.width * 0.6, c.y + 20, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(() => /from=\d{13}&to=\d{13}/.test(location.search));
    assert.ok(Number(await param(page, "to")) - Number(await param(page, "from")) < 0.32 * 1_800_000);
    await page.goBack();
    assert.equal(await param(page, "from"), "now-30m");
    await page.goto(`${page.url().split("?")[0]}?from=2001-01-01&to=2001-01-02`);
    await page.getByText("No request in this time range").waitFor();
    await page.getByRole("button", { name: "Go there" }).click();
    await page.locator("[data-test=request-row]").first().waitFor();
    await page.goto(`${page.url().split("?")[0]}?from=whenever`);
    await page.getByText("cannot be read").waitFor();
  });
});

test("the zone can be changed and stays", async () => {
  await visit("/ui/?tz=utc", async (page) => {
    const row = page.locator("[data-test=request-row]").first();
    await row.waitFor();
    assert.equal(await page.locator(".zone").textContent(), "UTC");
    await row.locator(".c-duration").click();
    await page.locator("[data-test=head]").waitFor();
    assert.equal(await param(page, "tz"), "utc");
    await page.locator(".zone").click();
    await page.waitForFunction(() => !location.search.includes("tz="));
  });
});

test("logs: thousands of lines in a few rows, older ones on scrolling, none twice", async () => {
  await visit("/ui/logs", async (page) => {
    await page.locator("[data-test=line]").first().waitFor();
    assert.ok((await page.locator("[data-test=line]").count()) < 120);
    const seen = new Map();
    const collect = async () => {
      const rows = await page.locator("[data-test=line]").evaluateAll((all) => all.map((e) => [e.parentElement.dataset.key, e.dataset.time]));
      for (const [k, t] of rows) seen.set(k, t);
    };
    for (let i = 0; i < 400; i++) {
      await collect();
      const end = await page.evaluate(() => {
        scrollBy(0, innerHeight * 0.8);
        return document.querySelector(".foot").textContent.includes("start of the time range") && scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
      });
      await page.evaluate(() => new Promise((ok) => requestAnimationFrame(() => requestAnimationFrame(ok))));
      if (end) break;
    }
    await collect();
    const shown = Number((await page.locator(".summary b").textContent()).replace(/\D/g, ""));
    assert.ok(shown > 2000, `${shown} lines`);
    assert.equal(seen.size, shown, "every loaded line was drawn once");
  });
});

test("logs: a line opens, and its labels change the query", async () => {
  await visit("/ui/logs", async (page) => {
    const line = page.locator("[data-test=line]").first();
    await line.waitFor();
    await line.locator("time").click();
    await line.locator(".logmore").waitFor();
    await line.getByRole("button", { name: "Only service_name" }).click();
    await page.waitForFunction(() => new URLSearchParams(location.search).get("q")?.includes('service_name="'));
    assert.equal(await param(page, "q"), '{service_name=~".+", service_name="decode"}');
    await line.waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll("[data-test=line] .svc")].every((e) => e.textContent === "decode"));
    await line.locator(".logmore").waitFor(); // an open line stays open
    await line.getByRole("button", { name: /Without detected_level/ }).click();
    await page.waitForFunction(() => new URLSearchParams(location.search).get("q")?.includes("| detected_level!="));
    await line.waitFor();
    await line.locator(".reqid").click();
    await page.locator("[data-test=head]").waitFor();
  });
});

test("logs: a metric query draws series", async () => {
  await visit(`/ui/logs?q=${encodeURIComponent('sum by (service_name) (rate({service_name=~".+"}[1m]))')}`, async (page) => {
    await page.locator("table.series tbody tr").first().waitFor();
    assert.equal(await page.locator("table.series tbody tr").count(), 3);
    await page.locator(".chart canvas").waitFor();
  });
});

test("an empty server says how to send something", async () => {
  await visit("/ui/", async (page) => {
    await page.getByText("Nothing has arrived yet").waitFor();
    await page.getByText("OTEL_EXPORTER_OTLP_ENDPOINT").waitFor();
  }, { base: process.env.SONDE_TEST_EMPTY_URL });
});

test("a server that goes away is told, and what was there stays", async () => {
  await visit("/ui/", async (page) => {
    await page.locator("[data-test=request-row]").first().waitFor();
    await page.route("**/api/**", (r) => r.abort());
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("The server does not answer").waitFor();
    assert.ok((await page.locator("[data-test=request-row]").count()) > 5);
    await page.unroute("**/api/**");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("The server does not answer").waitFor({ state: "detached" });
  }, { failing: true });
});

test("text from the records is never taken for markup", async () => {
  await visit("/ui/", async (page) => {
    await page.route("**/api/sonde/v1/requests/evil", async (r) => {
      const d = await (await fetch(r.request().url().replace("evil", "demo-fail"))).json();
      const bad = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
      Object.assign(d.request, { verdict: bad, model: bad });
      d.failure.why = bad;
      d.logs.forEach((l) => Object.assign(l, { message: bad, line: bad, fields: { [bad]: bad } }));
      d.spans.forEach((s) => Object.assign(s, { name: bad, attributes: { [bad]: bad } }));
      await r.fulfill({ json: d });
    });
    await page.goto(page.url().replace("/ui/", "/ui/request/evil"));
    await page.locator("[data-test=failure]").waitFor();
    assert.equal(await page.locator("img, #app script").count(), 0);
    assert.match(await page.title(), /evil/);
  });
});

for (const scheme of ["light", "dark"]) {
  test(`text can be read in the ${scheme} theme`, async () => {
    await visit("/ui/request/demo-fail", async (page) => {
      await page.locator("[data-test=log]").first().waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), scheme);
      assert.deepEqual(await poorContrast(page), []);
    }, { ...tall, scheme });
  });
}

// Texts below WCAG's 4.5:1 against the nearest opaque background.
async function poorContrast(page) {
  const rows = await page.evaluate(() => {
    const out = [];
    for (const e of document.querySelectorAll("main *, header *")) {
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest(".vh, .blk, .log, .crosshair")) continue;
      let back = "rgb(255, 255, 255)";
      for (let p = e; p; p = p.parentElement) {
        const b = getComputedStyle(p).backgroundColor;
        if (/^rgb\(/.test(b)) {
          back = b;
          break;
        }
      }
      out.push([`${e.className || e.tagName} "${e.textContent.slice(0, 20)}"`, getComputedStyle(e).color, back]);
    }
    return out;
  });
  const lum = (c) => {
    const [r, g, b] = c.match(/[\d.]+/g).slice(0, 3).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return rows.flatMap(([what, a, b]) => {
    const x = lum(a), y = lum(b);
    const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    return ratio < 4.5 ? [`${what} ${a} on ${b}: ${ratio.toFixed(2)}`] : [];
  });
}

test("the theme can be chosen and is kept", async () => {
  await visit("/ui/", async (page) => {
    await page.locator("[data-test=request-row]").first().waitFor();
    await page.getByRole("button", { name: /^Theme/ }).click();
    await page.getByRole("button", { name: /^Theme: light/ }).click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  });
});

for (const path of ["/ui/", "/ui/request/demo-fail", "/ui/logs", "/ui/metrics", "/ui/metrics?q=dynamo_frontend_requests_total"]) {
  test(`${path} fits a narrow screen`, async () => {
    await visit(path, async (page) => {
      await page.locator("[data-test=request-row], [data-test=log], [data-test=line], [data-test=metrics] tr, [data-test=series] tr").first().waitFor();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${wide} px too wide`);
    }, { width: 390, height: 800 });
  });
}

test("everything that can be pressed has a name", async () => {
  for (const path of ["/ui/", "/ui/request/demo-fail", "/ui/logs", "/ui/metrics", "/ui/metrics?q=dynamo_frontend_requests_total"]) {
    await visit(path, async (page) => {
      await page.locator("[data-test=request-row], [data-test=log], [data-test=line], [data-test=metrics] tr, [data-test=series] tr").first().waitFor();
      const nameless = await page.evaluate(() => [...document.querySelectorAll("button, a, input, select, textarea")]
        .filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute("aria-label") || e.title || e.labels?.length) && !e.classList.contains("blk")).map((e) => e.outerHTML.slice(0, 120)));
      assert.deepEqual(nameless, []);
    });
  }
});

test("metrics: from the list to a chart, and from a dot to its request", async () => {
  await visit("/ui/metrics", async (page) => {
    const list = page.locator("[data-test=metrics] tbody tr");
    await list.first().waitFor();
    assert.equal(await list.count(), 3, "a histogram's parts are one metric");
    await page.getByLabel("Find a metric").fill("first token");
    await page.waitForFunction(() => document.querySelectorAll("[data-test=metrics] tbody tr").length === 1);
    await list.first().locator("a").click();
    assert.match(await param(page, "q"), /^histogram_quantile\(0\.95, sum by \(le\)/);
    await page.locator("[data-test=series] tbody tr").nth(1).waitFor();
    assert.match((await texts(page.locator("[data-test=series] tbody td.mono"))).join(), /service_name="prefill"/);
    const dot = page.locator("[data-test=exemplar]").first();
    await dot.waitFor();
    await still(dot);
    await dot.click({ force: true });
    await page.locator("[data-test=head]").waitFor();
    assert.match(new URL(page.url()).pathname, /^\/ui\/request\/[0-9a-f]{32}$/);
    await page.goBack();
    await page.locator("[data-test=series]").waitFor();
  });
});

test("metrics: an error shows its place; nothing stored tells how to send", async () => {
  await visit("/ui/metrics?q=sum(rate(x[5m])", async (page) => {
    await page.locator("[data-test=caret]").waitFor();
    assert.match(await page.locator("[data-test=query-error]").textContent(), /parse error: unclosed/);
  }, { failing: true });
  await visit("/ui/metrics", async (page) => {
    await page.getByText("No metrics yet").waitFor();
    assert.match(await page.locator("main").textContent(), /OTEL_METRICS_EXPORTER=otlp/);
  }, { base: process.env.SONDE_TEST_EMPTY_URL });
});
