/**
 * The conversation drawn: two lifelines, a ruler, and between the flights gaps as long as the time
 * they took.
 *
 * Rule guarded here: the drawing is to scale where it shows time, and every line of it can be read
 * whole with a pointer and with a keyboard.
 */
import {
  type Band,
  type Conversation,
  conversationOf,
  type Flight,
  type Line,
  PHASES,
  stepOf,
} from "./conversation.ts";
import { element } from "./dom.ts";
import { type Key, known, t } from "./language.ts";
import type { Result } from "./types.ts";

/** All gaps together, in pixels, and what the shortest is given so as to be seen. */
const ALL_GAPS = 240;
const LEAST_GAP = 10;
const ROOM_FOR_LABEL = 16;

export function drawDiagram(result: Result): HTMLElement {
  const conversation = conversationOf(result);
  return element(
    "div",
    { class: "conversation" },
    timeBar(conversation),
    conversation.flights.length === 0
      ? element("p", { class: "quiet-text" }, t("noConversation"))
      : sequence(conversation),
  );
}

/** For whoever listens, and to copy from. */
export function drawList({ transcript }: Result): HTMLElement {
  const rows = transcript.map(({ at, from, text }) =>
    element(
      "li",
      {},
      element("span", { class: "at" }, t("milliseconds", { n: at.toFixed(1) })),
      element("span", { class: `who from-${from}` }, `${from}:`),
      element("span", { class: "said" }, text),
    ),
  );
  if (rows.length === 0) return element("p", { class: "quiet-text" }, t("noConversation"));
  return element("ol", { class: "lines", "aria-label": t("conversation") }, ...rows);
}

function timeBar({ bands, endsAt }: Conversation): HTMLElement {
  const bar = element("div", { class: "bar", "aria-hidden": "true" });
  for (const band of bands) {
    const part = element("span", { class: `phase-${band.phase}` });
    part.style.flexGrow = String(Math.max(band.to - band.from, endsAt / 400));
    bar.append(part);
  }
  const axis = element("div", { class: "axis", "aria-hidden": "true" });
  const step = stepOf(endsAt, 6);
  for (let at = 0; at <= endsAt; at += step) {
    const tick = element("span", {}, tidy(at));
    tick.style.left = `${endsAt === 0 ? 0 : (at / endsAt) * 100}%`;
    // The last one would stand out of the page.
    if (at > endsAt * 0.94) tick.classList.add("end");
    axis.append(tick);
  }
  const sums = PHASES.map((phase) => {
    const own = bands.filter((band) => band.phase === phase);
    return { phase, took: own.reduce((sum, { from, to }) => sum + to - from, 0) };
  });
  const legend = sums
    .filter(({ took }) => took > 0)
    .map(({ phase, took }) =>
      element(
        "li",
        {},
        element("i", { class: `swatch phase-${phase}` }),
        t(`phase_${phase}`),
        " ",
        element("b", {}, t("milliseconds", { n: took.toFixed(1) })),
      ),
    );
  const list = element("ul", { class: "legend", "aria-label": t("time") }, ...legend);
  return element("div", { class: "time" }, bar, axis, list);
}

function sequence({ flights, bands, endsAt, unanswered }: Conversation): HTMLElement {
  const whole = element("div", { class: "whole" }, t("lineHint"));
  const group = element("div", {
    class: "sequence",
    role: "group",
    "aria-label": `${t("conversation")}. ${t("diagramHelp")}`,
  });
  const scale = ALL_GAPS / Math.max(endsAt, 0.1);
  const step = stepOf(endsAt, 8);
  let reached = 0;
  for (const flight of flights) {
    group.append(gap({ from: reached, to: flight.begins, bands, scale, step }));
    group.append(drawFlight(flight));
    reached = flight.ends;
  }
  if (endsAt - reached > 0.05) group.append(gap({ from: reached, to: endsAt, bands, scale, step }));
  if (unanswered) {
    const silence = element("span", { class: "block" }, t("silence"));
    group.append(element("div", { class: "flight silence" }, silence));
  }
  reading(group, flights, whole);
  return element(
    "div",
    {},
    element(
      "div",
      { class: "ends", "aria-hidden": "true" },
      element("span", { class: "ms" }, "ms"),
      element("span", {}, t("client"), " ", element("small", {}, t("clientNote"))),
      element("span", {}, t("serverSide")),
    ),
    group,
    whole,
  );
}

/** The time in which nobody spoke, as long as it took; the phases it belongs to are its colours. */
function gap(options: {
  readonly from: number;
  readonly to: number;
  readonly bands: readonly Band[];
  readonly scale: number;
  readonly step: number;
}): HTMLElement {
  const { from, to, bands, scale, step } = options;
  const height = Math.max((to - from) * scale, LEAST_GAP);
  const drawn = element("div", { class: "gap", "aria-hidden": "true" });
  drawn.style.height = `${height}px`;
  const per = height / Math.max(to - from, 0.001);
  for (const band of bands) {
    const begins = Math.max(band.from, from);
    const ends = Math.min(band.to, to);
    if (ends <= begins) continue;
    const room = (ends - begins) * per;
    const part = element("span", { class: `part phase-${band.phase}` });
    part.style.top = `${(begins - from) * per}px`;
    part.style.height = `${room}px`;
    drawn.append(part);
    if (room < ROOM_FOR_LABEL) continue;
    const took = t("milliseconds", { n: (ends - begins).toFixed(1) });
    const label = element("span", { class: "took" }, `${t(`phase_${band.phase}`)} · ${took}`);
    label.style.top = `${(begins - from) * per + room / 2}px`;
    drawn.append(label);
  }
  // Where less than its room would be left for a number, none is written.
  if (height > ROOM_FOR_LABEL) {
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const tick = element("span", { class: "tick" }, tidy(at));
      tick.style.top = `${(at - from) * per}px`;
      const far = (at - from) * per > 4 && (to - at) * per > 8;
      if (far) drawn.append(tick);
    }
  }
  return drawn;
}

function drawFlight({ from, lines, begins }: Flight): HTMLElement {
  const note =
    from === "C"
      ? t(lines.length > 1 ? "oneWrite" : "oneLine", { n: lines.length })
      : lines.length > 1 && t("replies", { n: lines.length });
  const shown = lines.map((line) => {
    const said = element("code", {}, line.text);
    const who = element("span", { class: "unseen" }, `${from}: `);
    return element(
      "button",
      { type: "button", tabindex: "-1", class: `line is-${verdict(line)}` },
      who,
      said,
    );
  });
  return element(
    "div",
    { class: `flight from-${from}` },
    element("span", { class: "when", "aria-hidden": "true" }, begins.toFixed(1)),
    element(
      "div",
      { class: "block" },
      note && element("span", { class: "grouped" }, note),
      element("div", { class: "said" }, ...shown),
      element("span", { class: "arrow", "aria-hidden": "true" }),
    ),
  );
}

/** One stop of the Tab key for all lines; arrows go on from there. */
function reading(group: HTMLElement, flights: readonly Flight[], whole: HTMLElement): void {
  const lines = flights.flatMap((flight) => flight.lines);
  const buttons = [...group.querySelectorAll("button")];
  if (buttons[0]) buttons[0].tabIndex = 0;
  const tell = (target: EventTarget | null): void => {
    const button = target instanceof Element ? target.closest("button") : null;
    const line = lines[buttons.indexOf(button as HTMLButtonElement)];
    if (button === null || line === undefined) return;
    for (const each of buttons) each.classList.toggle("told", each === button);
    whole.replaceChildren(...explained(line));
  };
  group.addEventListener("pointerover", ({ target }) => tell(target));
  group.addEventListener("focusin", ({ target }) => {
    tell(target);
    for (const each of buttons) each.tabIndex = each === target ? 0 : -1;
  });
  group.addEventListener("keydown", (event) => {
    const now = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const steps: Readonly<Record<string, number>> = {
      ...{ ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: buttons.length - 1 },
    };
    const next = buttons[steps[event.key] ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
}

function explained(line: Line): readonly Node[] {
  const about = aboutOf(line);
  const at = t("lineAt", { at: line.at.toFixed(1), after: line.after.toFixed(1) });
  return [
    element("code", { class: `from-${line.from}` }, `${line.from}: ${line.text}`),
    element(
      "span",
      {},
      element("i", { class: `swatch phase-${line.phase}` }),
      [t(`phase_${line.phase}`), at, about && t(about)].filter(Boolean).join(" · "),
    ),
  ];
}

function aboutOf({ from, text, phase }: Line): Key | undefined {
  if (from === "S") return phase === "greeting" ? "about_greeting" : known(`about_${text[0]}`);
  if (text === ".") return "about_dot";
  if (text.startsWith("[")) return "about_content";
  return known(`about_${/^[A-Z]+/.exec(text)?.[0] ?? (phase === "auth" ? "AUTH" : "")}`);
}

/** A reply's class is its colour, and its number says the same. */
const verdict = ({ from, text }: Line): string => (from === "S" ? (text[0] ?? "2") : "client");

const tidy = (milliseconds: number): string => String(Math.round(milliseconds * 100) / 100);
