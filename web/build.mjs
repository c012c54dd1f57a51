// Bundles the page: node build.mjs [--out DIR] (default dist/). Every file but index.html carries its hash in its name.
// Prints sizes and fails when the gzip total passes the budget.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

export const BUDGET = 120_000; // bytes of gzip, all files together

const here = dirname(fileURLToPath(import.meta.url));

export async function build(out, { minify = true } = {}) {
  const { build: esbuild } = await import("esbuild").catch(() => {
    throw new Error("web/node_modules is missing: run scripts/setup.sh, or `npm ci` in web/");
  });
  const made = await esbuild({
    absWorkingDir: here, entryPoints: ["src/main.tsx"], bundle: true, write: false, outdir: "out", format: "esm", target: ["es2022"], minify,
    jsx: "automatic", jsxImportSource: "preact", conditions: ["production"], define: { "process.env.NODE_ENV": '"production"' },
    legalComments: "none", logLevel: "warning",
  });
  const files = new Map();
  const named = (name, bytes) => {
    const dot = name.lastIndexOf(".");
    const hashed = `${name.slice(0, dot)}.${createHash("sha256").update(bytes).digest("hex").slice(0, 10)}${name.slice(dot)}`;
    files.set(hashed, Buffer.from(bytes));
    return hashed;
  };
  const of = (ext) => made.outputFiles.find((f) => basename(f.path).endsWith(ext)).contents;
  const names = {
    js: named("app.js", of(".js")), css: named("app.css", of(".css")),
    boot: named("boot.js", readFileSync(join(here, "src/boot.js"))), icon: named("icon.svg", readFileSync(join(here, "src/icon.svg"))),
  };
  const html = readFileSync(join(here, "src/index.html"), "utf8").replace(/\{\{(\w+)\}\}/g, (_, k) => names[k]).replace(/\n(?=<)/g, "");
  files.set("index.html", Buffer.from(html));
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  let total = 0;
  const sizes = [];
  for (const [name, bytes] of files) {
    writeFileSync(join(out, name), bytes);
    const gz = gzipSync(bytes, { level: 9 }).length;
    total += gz;
    sizes.push([name, bytes.length, gz]);
  }
  return { total, sizes };
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const i = process.argv.indexOf("--out");
  const quiet = process.argv.includes("--quiet");
  try {
    const { total, sizes } = await build(i > 0 ? resolve(process.argv[i + 1]) : join(here, "dist"));
    if (!quiet) for (const [name, plain, gz] of sizes) console.log(`${name.padEnd(28)} ${String(plain).padStart(8)} B ${String(gz).padStart(8)} B gzip`);
    console.log(`web: ${(total / 1000).toFixed(1)} kB gzip of ${BUDGET / 1000} kB`);
    if (total > BUDGET) {
      console.error(`web: the page has grown past its budget of ${BUDGET} bytes gzip`);
      process.exit(1);
    }
  } catch (e) {
    console.error(`web: ${e.message}`);
    process.exit(1);
  }
}
