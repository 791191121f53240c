/**
 * The page of the local stack: views by the address's hash, theme and language, and what happens
 * when Send is pressed.
 */
import { Compose, type Sending } from "./compose.ts";
import { copyButton, element, find, show } from "./dom.ts";
import { Inbox } from "./inbox.ts";
import { type Key, type Language, language, speak, t } from "./language.ts";
import { drawOutcome, outcomeOf } from "./outcome.ts";
import { type Answer, send } from "./send.ts";
import type { Facts } from "./types.ts";

const VIEWS = ["send", "inbox", "shell"] as const;
const MOST_ATTEMPTS = 12;

const facts = (await (await fetch("/page/facts")).json()) as Facts;
const outcome = find("#outcome", HTMLElement);
const status = find("#status", HTMLElement);
let attempts: readonly Answer[] = [];
let shown: Answer | undefined;
let sending = false;

speak(language());
const compose = new Compose(facts.faults, (what) => void run(what));
const inbox = new Inbox();
drawResult();
drawShell();
preferences();
addEventListener("hashchange", () => void route());
find("#skip", HTMLElement).addEventListener("click", (event) => {
  // The hash is the view's.
  event.preventDefault();
  find("#content", HTMLElement).focus();
});
await route();
document.documentElement.dataset["ready"] = "";

async function route(): Promise<void> {
  const [, name = "send", rest = ""] = /^#(\w+)(?:\/(\w+))?$/.exec(location.hash) ?? [];
  const view = VIEWS.find((each) => each === name) ?? "send";
  for (const each of VIEWS) show(find(`#view-${each}`, HTMLElement), each === view);
  for (const link of document.querySelectorAll<HTMLElement>("nav a")) {
    if (link.dataset["view"] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "inbox") await inbox.open(rest);
}

async function run(what: Sending): Promise<void> {
  if (sending) return;
  sending = true;
  compose.busy(true);
  shown = undefined;
  drawResult();
  status.textContent = t("sending");
  const { top } = find("#result", HTMLElement).getBoundingClientRect();
  // On a narrow screen it is below the form.
  if (top > innerHeight * 0.4) find("#result", HTMLElement).scrollIntoView();
  /** What comes from the queue takes its time; meanwhile another may be sent. */
  const release = (): void => {
    sending = false;
    compose.busy(false);
  };
  let own: Answer | undefined;
  try {
    for await (const answer of send(what)) {
      const before = own;
      own = answer;
      // A queued message is one attempt whose state changes; once it was deferred, the next is another.
      const same = before !== undefined && before.result === undefined;
      attempts = same
        ? attempts.map((each) => (each === before ? answer : each))
        : [...attempts, answer].slice(-MOST_ATTEMPTS);
      if (before === undefined) release();
      if (before === undefined || shown === before) shown = answer;
      drawResult();
      status.textContent = `HTTP ${answer.status}: ${t(`outcome_${outcomeOf(answer)}` as Key)}`;
    }
  } catch {
    if (own === undefined) release();
    status.textContent = t("offline");
    outcome.replaceChildren(element("p", { class: "card problem" }, t("offline")));
  }
}

function drawResult(): void {
  const chips = attempts.map((answer) => {
    const kind = outcomeOf(answer);
    const label = `${answer.status} ${t(`outcome_${kind}` as Key)}`;
    const current = answer === shown ? "true" : undefined;
    const choose = () => {
      shown = answer;
      drawResult();
      document.querySelector<HTMLElement>('#attempts [aria-current="true"]')?.focus();
    };
    const attributes = { type: "button", class: `tag is-${kind}`, "aria-current": current };
    return element("li", {}, element("button", { ...attributes, onclick: choose }, label));
  });
  const list = element("ol", { class: "attempts", "aria-label": t("attempts") }, ...chips);
  find("#attempts", HTMLElement).replaceChildren(...(chips.length > 1 ? [list] : []));
  if (shown !== undefined) {
    outcome.replaceChildren(
      ...drawOutcome(shown, { again: () => void again(), mend: () => void mend() }),
    );
    return;
  }
  const hint = element("p", {}, t(sending ? "waiting" : "empty"));
  outcome.replaceChildren(
    element("div", { class: sending ? "hint waiting" : "hint" }, ghost(), hint),
  );
}

/** What the place will look like: two sides, and lines going to and fro. */
function ghost(): HTMLElement {
  const lines = ["S", "C", "S", "C", "S"].map((from) => element("span", { class: `from-${from}` }));
  return element("div", { class: "ghost", "aria-hidden": "true" }, ...lines);
}

async function again(): Promise<void> {
  await run(compose.sending());
  find("#result-title", HTMLElement).focus();
}

async function mend(): Promise<void> {
  await fetch("/faults/wrong-password", { method: "POST", body: "mended" });
  status.textContent = t("mended");
  const button = document.querySelector("#mend");
  button?.replaceWith(element("p", { id: "mend" }, t("mended")));
  document.querySelector<HTMLElement>("#again")?.focus();
}

function drawShell(): void {
  const rows = facts.examples.map(({ id, status: code, line }) => {
    const title = `${code}: ${t(`example_${id}` as Key)}`;
    return element(
      "div",
      { class: "example" },
      element(
        "div",
        { class: "head" },
        element("h3", {}, title),
        copyButton(t("copy"), t("copied"), () => line),
      ),
      element("pre", { class: "code", tabindex: "0", role: "region", "aria-label": title }, line),
    );
  });
  find("#examples", HTMLElement).replaceChildren(...rows);
  const addresses = Object.entries(facts.addresses).flatMap(([name, value]) => [
    element("dt", {}, t(`address_${name}` as Key)),
    element("dd", {}, element("code", {}, value)),
  ]);
  find("#addresses", HTMLElement).replaceChildren(...addresses);
}

function preferences(): void {
  const theme = find("#theme", HTMLSelectElement);
  theme.value = document.documentElement.dataset["theme"] ?? "auto";
  theme.addEventListener("change", () => {
    if (theme.value === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme.value;
    remember("theme", theme.value);
  });
  const tongue = find("#language", HTMLSelectElement);
  tongue.value = language();
  tongue.addEventListener("change", () => {
    speak(tongue.value as Language);
    remember("language", tongue.value);
    compose.draw();
    compose.busy(sending);
    inbox.draw();
    drawResult();
    drawShell();
  });
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden; then nothing is remembered.
  }
}
