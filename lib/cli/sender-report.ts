/**
 * What the From domain's records say of a relay: SPF (RFC 7208), DMARC (RFC 9989), and whether the
 * keys that the mailbox signs with are published (RFC 6376 §3.6). The envelope sender is the From
 * address, so SPF is aligned wherever it passes.
 */
import { createPublicKey } from "node:crypto";
import { Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { dmarc } from "mailauth/lib/dmarc/index.js";
import { spf } from "mailauth/lib/spf/index.js";
import { type Finding, note, ok, toFix } from "./finding.ts";

export interface SenderQuestion {
  /** `a@b`. */
  readonly from: string;
  readonly relays: readonly string[];
  readonly dkim: readonly {
    readonly domain: string;
    readonly selector: string;
    readonly privateKey: string;
  }[];
  /** `address` or `address:port`, instead of the system's. */
  readonly resolvers?: readonly string[] | undefined;
}

const QUERY_MS = 2_000;
const SPF_MS = 15_000;
/** A pool of relays has many addresses; they are in the same record, or not. */
const MOST_ADDRESSES = 4;

/**
 * Big providers take mail at some addresses and send it on from others: their own address passing is
 * no sign, what their senders publish is.
 */
const PROVIDERS: readonly (readonly [RegExp, string])[] = [
  [/(^|\.)(gmail|googlemail|google)\.com$/, "_spf.google.com"],
  [/(^|\.)(office365|outlook)\.com$/, "spf.protection.outlook.com"],
  [/(^|\.)amazonaws\.com(\.cn)?$/, "amazonses.com"],
  [/(^|\.)163\.com$/, "spf.163.com"],
  [/(^|\.)qq\.com$/, "spf.mail.qq.com"],
  [/(^|\.)smtpdm[\w-]*\.aliyun\.com$/, "spf1.dm.aliyun.com"],
  [/(^|\.)qiye\.aliyun\.com$/, "spf.qiye.aliyun.com"],
];

type Ask = (name: string, type: string) => Promise<string[] | string[][]>;

/** Never rejects for what the network does: without DNS there is one finding, which says so. */
export async function senderFindings(question: SenderQuestion): Promise<readonly Finding[]> {
  const resolver = new Resolver({ timeout: QUERY_MS, tries: 2 });
  if (question.resolvers) resolver.setServers([...question.resolvers]);
  const ask = ((name, type) => resolver.resolve(name, type)) as Ask;
  const domain = domainToASCII(question.from.slice(question.from.lastIndexOf("@") + 1));
  const trouble = await reachable(ask, domain);
  if (trouble === "ENOTFOUND") {
    return [
      toFix(
        `${domain} does not exist, says the DNS that answers here`,
        "Check the From domain, or ask another DNS server: --resolver.",
      ),
    ];
  }
  if (trouble !== undefined) {
    return [
      note(
        `DNS does not answer here (${trouble}): SPF, DKIM and DMARC were not looked at; --resolver names another server`,
      ),
    ];
  }
  const judged = await Promise.all(
    [...new Set(question.relays)].map((relay) => policyFor(relay, domain, question.from, ask)),
  );
  const keys = await Promise.all(question.dkim.map((key) => published(key, ask)));
  const passes = judged.length > 0 && judged.every(({ passes: passed }) => passed);
  const signed = keys.every(({ kind }) => kind === "ok")
    ? question.dkim.map((key) => domainToASCII(key.domain))
    : [];
  return [
    ...judged.flatMap(({ findings }) => findings),
    ...keys,
    ...(await dmarcFindings(domain, passes, signed, ask)),
  ];
}

/** Why not; that a name has no such record is an answer. */
async function reachable(ask: Ask, domain: string): Promise<string | undefined> {
  try {
    await ask(domain, "TXT");
    return undefined;
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    return code === "ENODATA" ? undefined : code;
  }
}

interface Judged {
  readonly passes: boolean;
  readonly findings: readonly Finding[];
}

async function policyFor(relay: string, domain: string, from: string, ask: Ask): Promise<Judged> {
  const addresses = await addressesOf(relay, ask);
  if (addresses.length === 0) {
    return {
      passes: false,
      findings: [note(`SPF: ${relay} has no address in DNS, so nothing is known of it`)],
    };
  }
  const results = await Promise.all(
    addresses.map(async (ip) => {
      const options = { sender: from, ip, helo: relay, mta: "posthaste", resolver: ask };
      const { status, rr } = await spf({ ...options, maxElapsedTime: SPF_MS });
      return { ip, result: status.result, comment: status.comment, record: rr };
    }),
  );
  const worst = results.find(({ result }) => result !== "pass");
  const shown = addresses.join(", ");
  if (worst === undefined) {
    return { passes: true, findings: [ok(`SPF of ${domain} allows ${relay} (${shown})`)] };
  }
  const include = PROVIDERS.find(([host]) => host.test(relay))?.[1];
  const { result, comment = "", record = "" } = worst;
  if (include && record.includes(`include:${include}`)) {
    return {
      passes: true,
      findings: [ok(`SPF of ${domain} includes ${include}, from where ${relay} sends`)],
    };
  }
  return {
    passes: false,
    findings: [spfFault({ domain, relay, result, comment, record, include, shown })],
  };
}

function spfFault(at: {
  readonly domain: string;
  readonly relay: string;
  readonly result: string;
  readonly comment: string;
  readonly record: string;
  readonly include: string | undefined;
  readonly shown: string;
}): Finding {
  const { domain, relay, result, comment, record, include, shown } = at;
  const term = include ? `include:${include}` : "what the relay's provider asks to include";
  switch (result) {
    case "none":
      return toFix(
        `SPF: ${domain} has no record`,
        `Publish at ${domain}, type TXT: "v=spf1 ${include ? term : "include:…"} ~all"${include ? "" : `, with ${term}`}.`,
      );
    case "permerror":
      return toFix(
        `SPF: the record of ${domain} is broken: ${comment} (${record})`,
        "Mend the record.",
      );
    case "temperror":
      return note(`SPF of ${domain} could not be judged now: ${comment}`);
    default: {
      const text = `SPF of ${domain} says ${result} of ${relay} (${shown}): ${record}`;
      if (include) return toFix(text, `Add "${term}" to the record.`);
      // Its senders may have other addresses than its receivers.
      return toFix(text, `Add ${term}, unless ${relay} sends from addresses that the record has.`);
    }
  }
}

async function addressesOf(relay: string, ask: Ask): Promise<readonly string[]> {
  if (isIP(relay) !== 0) return [relay];
  const found = await Promise.all(
    ["A", "AAAA"].map((type) => ask(relay, type).catch((): string[] => [])),
  );
  return (found as string[][]).flat().slice(0, MOST_ADDRESSES);
}

async function published(
  { domain, selector, privateKey }: SenderQuestion["dkim"][number],
  ask: Ask,
): Promise<Finding> {
  const name = `${selector}._domainkey.${domainToASCII(domain)}`;
  let records: string[][] = [];
  try {
    records = (await ask(name, "TXT")) as string[][];
  } catch (error) {
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    if (!["ENOTFOUND", "ENODATA"].includes(code)) {
      return note(`DKIM: ${name} could not be looked up (${code})`);
    }
  }
  const own = publicForms(privateKey);
  if (own.length === 0)
    return toFix(`DKIM: the key for ${name} cannot be read`, "Mend the mailbox's dkim.");
  const record = `v=DKIM1; k=${own.length === 1 ? "ed25519" : "rsa"}; p=${own[0]}`;
  const keys = records.map((parts) =>
    /(?:^|;)\s*p=([^;]*)/.exec(parts.join(""))?.[1]?.replace(/\s/g, ""),
  );
  if (keys.length === 0)
    return toFix(`DKIM: there is no key at ${name}`, `Publish there, type TXT: "${record}".`);
  if (keys.some((key) => key !== undefined && own.includes(key)))
    return ok(`DKIM: the key at ${name} is the one that signs`);
  return toFix(`DKIM: the key at ${name} is not the one that signs`, `Publish there: "${record}".`);
}

/** RSA keys are published as SPKI, by some as PKCS #1; Ed25519 keys bare (RFC 8463 §4). */
function publicForms(privateKey: string): readonly string[] {
  try {
    const key = createPublicKey(privateKey);
    const spki = key.export({ type: "spki", format: "der" });
    if (key.asymmetricKeyType === "ed25519") return [spki.subarray(-32).toString("base64")];
    const pkcs1 = key.export({ type: "pkcs1", format: "der" });
    return [spki.toString("base64"), pkcs1.toString("base64")];
  } catch {
    return [];
  }
}

async function dmarcFindings(
  domain: string,
  passes: boolean,
  signed: readonly string[],
  ask: Ask,
): Promise<readonly Finding[]> {
  const answer = await dmarc({
    headerFrom: domain,
    spfDomains: passes ? [domain] : [],
    dkimDomains: signed.map((one) => ({ domain: one })),
    resolver: ask,
  });
  if (answer === false) return [];
  const { result, comment } = answer.status;
  if (result === "none") {
    return [
      toFix(
        `DMARC: ${domain} has no record; Gmail and Yahoo want one of bulk senders`,
        `Publish at _dmarc.${domain}, type TXT: "v=DMARC1; p=none; rua=mailto:…".`,
      ),
    ];
  }
  if (result === "pass")
    return [
      ok(`DMARC of ${domain} (p=${answer.policy}) passes by ${signed.length > 0 ? "DKIM" : "SPF"}`),
    ];
  if (result !== "fail")
    return [note(`DMARC of ${domain} could not be judged: ${comment ?? result}`)];
  const text = `DMARC of ${domain} (p=${answer.policy}) passes only if the relay signs for ${domain}`;
  if (answer.policy === "none") return [note(text)];
  return [
    toFix(
      text,
      `Mend SPF, or set "dkim", or have the relay sign: else receivers ${answer.policy} the mail.`,
    ),
  ];
}
