/**
 * The request being written, as a form, as JSON and as a line of shell.
 *
 * Rule guarded here: there is one request, and every view shows it. What the form has no field for
 * stays as the JSON has it; what the JSON holds that is no request is sent as it stands.
 */
import { choice, copyButton, element, find, show } from "./dom.ts";
import { type Key, t } from "./language.ts";
import type { FaultFact, Request } from "./types.ts";

/** Of AWS: 6 MiB of event, in which the body is escaped once more. */
const MOST_BODY = 5_500_000;
const ADDRESSES = ["to", "cc", "bcc"] as const;
const TEXTS = [
  ...(["from", "subject", "text", "html"] as const),
  ...(["mailbox", "partial", "idempotencyKey", "importance"] as const),
] as const;
/** The order in which a person would write them. */
const ORDER = ["mailbox", "from", ...ADDRESSES, "subject", "text", "html", "attachments"];

type View = "form" | "json" | "curl";

interface Attachment {
  readonly filename?: string;
  readonly content?: string;
}

export interface Sending {
  readonly body: string;
  readonly later: boolean;
}

export class Compose {
  readonly #form = find("#compose", HTMLFormElement);
  readonly #json = find("#json", HTMLTextAreaElement);
  readonly #faults: readonly FaultFact[];
  #request: Request = {
    to: "李雷 <lilei@example.net>",
    subject: "我是标题 · Hello",
    text: "你好！\nHello!\n",
  };
  /** What is in the JSON view where it is no request. */
  #unreadable: string | undefined;
  #view: View = "form";
  /** What a fault has put something else in the place of. */
  #well: Request = {};

  constructor(faults: readonly FaultFact[], send: (sending: Sending) => void) {
    this.#faults = faults;
    this.#form.addEventListener("input", (event) => {
      if (event.target === this.#json) this.#fromJson();
      else if (event.target instanceof Element && event.target.id !== "files") this.#fromForm();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(this.sending());
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    const files = find("#files", HTMLInputElement);
    files.addEventListener("change", () => void this.#attach(files));
    this.#toForm();
    this.draw();
  }

  sending(): Sending {
    const body = this.#unreadable ?? JSON.stringify(this.#request, null, 2);
    return { body, later: find("#later", HTMLInputElement).checked };
  }

  busy(is: boolean): void {
    const button = find("#submit", HTMLButtonElement);
    // Not `disabled`: that would take the focus away from whoever pressed it.
    button.setAttribute("aria-disabled", String(is));
    find("span", HTMLElement, button).textContent = t(is ? "sending" : "send");
  }

  /** All that is not in the page's HTML; again when the language changes. */
  draw(): void {
    find("#compose-as", HTMLElement).replaceChildren(
      choice<View>({
        name: "compose-as",
        label: t("composeAs"),
        values: [
          ["form", t("asForm")],
          ["json", t("asJson")],
          ["curl", t("asCurl")],
        ],
        chosen: this.#view,
        choose: (view) => this.#show(view),
      }),
    );
    find("#curl-copy", HTMLElement).replaceChildren(
      copyButton(t("copy"), t("copied"), () => this.#curl()),
    );
    this.#drawFaults();
    this.#drawAttachments();
    this.#show(this.#view);
  }

  #show(view: View): void {
    this.#view = view;
    for (const each of ["form", "json", "curl"] as const) {
      show(find(`#as-${each}`, HTMLElement), each === view);
    }
    if (view !== "json") this.#unreadable = undefined;
    if (view === "json") {
      this.#json.value = this.#unreadable ?? JSON.stringify(this.#request, null, 2);
    }
    if (view === "curl") find("#curl", HTMLTextAreaElement).value = this.#curl();
    this.#noteJson();
  }

  #curl(): string {
    const { body, later } = this.sending();
    // A single quote ends the quoting, is written escaped, and begins it again.
    const quoted = body.replaceAll("'", String.raw`'\''`);
    const prefer = later ? " \\\n  -H 'prefer: respond-async'" : "";
    return `curl -i ${location.origin}/messages \\\n  -H 'content-type: application/json'${prefer} \\\n  -d '${quoted}'`;
  }

  #noteJson(): void {
    const note = find("#json-note", HTMLElement);
    note.textContent = t(this.#unreadable === undefined ? "jsonStep" : "jsonBad");
    note.classList.toggle("problem", this.#unreadable !== undefined);
  }

  #fromJson(): void {
    this.#unreadable = this.#json.value;
    try {
      const read: unknown = JSON.parse(this.#json.value);
      if (typeof read === "object" && read !== null && !Array.isArray(read)) {
        this.#request = read as Request;
        this.#unreadable = undefined;
        this.#toForm();
      }
    } catch {
      // Said below; it can be sent as it is.
    }
    this.#noteJson();
  }

  #toForm(): void {
    for (const name of ADDRESSES) this.#field(name).value = written(this.#request[name]);
    for (const name of TEXTS) this.#field(name).value = String(this.#request[name] ?? "");
    const { notify = [] } = (this.#request["dsn"] ?? {}) as { notify?: readonly unknown[] };
    for (const box of this.#boxes("dsn")) {
      box.checked = Array.isArray(notify) && notify.includes(box.value);
    }
    for (const box of this.#boxes("requireTls")) box.checked = this.#request["requireTls"] === true;
    this.#drawAttachments();
    this.#markFault();
  }

  #fromForm(): void {
    const next: Request = { ...this.#request };
    for (const name of ADDRESSES) {
      const text = this.#field(name).value;
      // Untouched, it stays as the JSON has it: an object, or an array of one.
      if (text === written(this.#request[name])) continue;
      const list = listed(text);
      next[name] = list.length > 1 ? list : list[0];
    }
    for (const name of TEXTS) {
      const text = this.#field(name).value;
      if (text !== String(this.#request[name] ?? "")) next[name] = text === "" ? undefined : text;
    }
    const notify = this.#boxes("dsn").flatMap(({ checked, value }) => (checked ? [value] : []));
    const { notify: _, ...dsn } = (this.#request["dsn"] ?? {}) as Record<string, unknown>;
    const asked = { ...dsn, ...(notify.length > 0 && { notify }) };
    next["dsn"] = Object.keys(asked).length > 0 ? asked : undefined;
    const strict = this.#boxes("requireTls").some(({ checked }) => checked);
    if (strict !== (next["requireTls"] === true)) next["requireTls"] = strict || undefined;
    this.#request = tidy(next);
    this.#markFault();
  }

  #field(name: string): HTMLInputElement {
    // Text areas and selects have a `value`, too.
    return this.#form.elements.namedItem(name) as HTMLInputElement;
  }

  #boxes(name: string): readonly HTMLInputElement[] {
    return [...this.#form.querySelectorAll<HTMLInputElement>(`input[name="${name}"]`)];
  }

  #drawFaults(): void {
    const groups: readonly (readonly [Key, readonly FaultFact[]])[] = [
      ["faultsRecipient", this.#faults.filter(({ mailbox }) => mailbox === undefined)],
      ["faultsServer", this.#faults.filter(({ mailbox }) => mailbox !== undefined)],
    ];
    const chip = (id: string, status: number) => {
      const input = element("input", { type: "radio", name: "fault", value: id });
      input.addEventListener("change", () => this.#pick(id));
      const code = element("span", { class: `code-${Math.floor(status / 100)}` }, String(status));
      return element("label", { class: "chip" }, input, t(`fault_${id}` as Key), " ", code);
    };
    find("#faults", HTMLElement).replaceChildren(
      element(
        "fieldset",
        { "aria-describedby": "fault-does" },
        element("legend", {}, t("faults")),
        element("div", { class: "chips" }, chip("none", 200)),
        ...groups.map(([label, faults]) =>
          element(
            "div",
            { class: "chips" },
            element("span", { class: "group" }, t(label)),
            ...faults.map(({ id, status }) => chip(id, status)),
          ),
        ),
      ),
      element("p", { id: "fault-does", class: "does", role: "status" }),
    );
    this.#markFault();
  }

  #pick(id: string): void {
    const fault = this.#faults.find((each) => each.id === id);
    const { to, text, mailbox } = this.#request;
    if (this.#fault() === undefined) this.#well = { to, text, mailbox };
    else if (this.#well["to"] === undefined) this.#well = { to: "lilei@example.net", text };
    const next: Request = { ...this.#request, ...this.#well };
    if (fault?.octets !== undefined) next["text"] = "0123456789".repeat(fault.octets / 10);
    if (fault?.mailbox !== undefined) next["mailbox"] = fault.mailbox;
    else if (fault?.beside) next["to"] = [next["to"], addressOf(fault)].flat();
    else if (fault !== undefined) next["to"] = addressOf(fault);
    this.#request = tidy(next);
    this.#unreadable = undefined;
    this.#toForm();
    this.#show(this.#view);
    // The administrator changes the password at the server.
    if (id === "wrong-password") void fetch(`/faults/${id}`, { method: "POST", body: "broken" });
  }

  /** The one that the request will meet, however it was written. */
  #fault(): FaultFact | undefined {
    const to = written(this.#request["to"]).toLowerCase();
    return this.#faults.find((fault) =>
      fault.mailbox === undefined
        ? to.includes(`${fault.id}@`)
        : fault.mailbox === this.#request["mailbox"],
    );
  }

  #markFault(): void {
    const id = this.#fault()?.id ?? "none";
    for (const each of this.#boxes("fault")) each.checked = each.value === id;
    const does = document.querySelector("#fault-does");
    const text = t(`does_${id}` as Key);
    if (does !== null && does.textContent !== text) does.textContent = text;
  }

  async #attach(files: HTMLInputElement): Promise<void> {
    const problem = find("#attach-problem", HTMLElement);
    show(problem, false);
    for (const file of files.files ?? []) {
      const content = await base64(file);
      const next = [...this.#attachments(), { filename: file.name, content }];
      const request = tidy({ ...this.#request, attachments: next });
      if (JSON.stringify(request).length > MOST_BODY) {
        problem.textContent = t("tooLarge", { name: file.name });
        show(problem, true);
      } else {
        this.#request = request;
      }
    }
    files.value = "";
    this.#drawAttachments();
  }

  #attachments(): readonly Attachment[] {
    const given = this.#request["attachments"];
    return Array.isArray(given) ? given : [];
  }

  #drawAttachments(): void {
    const all = this.#attachments();
    const rows = all.map(({ filename = "", content = "" }, index) => {
      const remove = element(
        "button",
        { type: "button", class: "quiet", "aria-label": t("remove", { name: filename }) },
        "×",
      );
      remove.addEventListener("click", () => {
        const left = all.filter((_, other) => other !== index);
        this.#request = tidy({ ...this.#request, attachments: left.length > 0 ? left : undefined });
        this.#drawAttachments();
        find("#files", HTMLInputElement).focus();
      });
      const octets = Math.floor((String(content).length * 3) / 4).toLocaleString();
      return element("li", {}, filename || t("noName"), " ", t("octets", { n: octets }), remove);
    });
    find("#attachments", HTMLElement).replaceChildren(...rows);
    const count = find("#attached", HTMLElement);
    count.textContent = String(all.length);
    show(count, all.length > 0);
  }
}

const addressOf = ({ id }: FaultFact): string => `${id}@example.com`;

/** Fields in a person's order; none that are undefined. */
function tidy(request: Request): Request {
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  const fields = Object.entries(request).filter(([, value]) => value !== undefined);
  return Object.fromEntries(fields.sort(([a], [b]) => rank(a) - rank(b)));
}

function written(value: unknown): string {
  if (Array.isArray(value)) return value.map(written).join(", ");
  if (typeof value === "object" && value !== null) {
    const { name, address } = value as { name?: unknown; address?: unknown };
    return name === undefined ? String(address ?? "") : `${name} <${address}>`;
  }
  return String(value ?? "");
}

/** At commas, but for those in quotes. */
function listed(text: string): readonly string[] {
  const parts = text.match(/(?:"(?:\\.|[^"\\])*"|[^,"]|")+/g) ?? [];
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}

function base64(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error);
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.readAsDataURL(file);
  });
}
