/**
 * The page for everybody: by keyboard alone, by axe-core in both themes and languages, on a narrow
 * screen.
 */
import axe from "axe-core";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { chromiumAvailable } from "./available.ts";
import { type Lab, pick, send, startLab } from "./lab.ts";

// Many looks at a page, each short.
vi.setConfig({ testTimeout: 180_000 });

/** What has the focus: enough to know it again, and whether anybody can see that it has it. */
const FOCUSED = `(() => {
  const at = document.activeElement;
  if (at === null || at === document.body) return null;
  at.dataset.reached = "";
  const ring = (element) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  };
  const box = at.getBoundingClientRect();
  return {
    name: at.id || at.name || at.textContent.trim().slice(0, 40),
    ring: ring(at) || [...(at.labels ?? [])].some(ring),
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
  };
})()`;

/** Whatever can be operated and was not reached; of radio buttons, a group is one stop. */
const MISSED = `[...document.querySelectorAll("a[href], button, input, select, textarea, summary, iframe, [tabindex='0']")]
  .filter((element) => element.checkVisibility() && element.tabIndex >= 0 && !("reached" in element.dataset))
  .filter((element) => element.type !== "radio" || element.checked)
  .map((element) => element.outerHTML.slice(0, 120))`;

interface Stop {
  readonly name: string;
  readonly ring: boolean;
  readonly seen: boolean;
}

async function stops(page: Page): Promise<readonly Stop[]> {
  const found: Stop[] = [];
  for (let presses = 0; presses < 150; presses += 1) {
    await page.keyboard.press("Tab");
    const at = (await page.evaluate(FOCUSED)) as Stop | null;
    // After the last one the focus is the browser's own.
    if (at === null) return found;
    found.push(at);
  }
  return found;
}

async function violations(page: Page): Promise<readonly string[]> {
  if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe.source);
  // Mail is anybody's; the frame it is in is ours, and is looked at from without.
  const { violations: found } = (await page.evaluate(
    "axe.run(document, { iframes: false, resultTypes: ['violations'] })",
  )) as {
    violations: readonly {
      id: string;
      nodes: readonly { html: string; failureSummary: string }[];
    }[];
  };
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`),
  );
}

describe.runIf(chromiumAvailable())("the page, for everybody", () => {
  let lab: Lab;
  let queueId: string;
  beforeAll(async () => {
    lab = await startLab();
    const answer = await lab.post({
      to: "lilei@example.net",
      subject: "with everything",
      html: '<p>Hello <a href="https://example.com/">there</a></p>',
      attachments: [{ filename: "a.csv", content: "YSxi" }],
    });
    queueId = ((await answer.json()) as { queueId: string }).queueId;
  });
  afterAll(() => lab.close());

  it("can be reached and operated with a keyboard alone", async () => {
    const page = await lab.open();
    const key = (...keys: readonly string[]) =>
      keys.reduce((done, each) => done.then(() => page.keyboard.press(each)), Promise.resolve());
    const focused = () =>
      page.evaluate("document.activeElement.id || document.activeElement.value");

    // The skip link is the first stop, is seen only then, and leads to the content.
    await key("Tab");
    expect(await focused()).toBe("skip");
    await key("Enter");
    expect(await focused()).toBe("content");
    // How it is written, then what should go wrong: the second of its radio buttons.
    await key("Tab", "Tab", "ArrowDown");
    expect(await focused()).toBe("reject");
    expect(await page.locator("#to").inputValue()).toBe("reject@example.com");
    await key("Tab");
    expect(await focused()).toBe("to");
    // A field that the Tab key has reached is selected whole.
    await key("End");
    await page.keyboard.type(", keyboard@example.com");
    await key("Control+Enter");
    await page.locator(".banner.is-partial").waitFor();
    // Where one was, one still is.
    expect(await focused()).toBe("to");

    const reached = await stops(page);
    expect(reached.filter(({ ring, seen }) => !ring || !seen)).toEqual([]);
    expect(reached.map(({ name }) => name)).toContain("submit");

    // The lines are one stop; arrows move between them, and each is told whole.
    await page.locator('.sequence button[tabindex="0"]').focus();
    const whole = page.locator(".whole code");
    expect(await whole.innerText()).toMatch(/^S: 220 /);
    await key("ArrowDown");
    expect(await whole.innerText()).toMatch(/^C: EHLO /);
    await key("End");
    expect(await whole.innerText()).toMatch(/^S: 221 /);
    await key("Home", "ArrowUp");
    expect(await whole.innerText()).toMatch(/^S: 220 /);

    await page.getByRole("link", { name: "Open in the inbox" }).focus();
    await key("Enter");
    await page.locator("#message-title").waitFor();
    expect(await focused()).toBe("message-title");
  });

  it.each(["#send", "#inbox", "message", "#shell"])(
    "leaves nothing out of reach: %s",
    async (view) => {
      const page = await lab.open({}, `/${view === "message" ? `#inbox/${queueId}` : view}`);
      if (view === "#send") {
        await send(page);
        for (const each of await page.locator("summary").all()) await each.click();
      }
      // From the top, wherever the view has put the focus.
      await page.evaluate(
        "document.activeElement.blur(); getSelection().removeAllRanges(); document.querySelector('#skip').focus(); document.querySelector('#skip').dataset.reached = ''",
      );
      const reached = await stops(page);
      expect(reached.length).toBeGreaterThan(4);
      expect(reached.filter(({ ring, seen }) => !ring || !seen)).toEqual([]);
      expect(await page.evaluate(MISSED)).toEqual([]);
    },
  );

  describe.each(["light", "dark"] as const)("%s", (colorScheme) => {
    it.each(["en-GB", "zh-CN"])("axe-core finds no fault: %s", async (locale) => {
      const page = await lab.open({ colorScheme, locale });
      expect(await page.locator("html").getAttribute("lang")).toBe(
        locale === "en-GB" ? "en" : locale,
      );
      const seen: Record<string, readonly string[]> = {};
      seen["at first"] = await violations(page);
      for (const each of await page.locator("summary").all()) await each.click();
      for (const fault of ["none", "partial", "quota", "bad-certificate", "lost"]) {
        await pick(page, fault);
        await send(page);
        await page.locator("#answer summary").click();
        seen[fault] = await violations(page);
      }
      await page.locator('input[name="conversation-as"][value="list"]').check();
      seen["list"] = await violations(page);
      for (const way of ["json", "curl"]) {
        await page.locator(`input[name="compose-as"][value="${way}"]`).check();
        seen[way] = await violations(page);
      }
      await page.goto(`${lab.origin}/#inbox/${queueId}`);
      for (const way of ["text", "html", "headers", "source"]) {
        await page.locator(`input[name="read-as"][value="${way}"]`).check();
        seen[way] = await violations(page);
      }
      await page.goto(`${lab.origin}/#shell`);
      seen["shell"] = await violations(page);
      expect(Object.values(seen).flat()).toEqual([]);
      expect(Object.keys(seen)).toHaveLength(14);
    });
  });

  it("fits a narrow screen, in both languages", async () => {
    for (const locale of ["en-GB", "zh-CN"]) {
      const page = await lab.open({ locale, viewport: { width: 360, height: 740 } });
      const wide = () => page.evaluate("document.documentElement.scrollWidth");
      expect(await wide()).toBe(360);
      for (const each of await page.locator("summary").all()) await each.click();
      await pick(page, "quota");
      await send(page);
      expect(await wide()).toBe(360);
      for (const view of ["#inbox", `#inbox/${queueId}`, "#shell"]) {
        await page.goto(`${lab.origin}/${view}`);
        expect(await wide()).toBe(360);
      }
    }
  });

  it("complained of nothing, and asked nobody else", () => {
    expect(lab.complaints).toEqual([]);
  });
});
