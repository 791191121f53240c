/**
 * What another function imports to send mail through this one, by Lambda Invoke. A call resolves to
 * the result for every outcome; it rejects only where there is none, and says whether the message may
 * have been sent all the same.
 */
import { randomUUID } from "node:crypto";
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import type { MailRequestInput } from "../message/schema.ts";
import type { Result } from "../submission/outcome.ts";

export type { MailRequestInput as MailRequest } from "../message/schema.ts";
export type { Outcome, RecipientResult, Result } from "../submission/outcome.ts";

export interface MailerOptions {
  /** Name or ARN of the `invoke` function. */
  readonly functionName: string;
  /**
   * Whether the function keeps a ledger (LEDGER_TABLE). Only then may a call whose answer was lost be
   * repeated: without one the message would be sent twice. Default: false.
   */
  readonly ledger?: boolean;
  /**
   * For tests and special regions; without a ledger it repeats nothing here, however it is set.
   * Default: one made from the environment.
   */
  readonly client?: LambdaClient;
}

export interface Mailer {
  /**
   * Send one message and wait for the result.
   * @throws MailerError where no result came
   */
  sendMail(request: MailRequestInput): Promise<Result>;
  /**
   * Hand one message over and return at once (`Event`); what is deferred goes by the queue. Lambda takes
   * 1 MB here, and hands request and result over together: keep a message below some 900 KB.
   * @returns the id under which the message can be asked for
   * @throws MailerError where Lambda did not take it
   */
  sendMailLater(request: MailRequestInput): Promise<{ readonly id: string }>;
}

/** Why there is no result. */
export class MailerError extends Error {
  override readonly name = "MailerError";
  /**
   * `not_invoked`: Lambda refused or was not reached, nothing was sent. `function_failed`: it ran and
   * ended without a result. `answer_lost`: no answer came.
   */
  readonly code: "not_invoked" | "function_failed" | "answer_lost";
  /** Whether the message may have been sent all the same. */
  readonly uncertain: boolean;
  /** The idempotency key of the call: repeat it with this one. */
  readonly id: string;

  constructor(code: MailerError["code"], id: string, message: string, uncertain: boolean) {
    super(message);
    this.code = code;
    this.id = id;
    this.uncertain = uncertain;
  }
}

/** Stands in the place of the SDK's own retries, and makes none. */
const ONCE = {
  name: "retryMiddleware",
  step: "finalizeRequest",
  priority: "high",
  override: true,
} as const;

/** @param options `ledger: true` lets the SDK repeat a call whose answer was lost */
export function createMailer({ functionName, ledger = false, client }: MailerOptions): Mailer {
  const lambda = client ?? new LambdaClient({ maxAttempts: ledger ? 3 : 1 });
  const invoke = async (request: MailRequestInput, type: "RequestResponse" | "Event") => {
    // One key a call: the SDK's own repetitions carry it too.
    const id = request.idempotencyKey ?? randomUUID();
    const payload = JSON.stringify({ ...request, idempotencyKey: id });
    try {
      const command = new InvokeCommand({
        FunctionName: functionName,
        InvocationType: type,
        Payload: new TextEncoder().encode(payload),
      });
      if (!ledger) command.middlewareStack.add((next) => next, ONCE);
      return { id, answer: await lambda.send(command) };
    } catch (error) {
      throw refused(error as InvokeError, id);
    }
  };
  return {
    async sendMail(request) {
      const { id, answer } = await invoke(request, "RequestResponse");
      const text = new TextDecoder().decode(answer.Payload);
      if (answer.FunctionError !== undefined) {
        // The payload is the function's stack: it is for its log, not for its callers.
        throw new MailerError(
          "function_failed",
          id,
          `The function failed (${answer.FunctionError}).`,
          true,
        );
      }
      const result = resultIn(text);
      if (result !== undefined) return result;
      // Another function of that name, or a handler of another version.
      throw new MailerError("function_failed", id, "What it answered is no result.", true);
    },
    async sendMailLater(request) {
      const { id } = await invoke(request, "Event");
      return { id };
    },
  };
}

function resultIn(text: string): Result | undefined {
  try {
    const value = JSON.parse(text) as Result | null;
    return typeof value?.outcome === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What the SDK and the socket throw. */
type InvokeError = Error & { code?: string; $metadata?: { httpStatusCode?: number } };

/** The request has not left: nobody was there to take it. */
const UNREACHED = /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;

function refused(error: InvokeError, id: string): MailerError {
  const status = error.$metadata?.httpStatusCode;
  // A 4xx is Lambda's own word before it ran anything.
  const judged = status !== undefined && status >= 400 && status < 500;
  if (judged || UNREACHED.test(error.code ?? "")) {
    const why = judged ? error.name : error.code;
    return new MailerError("not_invoked", id, `Lambda did not run the function (${why}).`, false);
  }
  return new MailerError("answer_lost", id, `No answer came from Lambda (${error.name}).`, true);
}
