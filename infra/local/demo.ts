/**
 * `npm run demo`: one message through the built handler, on loopback, and all that was said.
 *
 * Rule guarded here: the demo runs what is deployed. It imports `dist/invoke.mjs`, and reaches it
 * as Lambda does: by its environment, an event and a context. The result comes last on standard
 * output, alone, so that a program can read it.
 */
import { readFile } from "node:fs/promises";
import { lambdaContext } from "./context.ts";
import { type DeliveredMessage, parseMessage } from "./inbox.ts";
import { enter, type Stack, startStack } from "./stack.ts";

interface Result {
  readonly outcome: string;
  readonly queueId?: string | null;
  readonly error?: { readonly message?: string };
  readonly transcript?: readonly {
    readonly at: number;
    readonly from: "S" | "C";
    readonly text: string;
  }[];
}

interface Handler {
  readonly handler: (event: unknown, context: unknown) => Promise<Result>;
}

const EVENT = new URL("events/invoke.json", import.meta.url);
const BUILT = new URL("../../dist/invoke.mjs", import.meta.url);

async function main(stack: Stack): Promise<void> {
  enter(stack);
  const event: unknown = JSON.parse(await readFile(EVENT, "utf8"));
  const { handler } = (await import(BUILT.href)) as Handler;
  const result = await handler(event, lambdaContext("posthaste-local-invoke", 60));

  for (const { at, from, text } of result.transcript ?? []) {
    console.log(`${at.toFixed(1).padStart(8)} ms  ${from}: ${text}`);
  }
  const message = stack.mail.inbox.messages.at(-1);
  console.log(`\n${message === undefined ? "nothing was delivered" : await describe(message)}\n`);
  console.log(JSON.stringify(result, null, 2));

  if (result.outcome !== "accepted") {
    throw new Error(`the outcome is "${result.outcome}": ${result.error?.message ?? "no reason"}`);
  }
  if (message === undefined || message.queueId !== result.queueId) {
    throw new Error("the result says accepted, but the server does not hold that message");
  }
}

async function describe(message: DeliveredMessage): Promise<string> {
  const { subject, attachments } = await parseMessage(message);
  const files = attachments.map(({ filename }) => filename ?? "(no name)").join(", ");
  const parts = [`"${subject ?? ""}"`, `to ${message.to.join(", ")}`, `with ${files}`];
  return `delivered: ${parts.join(" ")}, ${message.raw.length} octets`;
}

const stack = await startStack({ domains: ["example.com", "example.net"] });
try {
  await main(stack);
} catch (error) {
  console.error(`The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  // Once nothing listens the process ends by itself: a handler that left a socket open would show.
  await stack.close();
}
