/** One request by one of three ways. Each ends in a result, or in a Stop where nothing was sent. */
import { randomUUID } from "node:crypto";
import type { MailRequestInput } from "../message/schema.ts";
import { type Result, unsent } from "../submission/outcome.ts";
import { submit } from "../submission/submit.ts";
import { directPorts, limitsOf, type MailboxSource, secretsOf } from "./direct.ts";
import { EXIT, Stop } from "./exit.ts";
import { AnswerLost, callApi, explainStatus, problemOf } from "./http.ts";
import { Progress } from "./progress.ts";
import type { Way } from "./source.ts";

/** @param seconds the longest that a direct send may take */
export async function deliverBy(
  way: Way,
  request: MailRequestInput,
  seconds: number,
): Promise<Result> {
  switch (way.by) {
    case "direct":
      return fromHere(way.source, request, seconds);
    case "function":
      return throughFunction(way.name, request);
    case "http":
      return overHttp(way.url, request);
  }
}

async function fromHere(source: MailboxSource, request: MailRequestInput, seconds: number) {
  const secrets = await secretsOf(source);
  const ports = directPorts(secrets, nameOf(source), new Progress());
  // The mailbox is the one that was given: a request made for a deployment may name another.
  const { mailbox: _, ...input } = request;
  return submit(ports, { input, id: randomUUID(), date: new Date() }, limitsOf(seconds));
}

export function nameOf(source: MailboxSource): string {
  return source.is === "secret" ? source.id : "mailbox file";
}

async function throughFunction(functionName: string, request: MailRequestInput): Promise<Result> {
  const { lambdaClient, MOST_PAYLOAD_BYTES } = await import("./aws.ts");
  const { createMailer, MailerError } = await import("../client/mailer.ts");
  const idempotencyKey = request.idempotencyKey ?? randomUUID();
  if (Buffer.byteLength(JSON.stringify(request)) > MOST_PAYLOAD_BYTES - 1000) {
    const message = `AWS takes ${MOST_PAYLOAD_BYTES} octets of request, base64 included.`;
    return unsent(idempotencyKey, "rejected", {
      code: "request_too_large",
      phase: "request",
      message,
    });
  }
  const client = await lambdaClient();
  try {
    const mailer = createMailer({ functionName, client });
    return await mailer.sendMail({ ...request, idempotencyKey });
  } catch (error) {
    if (!(error instanceof MailerError)) throw error;
    const told = { code: error.code, phase: "invoke", message: error.message };
    const result = unsent(error.id, "deferred", told, { retryable: false });
    return error.uncertain ? { ...result, outcome: "uncertain" } : result;
  } finally {
    client.destroy();
  }
}

async function overHttp(url: string, request: MailRequestInput): Promise<Result> {
  const id = request.idempotencyKey ?? randomUUID();
  const body = JSON.stringify({ ...request, idempotencyKey: id });
  try {
    const answer = await callApi(url, { method: "POST", path: "/messages", body });
    const problem = problemOf(answer);
    const result = answer.status === 200 ? answer.body : problem.result;
    if (isResult(result)) return result;
    if (problem.code === undefined)
      throw new Stop(EXIT.unavailable, explainStatus(answer.status, url));
    const { code, detail, title = "", issues } = problem;
    const outcome = answer.status < 500 ? "rejected" : "deferred";
    const error = { code, phase: "request", message: detail ?? title, ...(issues && { issues }) };
    return unsent(id, outcome, error, { retryable: answer.status === 503 });
  } catch (error) {
    if (!(error instanceof AnswerLost)) throw error;
    const told = { code: "answer_lost", phase: "http", message: error.message };
    return { ...unsent(id, "deferred", told), outcome: "uncertain" };
  }
}

export function isResult(value: unknown): value is Result {
  return typeof value === "object" && value !== null && "outcome" in value && "transcript" in value;
}
