// A server for work on the page and for its tests: the page, built anew when a source changes, over invented data that
// follows the contract. node dev.mjs [PORT] [--empty] (default a free port, printed). --empty serves no data at all.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { build } from "./build.mjs";
import { api } from "./mock/api.mjs";
import { invent } from "./mock/data.mjs";
import { prom } from "./mock/prom.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const TYPES = { js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml", html: "text/html; charset=utf-8" };

// Serves until close() is called. Resolves to { url, close }.
export async function serve({ port = 0, empty = false, watch = false } = {}) {
  const dist = mkdtempSync(join(tmpdir(), "sonde-web-"));
  const newest = () => Math.max(...readdirSync(join(here, "src")).map((f) => statSync(join(here, "src", f)).mtimeMs));
  let built = newest();
  await build(dist, { minify: !watch });
  const csp = readFileSync(join(here, "csp.txt"), "utf8").trim();
  const all = empty ? [] : invent();
  const apis = [api(all), prom(all)];
  const server = createServer(async (req, res) => {
    const url = new URL(req.url, "http://x");
    const reply = (status, body, type, more = {}) => {
      res.writeHead(status, { "content-type": type, "x-content-type-options": "nosniff", ...more });
      res.end(body);
    };
    try {
      const a = apis.reduce((got, ask) => got ?? ask(url, req.headers), null);
      if (a) return reply(...a, { "cache-control": "no-store" });
      if (url.pathname === "/") return reply(302, "", "text/plain", { location: "/ui/" });
      if (!url.pathname.startsWith("/ui")) return reply(404, "not found\n", "text/plain; charset=utf-8");
      if (watch && newest() > built) {
        built = newest();
        await build(dist, { minify: false });
      }
      const name = url.pathname.slice(4);
      const file = /^[\w.-]+\.(js|css|svg)$/.test(name) ? name : "index.html";
      return reply(200, readFileSync(join(dist, file)), TYPES[file.split(".").at(-1)], { "content-security-policy": csp, "cache-control": file === "index.html" ? "no-cache" : "public, max-age=31536000, immutable" });
    } catch (e) {
      return reply(500, `${e.stack}\n`, "text/plain; charset=utf-8");
    }
  });
  await new Promise((ok) => server.listen(port, "127.0.0.1", ok));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => new Promise((ok) => {
      rmSync(dist, { recursive: true, force: true });
      server.closeAllConnections();
      server.close(ok);
    }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv.slice(2).find((a) => /^\d+$/.test(a)) ?? 0);
  const s = await serve({ port, empty: process.argv.includes("--empty"), watch: true });
  console.log(`${s.url}/ui/`);
}
