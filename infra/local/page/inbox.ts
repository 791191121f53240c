/**
 * The inbox: what was delivered, live, and one message of it.
 *
 * Rule guarded here: mail is anybody's text. It is shown as text; its HTML only in a frame without
 * rights, from an address whose own policy lets it load nothing.
 */
import { choice, element, find } from "./dom.ts";
import { t } from "./language.ts";
import type { Details, Summary } from "./types.ts";

type View = "text" | "html" | "headers" | "source";

export class Inbox {
  #messages: readonly Summary[] = [];
  #open: Details | undefined;
  #view: View = "text";

  constructor() {
    find("#clear", HTMLButtonElement).addEventListener("click", async () => {
      await fetch("/inbox", { method: "DELETE" });
      location.hash = "#inbox";
    });
    // The browser connects again by itself, and is then told at once.
    new EventSource("/inbox/events").addEventListener("message", () => void this.#load());
    this.draw();
  }

  /** @param queueId none: the list alone */
  async open(queueId: string): Promise<void> {
    const response = queueId === "" ? undefined : await fetch(`/inbox/${queueId}`);
    this.#open = response?.ok ? ((await response.json()) as Details) : undefined;
    this.#view = this.#open?.text === "" && this.#open.html ? "html" : "text";
    this.draw();
    document.querySelector<HTMLElement>("#message h2")?.focus({ preventScroll: true });
    if (this.#open) find("#message", HTMLElement).scrollIntoView({ block: "nearest" });
  }

  async #load(): Promise<void> {
    const { messages, total } = (await (await fetch("/inbox")).json()) as {
      messages: readonly Summary[];
      total: number;
    };
    this.#messages = messages;
    find("#count", HTMLElement).textContent = String(total);
    const open = this.#open?.queueId;
    if (open !== undefined && !messages.some(({ queueId }) => queueId === open)) {
      this.#open = undefined;
    }
    this.#drawList();
    if (this.#open === undefined) this.#drawMessage();
  }

  draw(): void {
    this.#drawList();
    this.#drawMessage();
  }

  #drawList(): void {
    const focused = document.activeElement?.getAttribute("href");
    const rows = this.#messages.map(({ queueId, receivedAt, subject, to }) =>
      element(
        "li",
        {},
        element(
          "a",
          {
            href: `#inbox/${queueId}`,
            "aria-current": this.#open?.queueId === queueId ? "true" : undefined,
          },
          element("strong", {}, subject || t("noSubject")),
          element("time", { datetime: receivedAt }, timeOf(receivedAt)),
          element("span", {}, to.join(", ")),
        ),
      ),
    );
    find("#messages", HTMLElement).replaceChildren(
      rows.length > 0
        ? element("ul", { class: "messages", "aria-label": t("inboxList") }, ...rows)
        : empty(),
    );
    if (focused) document.querySelector<HTMLElement>(`#messages a[href="${focused}"]`)?.focus();
  }

  #drawMessage(): void {
    const target = find("#message", HTMLElement);
    const open = this.#open;
    if (open === undefined) {
      const hint = this.#messages.length > 0 && element("p", { class: "hint" }, t("inboxPick"));
      target.replaceChildren(...(hint ? [hint] : []));
      return;
    }
    const body = element("div", { class: "body" });
    const draw = (view: View): void => {
      this.#view = view;
      body.replaceChildren(bodyOf(open, view));
    };
    draw(this.#view);
    const views: (readonly [View, string])[] = [["text", t("asText")]];
    if (open.html) views.push(["html", t("asHtml")]);
    views.push(["headers", t("asHeaders")], ["source", t("asSource")]);
    target.replaceChildren(
      element(
        "article",
        { class: "card", "aria-labelledby": "message-title" },
        element("h2", { id: "message-title", tabindex: "-1" }, open.subject || t("noSubject")),
        facts(open),
        files(open),
        choice<View>({
          name: "read-as",
          label: t("readAs"),
          values: views,
          chosen: this.#view,
          choose: draw,
        }),
        body,
      ),
    );
  }
}

function facts({ from, to, receivedAt, queueId, octets }: Details): HTMLElement {
  const rows: readonly (readonly [string, string])[] = [
    [t("envelopeFrom"), from === "" ? "<>" : from],
    [t("envelopeTo"), to.join(", ")],
    [t("received"), dateOf(receivedAt)],
    [t("queueId"), queueId],
    [t("size"), t("octets", { n: octets.toLocaleString() })],
  ];
  return element(
    "dl",
    { class: "facts" },
    ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

function files({ queueId, attachments }: Details): HTMLElement | undefined {
  if (attachments.length === 0) return undefined;
  const rows = attachments.map(({ filename, contentType, octets }, index) =>
    element(
      "li",
      {},
      element(
        "a",
        { href: `/inbox/${queueId}/attachments/${index}`, download: filename || true },
        filename || t("noName"),
      ),
      ` ${contentType} · ${t("octets", { n: octets.toLocaleString() })}`,
    ),
  );
  return element("ul", { class: "files", "aria-label": t("attachments") }, ...rows);
}

function bodyOf(message: Details, view: View): HTMLElement {
  const { queueId, text, headers, source, cut } = message;
  const block = (label: string, content: string) =>
    element("pre", { tabindex: "0", role: "region", "aria-label": label }, content);
  switch (view) {
    case "text":
      return text === ""
        ? element("p", { class: "quiet-text" }, t("noText"))
        : block(t("asText"), text);
    case "html":
      return element(
        "div",
        {},
        element("p", { class: "quiet-text" }, t("htmlNote")),
        element("iframe", {
          src: `/inbox/${queueId}/html`,
          title: t("htmlFrame"),
          sandbox: true,
          referrerpolicy: "no-referrer",
        }),
      );
    case "headers":
      return element(
        "dl",
        { class: "facts headers" },
        ...headers.flatMap(({ name, value }) => [
          element("dt", {}, name),
          element("dd", {}, value),
        ]),
      );
    case "source":
      return element(
        "div",
        {},
        element(
          "a",
          { href: `/inbox/${queueId}.eml`, download: true, class: "button" },
          t("downloadSource"),
        ),
        block(t("asSource"), cut > 0 ? `${source}\n${t("sourceCut", { n: cut })}` : source),
      );
  }
}

const empty = (): HTMLElement =>
  element(
    "div",
    { class: "hint" },
    element("p", {}, t("inboxEmpty")),
    element("p", { class: "quiet-text" }, t("inboxEmptyHint")),
  );

const dateOf = (iso: string): string =>
  new Date(iso).toLocaleString(document.documentElement.lang, {
    dateStyle: "medium",
    timeStyle: "medium",
  });

const timeOf = (iso: string): string =>
  new Date(iso).toLocaleTimeString(document.documentElement.lang, { hour12: false });
