/** How the secrets of mailboxes are kept: put, get, rotate. See mailbox.ts for the rule. */
import { type SecretKeeper, secretKeeper } from "../aws/secrets-manager.ts";
import { checkMailbox } from "../submission/check.ts";
import { MailboxError, parseMailboxSecret } from "../submission/mailbox.ts";
import { SecretError } from "../submission/ports.ts";
import { adviceFor } from "./advice.ts";
import { directPorts, fixedSecret, limitsOf } from "./direct.ts";
import { EXIT, Stop } from "./exit.ts";
import { readSecretFile } from "./files.ts";
import type { KeepOptions, PutOptions } from "./mailbox.ts";
import { isRecord, maskedSecret } from "./masked.ts";
import { askPassword, readPassword } from "./prompt.ts";
import { note, sayJson, visible, warn } from "./terminal.ts";

const VERIFY_SECONDS = 60;

type Fields = Readonly<Record<string, unknown>>;

export async function put(id: string, options: PutOptions): Promise<number> {
  const keeper = secretKeeper();
  const given = await described(options);
  const before = await current(keeper, id);
  if (before !== undefined && !options.replace) {
    throw new Stop(
      EXIT.usage,
      `${id} has a value already. --replace puts this one in its place; \`rotate\` changes the password only.`,
    );
  }
  const mailbox = wantsPassword(given, options)
    ? { ...given, password: await newPassword(options) }
    : given;
  const secret = JSON.stringify(mailbox);
  await verified(secret, options);
  return stored(keeper, id, secret);
}

export async function get(id: string): Promise<number> {
  const found = await current(secretKeeper(), id);
  if (found === undefined) {
    throw new Stop(EXIT.noInput, `There is no secret ${id}, or it has no value yet.`);
  }
  note(`${id}, version ${found.version}`);
  sayJson(maskedSecret(found.secret));
  usable(found.secret);
  return EXIT.ok;
}

export async function rotate(id: string, options: KeepOptions): Promise<number> {
  const keeper = secretKeeper();
  const before = await current(keeper, id);
  if (before === undefined) throw new Stop(EXIT.noInput, `There is no secret ${id} to rotate.`);
  const old = usable(before.secret);
  if (old.password === undefined) {
    throw new Stop(EXIT.usage, `${id} has no password: put it anew with --file and --replace.`);
  }
  const password = await newPassword(options);
  if (password === old.password) throw new Stop(EXIT.usage, "That is the password it has already.");
  const secret = JSON.stringify({ ...(JSON.parse(before.secret) as Fields), password });
  await verified(secret, options);
  // Somebody else may have been at it while the password was typed.
  const now = await current(keeper, id);
  if (now?.version !== before.version) {
    throw new Stop(EXIT.later, `${id} was changed meanwhile, so nothing was stored. Try again.`);
  }
  return stored(keeper, id, secret);
}

async function described({ file, passwordStdin, ...options }: PutOptions): Promise<Fields> {
  if (file === "-" && passwordStdin) {
    throw new Stop(EXIT.usage, "Standard input cannot be both the mailbox and the password.");
  }
  let given: unknown = {};
  try {
    if (file !== undefined) given = JSON.parse(await readSecretFile(file));
  } catch (error) {
    if (error instanceof Stop) throw error;
    throw new Stop(EXIT.malformed, "The mailbox's file is not JSON.");
  }
  if (!isRecord(given)) throw new Stop(EXIT.malformed, "The mailbox's file holds no JSON object.");
  const { host, port, security, username, from, allowedFrom } = options;
  return {
    ...given,
    ...(host && { host: host.length === 1 ? host[0] : host }),
    ...(port !== undefined && { port }),
    ...(security !== undefined && { security }),
    ...(username !== undefined && { username }),
    ...(from !== undefined && { from }),
    ...(allowedFrom && { allowedFrom }),
  };
}

function wantsPassword(mailbox: Fields, { passwordStdin }: KeepOptions): boolean {
  if (passwordStdin) return true;
  const { username, password, oauth2, tls } = mailbox;
  const certificate = isRecord(tls) && tls["cert"] !== undefined;
  return username !== undefined && password === undefined && oauth2 === undefined && !certificate;
}

async function newPassword({ passwordStdin, verify }: KeepOptions): Promise<string> {
  const password = passwordStdin ? await readPassword() : await askPassword("Password");
  if (password === "") throw new Stop(EXIT.usage, "The password is empty.");
  // A login shows a slip of the finger; without one, the second time does.
  if (!passwordStdin && !verify && (await askPassword("Once more")) !== password) {
    throw new Stop(EXIT.usage, "The two are not the same; nothing was stored.");
  }
  return password;
}

/** @throws Stop where the mailbox cannot be used, or its login does not work */
async function verified(secret: string, { verify }: KeepOptions): Promise<void> {
  const mailbox = usable(secret);
  if (!verify) return warn("the login was not tried");
  const ports = directPorts(fixedSecret(secret), "new");
  const { ok, login, server, error } = await checkMailbox(
    ports,
    "new",
    await ports.mailboxes.load("new"),
    limitsOf(VERIFY_SECONDS),
  );
  const at = server === null ? mailbox.endpoints[0]?.host : `${server.host}:${server.port}`;
  if (!ok) {
    const why =
      error === undefined ? "" : `${visible(error.message)} ${adviceFor(error.code) ?? ""}`;
    throw new Stop(EXIT.act, `Nothing was stored: ${at} did not take it. ${why}`);
  }
  note(login === "accepted" ? `${at} took the login, by ${server?.auth}` : `${at} wants no login`);
}

function usable(secret: string) {
  try {
    return parseMailboxSecret(secret);
  } catch (error) {
    if (error instanceof MailboxError) throw new Stop(EXIT.malformed, error.message);
    throw error;
  }
}

async function current(keeper: SecretKeeper, id: string) {
  try {
    return await keeper.read(id);
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    // Created empty, as the template does, is as good as not there.
    if (error.kind === "missing") return undefined;
    throw new Stop(error.kind === "denied" ? EXIT.act : EXIT.unavailable, error.message);
  }
}

async function stored(keeper: SecretKeeper, id: string, secret: string): Promise<number> {
  try {
    const { version, isNew } = await keeper.store(id, secret);
    note(`${isNew ? "created" : "stored"} ${id}, version ${version}`);
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    throw new Stop(error.kind === "denied" ? EXIT.act : EXIT.unavailable, error.message);
  }
}
