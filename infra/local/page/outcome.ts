/**
 * What became of a message: the outcome in words, what to do next, each recipient, the conversation
 * and the answer as it came.
 */
import { conversationOf, dialogueOf } from "./conversation.ts";
import { drawDiagram, drawList } from "./diagram.ts";
import { choice, copyButton, element } from "./dom.ts";
import { type Key, known, t } from "./language.ts";
import type { Answer } from "./send.ts";
import type { Result } from "./types.ts";

type View = "diagram" | "list";
/** Kept from one message to the next. */
let view: View = "diagram";

export interface Actions {
  readonly again: () => void;
  readonly mend: () => void;
}

export function outcomeOf({ status, result }: Answer): string {
  if (result !== undefined && (result.server !== null || status !== 400)) return result.outcome;
  return status === 202 || status === 200 ? "queued" : "problem";
}

export function drawOutcome(answer: Answer, actions: Actions): readonly HTMLElement[] {
  const { result } = answer;
  const parts = [banner(answer, actions)];
  if (result !== undefined && result.recipients.length > 0) parts.push(recipients(result));
  if (result !== undefined) parts.push(conversation(result));
  parts.push(whole(answer));
  return parts;
}

function banner(answer: Answer, actions: Actions): HTMLElement {
  const { status, result, code, detail, pending } = answer;
  const outcome = outcomeOf(answer);
  const retry = result?.outcome === "deferred" && t(result.retryable ? "retry_yes" : "retry_no");
  const kind = result?.outcome === "accepted" || outcome === "queued" || outcome === "partial";
  // Of a verdict on the message 4xx and 5xx have the same code, and ask for different things.
  const later =
    outcome === "deferred" && /^(sender|recipient|data|content)_refused$/.test(code ?? "");
  const advice = later
    ? "advice_later"
    : (known(`advice_${kind ? outcome : code}`) ?? "advice_unknown");
  return element(
    "section",
    { class: `card banner is-${outcome}`, "aria-labelledby": "outcome-title" },
    element(
      "div",
      { class: "head" },
      element("h3", { id: "outcome-title" }, t(`outcome_${outcome}` as Key)),
      element("span", { class: "status" }, `HTTP ${status}`),
      code !== undefined && element("code", { class: "status" }, code),
    ),
    element("p", {}, [t(`means_${outcome}` as Key), retry].filter(Boolean).join(t("between"))),
    detail !== undefined && element("p", { class: "detail", lang: "en" }, detail),
    problems(answer),
    element(
      "div",
      { class: "next" },
      element("h4", {}, t("next")),
      element("p", {}, t(advice)),
      pending && result !== undefined && element("p", {}, t("queueFollows")),
      buttons(answer, actions),
    ),
    result !== undefined && result.server !== null && figures(result),
  );
}

function problems({ result, body }: Answer): HTMLElement | undefined {
  const issues = result?.error?.issues ?? body["issues"];
  if (!Array.isArray(issues) || issues.length === 0) return undefined;
  const rows = issues.map(({ path, message }) =>
    element("li", { lang: "en" }, element("code", {}, String(path)), ` ${message}`),
  );
  return element("ul", { class: "issues", "aria-label": t("issues") }, ...rows);
}

function buttons(answer: Answer, { again, mend }: Actions): HTMLElement {
  const { result, code, pending } = answer;
  const row = element("div", { class: "buttons" });
  if (result?.queueId !== undefined) {
    row.append(element("a", { class: "button", href: `#inbox/${result.queueId}` }, t("openInbox")));
  }
  if (code === "auth_failed") {
    row.append(element("button", { type: "button", id: "mend", onclick: mend }, t("mend")));
  }
  const unsure = result?.outcome === "uncertain";
  if (!pending && (unsure || result?.outcome === "deferred")) {
    const label = t(unsure ? "againAnyway" : "again");
    row.append(element("button", { type: "button", id: "again", onclick: again }, label));
  }
  return row;
}

function figures(result: Result): HTMLElement {
  const { timing, server, queueId, transcript } = result;
  const writes = conversationOf(result).flights.filter(({ from }) => from === "C").length;
  const rows: readonly (readonly [Key, string | undefined])[] = [
    ["total", t("milliseconds", { n: timing.totalMs.toFixed(1) })],
    ["roundTrips", String(timing.roundTrips)],
    ["writes", transcript.length > 0 ? String(writes) : undefined],
    ["queueId", queueId],
    [
      "server",
      server === null
        ? undefined
        : `${server.host}:${server.port} · ${server.tls?.protocol ?? t("noTls")}`,
    ],
    ["login", server?.auth ?? undefined],
  ];
  return element(
    "dl",
    { class: "figures" },
    ...rows
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) =>
        element("div", {}, element("dt", {}, t(key)), element("dd", {}, value)),
      ),
  );
}

function recipients({ recipients: all, notes = [] }: Result): HTMLElement {
  const rows = all.map(({ address, outcome, reply }) =>
    element(
      "li",
      {},
      element("span", { class: "address" }, address),
      element("span", { class: `tag is-${outcome}` }, t(`outcome_${outcome}`)),
      element("code", {}, reply === null ? t("noReply") : `${reply.code} ${reply.text}`),
    ),
  );
  return element(
    "section",
    { class: "card", "aria-labelledby": "recipients-title" },
    element("h3", { id: "recipients-title" }, t("recipients")),
    element("ul", { class: "recipients" }, ...rows),
    ...notes.map((note) => element("p", { class: "quiet-text", lang: "en" }, note)),
  );
}

function conversation(result: Result): HTMLElement {
  const body = element("div");
  const draw = (chosen: View): void => {
    view = chosen;
    body.replaceChildren(view === "diagram" ? drawDiagram(result) : drawList(result));
  };
  draw(view);
  const values: readonly (readonly [View, string])[] = [
    ["diagram", t("asDiagram")],
    ["list", t("asList")],
  ];
  return element(
    "section",
    { class: "card", "aria-labelledby": "conversation-title", id: "conversation" },
    element(
      "div",
      { class: "head" },
      element("h3", { id: "conversation-title" }, t("conversation")),
      copyButton(t("copyDialogue"), t("copied"), () => dialogueOf(result.transcript)),
      choice<View>({
        name: "conversation-as",
        label: t("conversationAs"),
        values,
        chosen: view,
        choose: draw,
      }),
    ),
    body,
  );
}

function whole({ body }: Answer): HTMLElement {
  const text = JSON.stringify(body, null, 2);
  return element(
    "details",
    { class: "card", id: "answer" },
    element("summary", {}, t("answer")),
    copyButton(t("copy"), t("copied"), () => text),
    element(
      "pre",
      { class: "code", tabindex: "0", role: "region", "aria-label": t("answer") },
      text,
    ),
  );
}
