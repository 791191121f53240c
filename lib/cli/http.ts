/**
 * The HTTP API, as a caller has it: signed with the AWS SDK's own credentials (SigV4), or with a
 * bearer token for an API that asks for one ($POSTHASTE_TOKEN); the local stack asks for nothing.
 */
import { SignatureV4 } from "@smithy/signature-v4";
import { EXIT, Stop } from "./exit.ts";

export interface HttpCall {
  readonly method: "GET" | "POST";
  /** Below the API's address: `/messages`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  /** Parsed; null where it is no JSON. */
  readonly body: unknown;
}

/** The connection broke after the request had left: what became of it is not known. */
export class AnswerLost extends Error {
  override readonly name = "AnswerLost";
}

/**
 * @param base the API's address, with or without a stage or `/messages` behind it
 * @throws Stop where nothing was sent
 * @throws AnswerLost
 */
export async function callApi(base: string, call: HttpCall): Promise<HttpAnswer> {
  const url = addressOf(base, call);
  const headers = await headersFor(url, call);
  try {
    const answer = await fetch(url, { method: call.method, headers, body: call.body ?? null });
    return { status: answer.status, body: parsed(await answer.text()) };
  } catch (error) {
    const cause = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    // fetch turns ports down that belong to other protocols, without a code.
    const { code = cause.message === "bad port" ? "ECONNREFUSED" : "no answer" } = cause;
    const where = `${url.protocol}//${url.host}`;
    if (UNSENT.test(code)) throw new Stop(EXIT.unavailable, `${where} is not reached (${code}).`);
    throw new AnswerLost(`No answer came from ${where} (${code}).`);
  }
}

/** Of these errors the request has not left. */
const UNSENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|CERT_.*|ERR_TLS_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|UNABLE_TO_.*)$/;

function addressOf(base: string, { path, query = {} }: HttpCall): URL {
  let url: URL;
  try {
    url = new URL(base);
  } catch {
    throw new Stop(EXIT.usage, "--url must be a URL such as https://….amazonaws.com.");
  }
  if (url.protocol !== "https:" && !isLoopback(url)) {
    throw new Stop(
      EXIT.usage,
      "--url must begin with https://: mail would cross the network in clear.",
    );
  }
  url.pathname = `${url.pathname.replace(/(\/messages)?\/*$/, "")}${path}`;
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

async function headersFor(url: URL, call: HttpCall): Promise<Record<string, string>> {
  const plain = {
    accept: "application/json, application/problem+json",
    ...(call.body !== undefined && { "content-type": "application/json" }),
  };
  const { POSTHASTE_TOKEN: token } = process.env;
  if (token) return { ...plain, authorization: `Bearer ${token}` };
  if (isLoopback(url)) return plain;
  return signed(url, call, plain);
}

/** @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html */
export async function signed(
  url: URL,
  { method, body }: Pick<HttpCall, "method" | "body">,
  headers: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const { lambdaClient } = await import("./aws.ts");
  const { config } = await lambdaClient();
  // `….execute-api.eu-central-1.amazonaws.com`, `….lambda-url.eu-central-1.on.aws`
  const [, kind, region] = /\.(execute-api|lambda-url)\.([a-z0-9-]+)\./.exec(url.hostname) ?? [];
  const signer = new SignatureV4({
    service: kind === "lambda-url" ? "lambda" : "execute-api",
    region: region ?? config.region,
    credentials: config.credentials,
    sha256: config.sha256,
  });
  const request = {
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    ...(url.port !== "" && { port: Number(url.port) }),
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: { ...headers, host: url.host },
    ...(body !== undefined && { body }),
  };
  const { host: _, ...rest } = (await signer.sign(request)).headers;
  return rest;
}

function isLoopback({ hostname }: URL): boolean {
  return /^(127(\.\d+){3}|localhost|\[::1\])$/.test(hostname);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** RFC 9457, or API Gateway's own `{"message": …}`. */
interface Problem {
  readonly code?: string;
  readonly detail?: string;
  readonly title?: string;
  readonly message?: string;
  readonly issues?: readonly { readonly path: string; readonly message: string }[];
  readonly result?: unknown;
}

export function problemOf({ body }: HttpAnswer): Problem {
  return typeof body === "object" && body !== null ? (body as Problem) : {};
}

/** What no code of ours explains: what stands in front of the function has answered. */
export function explainStatus(status: number, base: string): string {
  const at = `${status} from ${base}`;
  if (status === 401 || status === 403) {
    return `${at}: not allowed. The caller needs execute-api:Invoke on the API, in the right region and account.`;
  }
  if (status === 404)
    return `${at}: there is no such API. The stack's output HttpApiUrl has its address.`;
  if (status === 413) return `${at}: the message is too large for the API. Put attachments in S3.`;
  if (status === 429) return `${at}: too many requests. Try again later.`;
  return `${at}: no answer of the function's. See its log.`;
}
