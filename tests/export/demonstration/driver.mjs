// Drives one headless browser by lines of JSON: `{"page": 1, "do": "click", "with": [...]}`.
// Answers each with a line `{"value": ...}` or `{"error": "..."}`.

import { createRequire } from "node:module";
import readline from "node:readline";

const [, , modules, executable] = process.argv;
const { chromium } = createRequire(modules)("playwright-core");
const browser = await chromium.launch({
  executablePath: executable,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
  ],
});
const pages = [];
const logs = [];

const actions = {
  async open({ url, options = {}, script = null, wait = null }) {
    const context = await browser.newContext({ reducedMotion: "reduce", ...options });
    if (options.permissions) await context.grantPermissions(options.permissions);
    const page = await context.newPage();
    const said = [];
    page.on("console", (message) => said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => said.push(`error: ${error.message}`));
    page.on("request", (request) => said.push(`request: ${request.url()}`));
    if (script) await page.addInitScript(script);
    await page.goto(url);
    if (wait) await page.waitForSelector(wait, { state: "attached", timeout: 120_000 });
    logs.push(said);
    return pages.push(page) - 1;
  },
  log: (page, _, at) => logs[at],
  close: (page) => page.context().close(),
  evaluate: (page, { code }) => page.evaluate(code),
  click: (page, { target }) => page.click(target),
  press: (page, { target, keys }) => each(keys, (key) => page.press(target, key)),
  tab: (page) => page.keyboard.press("Tab"),
  files: (page, { target, files }) => page.setInputFiles(target, files),
  until: waitFor,
  text: (page, { target }) => page.innerText(target),
  shot: (page, { path, full = true }) => page.screenshot({ path, fullPage: full }).then(() => null),
  async draw(page, { target, strokes }) {
    const box = await page.locator(target).boundingBox();
    for (const stroke of strokes) {
      const places = stroke.map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
      await page.mouse.move(...places[0]);
      await page.mouse.down();
      for (const place of places.slice(1)) await page.mouse.move(...place, { steps: 4 });
      await page.mouse.up();
    }
  },
};

// `page.waitForFunction` would evaluate strings, which the policy of the page forbids.
async function waitFor(page, { code }) {
  for (const end = Date.now() + 120_000; Date.now() < end; ) {
    if (await page.evaluate(code)) return null;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`still not so after two minutes: ${code}`);
}

async function each(items, work) {
  for (const item of items) await work(item);
}

console.log(JSON.stringify({ value: browser.version() }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { page = null, do: action, with: options = {} } = JSON.parse(line);
  try {
    const value =
      page === null ? await actions[action](options) : await actions[action](pages[page], options, page);
    console.log(JSON.stringify({ value: value ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message) }));
  }
}
await browser.close();
