/**
 * The request goes to the API as any caller's; what is queued is asked about until it is settled.
 */
import type { Sending } from "./compose.ts";
import type { Result } from "./types.ts";

/** A queue gives back what is deferred after a minute at the earliest. */
const MOST_LOOKS = 240;
const LOOK_MS = 1000;

export interface Answer {
  readonly status: number;
  /** The JSON as it came. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly result: Result | undefined;
  /** `error.code` of the result, or the problem's. */
  readonly code: string | undefined;
  readonly detail: string | undefined;
  /** The queue is still at it. */
  readonly pending: boolean;
}

/** Each answer in turn: one, or with a queue all that were found. */
export async function* send({ body, later }: Sending): AsyncGenerator<Answer> {
  const response = await fetch("/messages", {
    method: "POST",
    headers: { "content-type": "application/json", ...(later && { prefer: "respond-async" }) },
    body,
  });
  const answer = answerOf(response.status, await response.json());
  yield answer;
  const location = response.headers.get("location");
  if (response.status !== 202 || location === null) return;
  let seen = JSON.stringify(answer.body);
  for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const found = await fetch(location);
    // Not in the ledger before the queue's function has begun.
    if (found.status === 404) continue;
    const state = answerOf(found.status, await found.json());
    const now = JSON.stringify(state.body);
    if (now !== seen) yield state;
    seen = now;
    if (!state.pending) return;
  }
}

function answerOf(status: number, body: Record<string, unknown>): Answer {
  const whole = isResult(body) ? body : undefined;
  const held = isResult(body["result"]) ? body["result"] : undefined;
  const result = whole ?? held;
  const state = body["state"];
  const code = result?.error?.code ?? body["code"];
  const detail = result?.error?.message ?? body["detail"] ?? body["message"];
  return {
    status,
    body,
    result,
    code: typeof code === "string" ? code : undefined,
    detail: typeof detail === "string" ? detail : undefined,
    pending: typeof state === "string" && state !== "settled",
  };
}

function isResult(value: unknown): value is Result & Record<string, unknown> {
  return typeof value === "object" && value !== null && "outcome" in value && "timing" in value;
}
