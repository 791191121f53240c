/** `posthaste check`: asks each relay of a mailbox, sends nothing, and says what to mend. */
import type { Command } from "commander";
import type { CheckResult } from "../submission/check.ts";
import type { MailboxSource } from "./direct.ts";
import { EXIT, Stop } from "./exit.ts";
import type { Finding } from "./finding.ts";
import { addWays, collect, examples, type WayOptions, wayOf } from "./source.ts";
import { mark, paint, say, sayJson, visible } from "./terminal.ts";

const WAYS = ["mailboxFile", "secret", "function"] as const;
/** For each relay, in seconds: a person waits. */
const RELAY_SECONDS = 30;

interface Options extends WayOptions {
  readonly mailbox?: string;
  readonly from?: string;
  readonly resolver?: readonly string[];
  readonly dns: boolean;
  readonly json?: true;
  readonly verbose?: true;
}

interface Checked {
  readonly relay: string;
  readonly result: CheckResult;
  readonly findings: readonly Finding[];
}

export function checkCommand(root: Command): void {
  const command = root
    .command("check")
    .summary("ask each relay what it can do, and what to mend; sends nothing")
    .description(
      "Connect to each relay of a mailbox and explain it: TLS, certificate, what it can do, whether " +
        "the login works, and what SPF, DKIM and DMARC of the From domain say. Nothing is sent.",
    );
  addWays(command, WAYS)
    .option("-m, --mailbox <name>", "named mailbox of the deployment, with --function")
    .option("--from <address>", "the sender to ask DNS about (default: the mailbox's)")
    .option(
      "--resolver <address>",
      "DNS server, address or address:port; may be repeated (default: $POSTHASTE_RESOLVER, or the system's)",
      collect,
    )
    .option("--no-dns", "do not look at SPF, DKIM and DMARC")
    .option("-v, --verbose", "also the conversation")
    .option("--json", "print what was found as JSON, and nothing else")
    .addHelpText(
      "after",
      examples(
        "check --mailbox-file mailbox.json",
        "check --mailbox-file mailbox.json --no-dns --json",
        "check --secret posthaste/dev/default --resolver 9.9.9.9",
        "check --function posthaste-dev-check --from shop@example.com",
      ),
    )
    .action(async (options: Options) => {
      process.exitCode = await check(options);
    });
}

async function check(options: Options): Promise<number> {
  const way = wayOf(options, WAYS);
  if (way.by === "http") throw new Stop(EXIT.usage, "check does not go over HTTP.");
  const { relays, sender } =
    way.by === "direct" ? await fromHere(way.source, options) : await byFunction(way.name, options);
  const todo = [...relays.flatMap(({ findings }) => findings), ...sender].flatMap(
    ({ fix }) => fix ?? [],
  );
  const ok = todo.length === 0 && relays.every(({ result }) => result.ok);
  if (options.json) sayJson({ ok, relays, sender, todo: [...new Set(todo)] });
  else await print(relays, sender, [...new Set(todo)], options);
  const failed = relays.flatMap(({ result }) => result.error?.code ?? []);
  if (failed.length > 0) return failed.every((code) => LATER.has(code)) ? EXIT.later : EXIT.act;
  return ok ? EXIT.ok : EXIT.differs;
}

/** Of these nobody need do anything but wait. */
const LATER: ReadonlySet<string> = new Set([
  ...["dns_failed", "connect_failed", "connection_lost", "timeout", "auth_deferred"],
  ...["mailbox_unavailable", "aborted"],
]);

async function byFunction(name: string, { mailbox, from, resolver, dns }: Options) {
  const { invoke } = await import("./aws.ts");
  const { relayFindings } = await import("./relay-report.ts");
  const result = (await invoke(name, mailbox === undefined ? {} : { mailbox })) as CheckResult;
  const { server } = result;
  const relay = server === null ? name : `${server.host}:${server.port}`;
  const findings = relayFindings(result, { now: Date.now() });
  const asked = dns && from !== undefined && server !== null;
  const sender = asked ? await senderOf(from, [server.host], [], resolver) : [];
  return { relays: [{ relay, result, findings }], sender };
}

async function fromHere(source: MailboxSource, options: Options) {
  const { directPorts, limitsOf, secretsOf } = await import("./direct.ts");
  const { nameOf } = await import("./deliver.ts");
  const { checkMailbox, certificateOf } = await import("../submission/check.ts");
  const { relayFindings } = await import("./relay-report.ts");
  const id = nameOf(source);
  const ports = directPorts(await secretsOf(source), id);
  const mailbox = await loaded(() => ports.mailboxes.load(id));
  const limits = limitsOf(RELAY_SECONDS * mailbox.endpoints.length);
  const relays: Checked[] = [];
  let refused = false;
  for (const endpoint of mailbox.endpoints) {
    const alone = { ...mailbox, endpoints: [endpoint] };
    // A password that was refused once is not tried at the next relay: accounts get locked.
    const bare = { ...alone, username: undefined, password: undefined, oauth2: undefined };
    const asked = refused ? { ...bare, fingerprint: `${mailbox.fingerprint} bare` } : alone;
    const timed = { ...limits, timeLeft: () => Math.min(limits.timeLeft(), RELAY_SECONDS * 1000) };
    const result = await checkMailbox(ports, id, asked, timed);
    const turnedDown = result.error?.code === "certificate_invalid" && mailbox.proxy === undefined;
    const presented = turnedDown
      ? await (await import("./presented.ts")).presentedCertificate(
          endpoint,
          mailbox.tls.servername,
        )
      : undefined;
    const findings = relayFindings(result, {
      now: Date.now(),
      username: mailbox.username,
      ...(presented && { presented: certificateOf(presented) ?? undefined }),
      ...(refused && { withoutLogin: "login not tried: it was refused above" }),
    });
    relays.push({
      relay: `${endpoint.host}:${endpoint.port}, ${endpoint.security}`,
      result,
      findings,
    });
    refused ||= result.login === "refused";
  }
  const from = options.from ?? mailbox.from?.address;
  const hosts = mailbox.endpoints.map(({ host }) => host);
  const sender =
    options.dns && from !== undefined
      ? await senderOf(from, hosts, mailbox.dkim, options.resolver)
      : [];
  return { relays, sender };
}

type Dkim = import("./sender-report.ts").SenderQuestion["dkim"];

async function senderOf(from: string, relays: string[], dkim: Dkim, resolvers?: readonly string[]) {
  const { POSTHASTE_RESOLVER: usual } = process.env;
  const { senderFindings } = await import("./sender-report.ts");
  try {
    return await senderFindings({
      from,
      relays,
      dkim,
      resolvers: resolvers ?? (usual ? [usual] : undefined),
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_INVALID_IP_ADDRESS") throw error;
    throw new Stop(EXIT.usage, "--resolver must be an IP address, or address:port.");
  }
}

/** @throws Stop for a mailbox that cannot be had or used */
export async function loaded<T>(load: () => Promise<T>): Promise<T> {
  const { MailboxError } = await import("../submission/mailbox.ts");
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof MailboxError)) throw error;
    throw new Stop(error.retryable ? EXIT.later : EXIT.act, `${error.message} (${error.code})`);
  }
}

async function print(
  relays: readonly Checked[],
  sender: readonly Finding[],
  todo: readonly string[],
  { verbose }: Options,
): Promise<void> {
  for (const { relay, result, findings } of relays) {
    say(paint("bold", visible(relay)));
    printFindings(findings);
    if (verbose) (await import("./conversation.ts")).printConversation(result.transcript);
    say();
  }
  if (sender.length > 0) {
    say(paint("bold", "the sender's domain"));
    printFindings(sender);
    say();
  }
  if (todo.length === 0) return say(paint("green", "Nothing to mend."));
  say(paint("bold", "to mend"));
  for (const [index, text] of todo.entries()) say(`  ${index + 1}. ${visible(text)}`);
}

function printFindings(findings: readonly Finding[]): void {
  for (const { kind, text } of findings) say(`  ${mark(kind)} ${visible(text)}`);
}
