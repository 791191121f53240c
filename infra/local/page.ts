/**
 * The inbox in the browser: what was delivered, as text and as it came, and a form that writes to
 * the API like anybody else.
 *
 * Rule guarded here: mail is anybody's text. Nothing of it reaches the page unescaped, its HTML is
 * never rendered, and a policy forbids the page everything that it has not brought along.
 */
import { readFile } from "node:fs/promises";
import { FAULTS } from "./faults.ts";
import type { Answer } from "./gateway.ts";
import { type DeliveredMessage, type Inbox, parseMessage } from "./inbox.ts";
import { examples } from "./page/examples.ts";
import { SMALL_MAILBOX } from "./stack.ts";

/** Of a long session, the newest. */
const MOST_SHOWN = 50;
const MOST_SOURCE_BYTES = 64 * 1024;
const FILES: Readonly<Record<string, string>> = {
  "/page.css": "text/css; charset=utf-8",
  "/page.js": "text/javascript; charset=utf-8",
};
const SAFETY = {
  "content-security-policy": [
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'",
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** Markup that was put together here; any other text is escaped when it is put into some. */
class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Content = Markup | string | number | readonly Markup[];

function html(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  const parts = values.map((value, index) => `${strings[index]}${rendered(value)}`);
  return new Markup(`${parts.join("")}${strings[values.length]}`);
}

function rendered(value: Content): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("\n");
  return String(value).replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}

/** Undefined where there is nothing at this path. */
export async function answerPage(
  inbox: Inbox,
  path: string,
  origin: string,
): Promise<Answer | undefined> {
  const type = FILES[path];
  if (type !== undefined) {
    const body = await readFile(new URL(`page${path}`, import.meta.url));
    return { status: 200, headers: { ...SAFETY, "content-type": type }, body };
  }
  if (path === "/") {
    const headers = { ...SAFETY, "content-type": "text/html; charset=utf-8" };
    const body = (await whole(inbox, origin)).text;
    return { status: 200, headers, body };
  }
  if (path === "/favicon.ico") return { status: 204, headers: SAFETY, body: "" };
  const [, queueId = ""] = /^\/inbox\/([0-9A-F]{1,32})\.eml$/.exec(path) ?? [];
  const message = inbox.find(queueId);
  if (message === undefined) return undefined;
  const headers = {
    ...SAFETY,
    "content-type": "message/rfc822",
    "content-disposition": `attachment; filename="${queueId}.eml"`,
  };
  return { status: 200, headers, body: message.raw };
}

async function whole(inbox: Inbox, origin: string): Promise<Markup> {
  const newest = inbox.messages.slice(-MOST_SHOWN).reverse();
  const shown = await Promise.all(newest.map(article));
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>posthaste: local inbox</title>
<link rel="stylesheet" href="/page.css">
<script type="module" src="/page.js"></script>
</head>
<body>
<header>
<h1>posthaste</h1>
<p>The local stack: nothing that is sent here leaves this machine.</p>
</header>
<main>
<section aria-labelledby="compose-title">
<h2 id="compose-title">Send a message</h2>
<noscript><p>The form needs JavaScript; the lines below do the same in a shell.</p></noscript>
<form id="compose">
<label for="to">To (several with commas between)</label>
<input id="to" name="to" required value="lilei@example.net" autocomplete="off">
<label for="subject">Subject</label>
<input id="subject" name="subject" value="我是标题" autocomplete="off">
<label for="text">Text</label>
<textarea id="text" name="text" rows="5">你好！</textarea>
<label class="choice"><input type="checkbox" name="later"> by the queue (202)</label>
<button type="submit">Send</button>
</form>
<p id="outcome" role="status"></p>
<ol id="conversation" aria-label="Conversation" tabindex="0" hidden></ol>
</section>
<section id="inbox" aria-labelledby="inbox-title">
<h2 id="inbox-title">Inbox: ${inbox.messages.length} delivered</h2>
${shown.length === 0 ? html`<p>Nothing yet.</p>` : shown}
</section>
<section aria-labelledby="faults-title">
<h2 id="faults-title">Recipients that go wrong</h2>
<p>At any domain. Requests with <code>"mailbox": "${SMALL_MAILBOX}"</code> may have no more than
10,000 octets.</p>
<table>
<thead><tr><th scope="col">To</th><th scope="col">The server</th><th scope="col">Status</th></tr></thead>
<tbody>
${FAULTS.map(
  ({ recipient, does, status }) =>
    html`<tr><td><code>${recipient}@example.com</code></td><td>${does}</td><td>${status}</td></tr>`,
)}
</tbody>
</table>
</section>
<section aria-labelledby="shell-title">
<h2 id="shell-title">In a shell</h2>
${examples(origin).map(
  ({ status, why, line }) =>
    html`<h3>${status}: ${why}</h3><pre tabindex="0"><code>${line}</code></pre>`,
)}
</section>
</main>
</body>
</html>
`;
}

/** The same message is asked for each time the page is, and never changes. */
const articles = new WeakMap<DeliveredMessage, Promise<Markup>>();

function article(message: DeliveredMessage): Promise<Markup> {
  const known = articles.get(message) ?? render(message);
  articles.set(message, known);
  return known;
}

async function render(message: DeliveredMessage): Promise<Markup> {
  const { queueId, receivedAt, from, to, raw } = message;
  // Whoever sends `raw` may send what no parser makes sense of.
  const parsed = await parseMessage(message).catch(() => undefined);
  const { subject = "(no subject)", text = "" } = parsed ?? {};
  const files = (parsed?.attachments ?? []).map(({ filename }) => filename ?? "(no name)");
  const source = raw.subarray(0, MOST_SOURCE_BYTES).toString("utf8");
  const rest = raw.length - MOST_SOURCE_BYTES;
  return html`<article aria-labelledby="m-${queueId}">
<h3 id="m-${queueId}">${subject}</h3>
<dl>
<dt>From</dt><dd>${from === "" ? "<>" : from}</dd>
<dt>To</dt><dd>${to.join(", ")}</dd>
<dt>Received</dt><dd><time datetime="${receivedAt.toISOString()}">${receivedAt.toISOString()}</time>
as ${queueId}</dd>
${files.length > 0 ? html`<dt>Attachments</dt><dd>${files.join(", ")}</dd>` : ""}
</dl>
<pre tabindex="0" aria-label="Text">${text}</pre>
<details><summary>Source, ${raw.length} octets</summary>
<pre tabindex="0" aria-label="Source">${source}${rest > 0 ? `\n… ${rest} more octets` : ""}</pre>
<p><a href="/inbox/${queueId}.eml" download>Download</a></p></details>
</article>`;
}
