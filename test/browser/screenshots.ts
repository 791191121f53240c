/**
 * `npm run screenshots`: the pictures of README, taken from the page as it is now.
 *
 * They are made from real sends, so ids and times differ from one run to the next.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { chromiumAvailable } from "./available.ts";
import { pick, send, startLab } from "./lab.ts";

const FOLDER = fileURLToPath(new URL("../../infra/local/screenshots/", import.meta.url));
const MOST_OCTETS = 150_000;
const HTML = `<div style="font-family: sans-serif; max-width: 34rem; line-height: 1.5">
<h1 style="font-size: 1.4rem; color: #3a4fd8">您的订单已发货 · Your order is on its way</h1>
<p>李雷，您好！订单 <b>1234</b> 已于今天发出。</p>
<p>Hello Li Lei, your order left our warehouse today. The list is attached.</p></div>`;

async function take(page: Page, name: string, of?: string): Promise<void> {
  const path = join(FOLDER, `${name}.png`);
  // Neither a caret nor a ring that happens to be there.
  await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)");
  await (of === undefined ? page : page.locator(of)).screenshot({ path, animations: "disabled" });
  const { size } = statSync(path);
  console.log(`${path}: ${Math.round(size / 1000)} KB`);
  if (size > MOST_OCTETS) throw new Error(`${name} is too large to be kept: take less of the page`);
}

async function main(): Promise<void> {
  if (!chromiumAvailable()) return;
  const lab = await startLab();
  try {
    // The first send starts the function; it is not what most sends look like.
    await lab.post({ to: "first@example.com", subject: "Warm-up", text: "…" });

    const page = await lab.open({ viewport: { width: 1160, height: 820 } });
    await page.locator("#to").fill("李雷 <lilei@example.net>, hanmeimei@example.net");
    await page.locator("#subject").fill("您的订单已发货 · Your order is on its way");
    await page.locator("summary", { hasText: "HTML" }).click();
    await page.locator("#html").fill(HTML);
    await page.locator("summary", { hasText: "HTML" }).click();
    await page.locator("summary", { hasText: "Attachments" }).click();
    const list = Buffer.from("商品,数量\r\n茶,2\r\n");
    await page
      .locator("#files")
      .setInputFiles({ name: "订单明细.csv", mimeType: "text/csv", buffer: list });
    await page.locator("#attachments li").waitFor();
    await page.locator("summary", { hasText: "Attachments" }).click();
    await send(page);
    await take(page, "compose");
    // All of it on one screen, so that nothing has to stick to its edge.
    await page.setViewportSize({ width: 1160, height: 1900 });
    await page.locator(".line", { hasText: "MAIL FROM" }).dispatchEvent("pointerover");
    await take(page, "conversation", "#conversation");

    const inbox = await lab.open({ viewport: { width: 1160, height: 640 } }, "/#inbox");
    await inbox.locator("#messages a").first().click();
    await inbox.locator('input[value="html"]').check();
    await inbox.frameLocator("iframe").locator("h1").waitFor();
    await take(inbox, "inbox");

    const fault = await lab.open({
      ...{ viewport: { width: 1160, height: 620 }, colorScheme: "dark", locale: "zh-CN" },
    });
    await pick(fault, "greylist");
    await send(fault);
    await take(fault, "fault");
  } finally {
    await lab.close();
  }
}

await main();
