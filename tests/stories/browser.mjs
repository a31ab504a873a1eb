// A person at a chat page: deep-chat in a real Chromium, one question for each line on standard input,
// one line with what the page then shows on standard output.
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const bundle = fileURLToPath(import.meta.resolve("deep-chat/dist/deepChat.bundle.js"));
// Of deep-chat's connections that speak OpenAI's chat completions, xAI's is the strict one: it takes a
// chunk for a chunk if its `object` says so. (Its OpenAI one takes anything, and now and then prints an
// error beside an answer that came all at once, whoever sent it.)
const page = ({ url, model }) => {
  const chat = { model, system_prompt: "You are a helpful assistant." };
  return `<!doctype html>
<meta charset="utf-8">
<script type="module" src="/deepChat.bundle.js"></script>
<deep-chat
  directConnection='${JSON.stringify({ x: { key: "sk-none", chat } })}'
  connect='${JSON.stringify({ url: `${url}/v1/chat/completions`, stream: true })}'></deep-chat>`;
};

async function ask(browser, { question, ...settings }) {
  const tab = await browser.newPage();
  // The page comes from the API's own address, as behind one web server, so that no CORS is needed.
  // Whatever else it asks for (a font) is on no machine that a test may reach.
  await tab.route("**/*", (route) => {
    const { origin, pathname } = new URL(route.request().url());
    if (origin !== settings.url) return route.abort();
    if (pathname === "/chat.html")
      return route.fulfill({ contentType: "text/html", body: page(settings) });
    if (pathname === "/deepChat.bundle.js")
      return route.fulfill({ contentType: "text/javascript", path: bundle });
    return route.continue();
  });
  await tab.goto(`${settings.url}/chat.html`);
  await tab.locator("#text-input").fill(question);
  const asked = tab.waitForRequest((request) => request.method() === "POST");
  await tab.keyboard.press("Enter");
  const request = (await asked).postDataJSON();
  // Its button is idle again when it takes the answer for complete, or gave up on it.
  await tab.locator(".input-button.disabled-button").waitFor();
  const shown = (selector) => tab.locator(`#messages ${selector}`).allInnerTexts();
  const answer = (await shown(".ai-message-text:not(.error-message-text)")).join("").trim();
  const error = (await shown(".error-message-text")).join("").trim();
  await tab.close();
  return { request, answer, error };
}

const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
for await (const line of createInterface({ input: process.stdin })) {
  const outcome = await ask(browser, JSON.parse(line)).catch((error) => ({ failed: String(error) }));
  console.log(JSON.stringify(outcome));
}
await browser.close();
