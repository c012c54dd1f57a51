// The tests of the page, in a real browser: node tests/browser/run.mjs [URL] [--request ID] [--failed ID]
// URL: a running server (http://127.0.0.1:3100). ID: a request that it holds, with three processes (default demo-42 or
// $SONDE_REQUEST), and one that failed (or $SONDE_FAILED_REQUEST). Without a URL the page over invented data (web/dev.mjs)
// stands in; the tests of mock.test.mjs always use that.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "../../web/dev.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const args = process.argv.slice(2);
const option = (name, fallback) => {
  const at = args.indexOf(name);
  return at >= 0 ? args.splice(at, 2)[1] : fallback;
};
const mock = await serve(), empty = await serve({ empty: true });
const env = {
  ...process.env,
  SONDE_REQUEST: option("--request", process.env.SONDE_REQUEST ?? "demo-42"),
  SONDE_FAILED_REQUEST: option("--failed", process.env.SONDE_FAILED_REQUEST ?? ""),
  SONDE_TEST_MOCK_URL: mock.url, SONDE_TEST_EMPTY_URL: empty.url,
};
env.SONDE_TEST_URL = (args[0] ?? mock.url).replace(/\/+$/, "");
if (!args[0]) env.SONDE_FAILED_REQUEST ||= "demo-fail";
const child = spawn(process.execPath, ["--test", "--test-reporter=spec", join(here, "units.test.mjs"), join(here, "any.test.mjs"), join(here, "mock.test.mjs")], { env, stdio: ["ignore", "pipe", "inherit"] });
// the closing counts as every version of Node writes them for a pipe: "# pass 12"
child.stdout.setEncoding("utf8").on("data", (t) => process.stdout.write(t.replace(/^ℹ /gm, "# ")));
const code = await new Promise((ok) => child.on("close", (c) => ok(c ?? 1)));
await Promise.all([mock.close(), empty.close()]);
process.exit(code);
