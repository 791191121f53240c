/**
 * The local stack as `npm start` runs it, a process of its own, and a real browser before it.
 *
 * Rule guarded here: a page that complains has failed. What Chromium says on its console, what is
 * thrown, and every request that leaves the stack's own address is kept, and asked for at the end.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { npmStart } from "../support/npm-start.ts";
import { chromiumPath } from "./available.ts";

const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

export interface Lab {
  readonly origin: string;
  /** A page of its own, loaded and ready; each has its own storage. */
  open(options?: BrowserContextOptions, path?: string): Promise<Page>;
  /** Over HTTP, as any caller. */
  post(message: unknown): Promise<Response>;
  /** What any page complained of so far, and requests to elsewhere. */
  readonly complaints: readonly string[];
  /** Takes those since there were so many, for a test that causes them. */
  forgive(since: number): readonly string[];
  close(): Promise<void>;
}

export async function startLab(): Promise<Lab> {
  const stack = await npmStart();
  const { origin } = stack;
  const profile = mkdtempSync(join(tmpdir(), "posthaste-browser-"));
  const complaints: string[] = [];
  const contexts: BrowserContext[] = [];
  const browser = await chromium.launch({
    executablePath: chromiumPath,
    args: FLAGS,
    // Chromium writes beside its profile, too.
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
  });
  return {
    origin,
    complaints,
    forgive: (since) => complaints.splice(since),
    open: async (options = {}, path = "/") => {
      const context = await browser.newContext({
        ...{ viewport: { width: 1280, height: 900 }, locale: "en-GB", timezoneId: "UTC" },
        ...options,
      });
      contexts.push(context);
      await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
      const page = await context.newPage();
      listen(page, origin, complaints);
      await page.goto(`${origin}${path}`);
      await page.waitForSelector("html[data-ready]");
      return page;
    },
    post: (message) =>
      fetch(`${origin}/messages`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(message),
      }),
    close: async () => {
      await Promise.all(contexts.map((context) => context.close()));
      await browser.close();
      rmSync(profile, { recursive: true, force: true });
      await stack.stop();
    },
  };
}

function listen(page: Page, origin: string, complaints: string[]): void {
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    // The browser says so of every status that is no success; the page is there to show them.
    const expected = /^Failed to load resource: the server responded with a status of/;
    const api = new URL(message.location().url || origin).pathname.startsWith("/messages");
    if (!(api && expected.test(message.text()))) complaints.push(message.text());
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !/^(data|blob|about):/.test(url)) {
      complaints.push(`a request to ${url}`);
    }
  });
}

/** Presses Send and waits for the answer that follows. */
export async function send(page: Page): Promise<void> {
  const answered = page.waitForResponse((response) => response.url().endsWith("/messages"), {
    timeout: 30_000,
  });
  await page.locator("#submit").click();
  await answered;
  await page.locator(".banner").waitFor();
}

export const pick = (page: Page, fault: string): Promise<void> =>
  page.locator(`input[name="fault"][value="${fault}"]`).check();
