/** The page in real Chromium, against the whole stack: write, send, watch, read, break. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { FAULTS } from "../../infra/local/faults.ts";
import { chromiumAvailable } from "./available.ts";
import { type Lab, pick, send, startLab } from "./lab.ts";

vi.setConfig({ testTimeout: 90_000 });

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

describe.runIf(chromiumAvailable())("the page", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await startLab();
  });
  afterAll(() => lab.close());

  const heading = (page: Page) => page.locator("#outcome-title").innerText();
  const http = (page: Page) => page.locator(".banner .status").first().innerText();

  it("sends what is written and shows the conversation", async () => {
    const page = await lab.open();
    await page.locator("#to").fill('"Li, Lei" <lilei@example.net>, b@example.com');
    await page.locator("#bcc").fill("secret@example.com");
    await page.locator("#subject").fill("from the page");
    await page.locator("summary", { hasText: "Attachments" }).click();
    const file = { name: "价格 list.csv", mimeType: "text/csv", buffer: Buffer.from("a,b\r\n") };
    await page.locator("#files").setInputFiles(file);
    await page.locator("#attachments li").waitFor();
    await send(page);

    expect(await heading(page)).toBe("Accepted");
    expect(await http(page)).toBe("HTTP 200");
    const addresses = await page.locator(".recipients .address").allInnerTexts();
    expect(addresses).toEqual(["lilei@example.net", "b@example.com", "secret@example.com"]);

    // What is drawn is what the result says, line by line and in order.
    const body = JSON.parse((await page.locator("#answer pre").textContent()) ?? "") as {
      transcript: { from: string; text: string }[];
      timing: { totalMs: number; roundTrips: number };
      queueId: string;
    };
    const drawn = await page.locator(".sequence .line").allTextContents();
    expect(drawn).toEqual(body.transcript.map(({ from, text }) => `${from}: ${text}`));
    expect(drawn).toContain("C: AUTH PLAIN ***");
    const flights = await page.evaluate(
      "[...document.querySelectorAll('.flight.from-C .said')].map((each) => each.children.length)",
    );
    // EHLO; AUTH with MAIL, three RCPT and DATA; content, dot and QUIT.
    expect(flights).toEqual([1, 6, 3]);
    const figures = await page.locator(".figures div").allInnerTexts();
    expect(figures).toContain(`Round trips\n${body.timing.roundTrips}`);
    expect(figures).toContain(`Total\n${body.timing.totalMs.toFixed(1)} ms`);

    await page.locator('input[value="list"]').check();
    expect(await page.locator(".lines li").count()).toBe(body.transcript.length);
    await page.getByRole("button", { name: "Copy as dialogue" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const copied = await page.evaluate("navigator.clipboard.readText()");
    expect(copied).toBe(body.transcript.map(({ from, text }) => `${from}: ${text}\n`).join(""));

    await page.getByRole("link", { name: "Open in the inbox" }).click();
    expect(await page.locator("#message-title").innerText()).toBe("from the page");
    expect(await page.locator("#message .facts").innerText()).toContain(body.queueId);
    const downloading = page.waitForEvent("download");
    await page.getByRole("link", { name: "价格 list.csv" }).click();
    const download = await downloading;
    expect(download.suggestedFilename()).toBe("价格 list.csv");
    const octets: Buffer[] = [];
    for await (const chunk of await download.createReadStream()) octets.push(chunk);
    expect(Buffer.concat(octets).toString()).toBe("a,b\r\n");
    await page.locator("label", { hasText: "Source" }).click();
    expect(await page.locator(".body pre").innerText()).toContain("Subject: from the page");
  });

  it("keeps form, JSON and curl in step, and what the form has no field for", async () => {
    const page = await lab.open();
    const json = page.locator("#json");
    await page.locator("label", { hasText: "JSON" }).first().click();
    const request = {
      to: [{ name: "李雷", address: "lilei@example.net" }],
      subject: "it's quoted",
      text: "Hello",
      headers: { "X-Campaign": "42" },
    };
    await json.fill(JSON.stringify(request));
    await page.locator("label", { hasText: "Form" }).click();
    expect(await page.locator("#to").inputValue()).toBe("李雷 <lilei@example.net>");
    await page.locator("#cc").fill("c@example.com");
    await page.locator("label", { hasText: "JSON" }).first().click();
    expect(JSON.parse(await json.inputValue())).toEqual({ ...request, cc: "c@example.com" });
    await page.locator("label", { hasText: "curl" }).click();
    const curl = await page.locator("#curl").inputValue();
    expect(curl).toContain(`curl -i ${lab.origin}/messages`);
    expect(curl).toContain(String.raw`it'\''s quoted`);
    await send(page);
    expect(await heading(page)).toBe("Accepted");
    const { messages } = (await (await fetch(`${lab.origin}/inbox`)).json()) as {
      messages: { queueId: string; to: string[] }[];
    };
    expect(messages[0]?.to).toEqual(["lilei@example.net", "c@example.com"]);
    const source = await fetch(`${lab.origin}/inbox/${messages[0]?.queueId}.eml`);
    expect(await source.text()).toContain("X-Campaign: 42\r\n");

    // What is no request is sent as it stands, and judged by the API.
    await page.locator("label", { hasText: "JSON" }).first().click();
    await json.fill('{"to": "nobody", "colour": "red"}');
    await send(page);
    expect(await http(page)).toBe("HTTP 400");
    expect(await page.locator(".issues code").allInnerTexts()).toEqual(["to", "colour"]);
    await json.fill("{");
    expect(await page.locator("#json-note").innerText()).toContain("not JSON");
    await send(page);
    expect(await http(page)).toBe("HTTP 400");
    expect(await heading(page)).toBe("Not sent");
  });

  it("sends by the queue, and looks until it is settled", async () => {
    const page = await lab.open();
    await page.locator("#later").check();
    await page.locator("summary", { hasText: "Options" }).click();
    await page.locator("#idempotencyKey").fill("by-the-queue");
    const first = page.waitForResponse((response) => response.url().endsWith("/messages"));
    await page.locator("#submit").click();
    expect((await first).status()).toBe(202);
    await page.locator(".banner.is-accepted").waitFor();
    const state = (await (await fetch(`${lab.origin}/messages/by-the-queue`)).json()) as object;
    expect(JSON.parse((await page.locator("#answer pre").textContent()) ?? "")).toEqual(state);
    expect(state).toMatchObject({ state: "settled", result: { outcome: "accepted" } });
  });

  it("sees at once what others send", async () => {
    const page = await lab.open({}, "/#inbox");
    await page.locator("#messages li").first().waitFor();
    await lab.post({ to: "a@example.com", subject: "from elsewhere", text: "hello" });
    await page.locator("#messages a", { hasText: "from elsewhere" }).waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    await page.getByText("Nothing has been delivered yet.").waitFor();
    expect(await page.locator("#count").innerText()).toBe("0");
  });

  it("lets mail do nothing", async () => {
    const calls: string[] = [];
    const elsewhere = createServer((request, response) => {
      calls.push(request.url ?? "");
      response.end();
    }).listen(0, "127.0.0.1");
    await once(elsewhere, "listening");
    const spy = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    const html = `<script>parent.document.title = "owned"</script><p id="said"><b>bold</b></p>
      <img src="cid:pixel"><img src="${spy}/track"><img src="/inbox" onerror="alert(1)">
      <link rel="stylesheet" href="${spy}/style"><form action="/messages"><button>go</button></form>`;
    const attachments = [
      { filename: "p.png", contentType: "image/png", content: PIXEL, contentId: "pixel" },
    ];
    const subject = "<img src=x onerror=alert(1)>";
    const answer = await lab.post({ to: "a@example.com", subject, html, attachments });
    const { queueId } = (await answer.json()) as { queueId: string };
    const page = await lab.open({}, `/#inbox/${queueId}`);
    const answered: string[] = [];
    page.on("response", (response) => answered.push(response.url()));
    page.on("dialog", (dialog) => void dialog.dismiss().then(() => answered.push("a dialog")));
    const before = lab.complaints.length;
    await page.locator("label", { hasText: "HTML" }).click();
    const frame = page.frameLocator("iframe");
    expect(await frame.locator("#said b").innerText()).toBe("bold");
    expect(await frame.locator("img").first().getAttribute("src")).toMatch(/^data:image\/png;/);
    await frame.locator("button").click();
    expect(await page.title()).toBe("posthaste · local stack");
    expect(await page.locator("#message-title").innerText()).toBe(subject);
    const loaded = answered.filter((url) => !url.startsWith("data:"));
    expect(loaded).toEqual([`${lab.origin}/inbox/${queueId}/html`]);
    expect(calls).toEqual([]);
    elsewhere.close();
    // Chromium says what it refused; that is the mail's doing and not the page's.
    for (const line of lab.forgive(before)) {
      expect(line).toMatch(
        /^(Blocked|Loading the .* violates|a request to http:\S+\/(track|style))/,
      );
    }
  });

  describe("a fault that is picked", () => {
    const outcomes: Readonly<Record<string, string>> = {
      ...{ 413: "Rejected", 422: "Rejected", 502: "Deferred", 503: "Deferred", 504: "Uncertain" },
    };
    it.each(FAULTS.map(({ id, status }) => [id, status] as const))("%s: %i", async (id, status) => {
      const page = await lab.open();
      await pick(page, id);
      await send(page);
      expect(await http(page)).toBe(`HTTP ${status}`);
      const fine = id === "partial" ? "Partly accepted" : "Accepted";
      expect(await heading(page)).toBe(outcomes[status] ?? fine);
      expect(await page.locator(".next p").first().innerText()).not.toContain(
        "Read the reply and the message above",
      );
      // Nothing again: the request is as it was before.
      await pick(page, "none");
      expect(await page.locator("#to").inputValue()).toBe("李雷 <lilei@example.net>");
      expect(await page.locator("#mailbox").inputValue()).toBe("");
      await page.context().close();
    });

    it("greylist: accepted when it is sent again", async () => {
      const page = await lab.open();
      // Whether a test before this one was the stranger does not matter: one of the two is.
      await pick(page, "greylist");
      await send(page);
      if ((await heading(page)) === "Accepted") await send(page);
      expect(await heading(page)).toBe("Deferred");
      await page.locator("#again").click();
      await page.locator(".banner.is-accepted").waitFor();
      const attempts = await page.locator(".attempts button").allInnerTexts();
      expect(attempts.slice(-2)).toEqual(["503 Deferred", "200 Accepted"]);
    });

    it("wrong password: accepted once the secret is mended", async () => {
      const page = await lab.open();
      await pick(page, "wrong-password");
      await send(page);
      expect(await page.locator(".banner code").innerText()).toBe("auth_failed");
      await page.locator("#mend").click();
      await page
        .getByText("The secret now holds the new password.")
        .first()
        .waitFor({ state: "attached" });
      // The function keeps a secret for a second.
      await expect
        .poll(
          async () => {
            await page
              .locator("#again")
              .click()
              .catch(() => {});
            await page.locator(".banner").waitFor();
            return heading(page);
          },
          { timeout: 20_000, interval: 1_000 },
        )
        .toBe("Accepted");
      expect(await page.content()).not.toContain("p@ss");
    });

    it("lost: the message is in the inbox all the same", async () => {
      const page = await lab.open();
      await page.locator("#subject").fill("lost and found");
      await pick(page, "lost");
      await send(page);
      await page.getByText("no reply came").waitFor();
      await page.locator('nav a[data-view="inbox"]').click();
      await page.locator("#messages a", { hasText: "lost and found" }).first().waitFor();
    });
  });

  it("remembers theme and language", async () => {
    const page = await lab.open();
    await page.locator("#theme").selectOption("dark");
    await page.locator("#language").selectOption("zh");
    expect(await page.locator("html").getAttribute("lang")).toBe("zh-CN");
    await page.reload();
    await page.waitForSelector("html[data-ready]");
    expect(await page.locator("html").getAttribute("lang")).toBe("zh-CN");
    expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");
    expect(await page.locator("#compose-title").innerText()).toBe("邮件");
    expect(await page.title()).toBe("posthaste · 本地环境");
    await send(page);
    expect(await heading(page)).toBe("已接收");
    await page.locator("#language").selectOption("en");
    expect(await heading(page)).toBe("Accepted");
  });

  it("complained of nothing, and asked nobody else", () => {
    expect(lab.complaints).toEqual([]);
  });
});
