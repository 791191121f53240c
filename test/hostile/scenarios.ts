/**
 * What a server can do to a client, and what a correct client shows of it. A row reads: outcome,
 * whether trying again unattended may help, what failed and in which phase, and how many messages the
 * server has taken. Single conversations octet for octet are in test/smtp/dialogues; here is the
 * whole use case, over sockets.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import type { Result } from "../../lib/submission/outcome.ts";
import { type Identities, type IdentityName, PASSWORD, TOKEN, USERNAME } from "./lab.ts";
import { type Act, pause, type Script, type Wire } from "./server.ts";

export interface Scenario {
  readonly name: string;
  readonly expected: string;
  /** One server for each of the mailbox's relays. */
  readonly scripts: (identities: Identities) => readonly Script[];
  readonly mailbox?: Readonly<Record<string, unknown>>;
  readonly request: unknown;
  /** How the message ends, as the server must have got it. */
  readonly ends: string;
  readonly timeLeft?: number;
  /** The server stops reading, so it cannot tell when the client left. */
  readonly deaf?: boolean;
  /** What else must hold; returns what does not. */
  readonly check?: (result: Result, wires: readonly Wire[]) => readonly string[];
}

/** What is left to a send whose server falls silent. */
const SHORT = 2_500;

/** Every way to end a message that some server somewhere takes for one. */
const SMUGGLED = [
  "first line",
  ".",
  "..",
  ".leading dot",
  "\n.\nMAIL FROM:<evil@example.net>\nRCPT TO:<evil@example.net>\nDATA\nevil",
  "\r.\rMAIL FROM:<evil@example.net>\r",
  "\n.\r\nMAIL FROM:<evil@example.net>",
  "\r\n.\rMAIL FROM:<evil@example.net>",
  "\r\n.\nMAIL FROM:<evil@example.net>",
  "last line",
].join("\r\n");

function raw(body: string): string {
  const header =
    "From: shop@example.com\r\nTo: a@example.net\r\nSubject: hostile\r\nMIME-Version: 1.0\r\n\r\n";
  return Buffer.from(`${header}${body}\r\n`).toString("base64");
}

const REQUEST = { to: "a@example.net", raw: raw(SMUGGLED) };
const TWO = { to: ["a@example.net", "b@example.net"], raw: raw(SMUGGLED) };
const THREE = { ...TWO, to: ["a@example.net", "b@example.net", "c@example.net"] };
/** More than all buffers between two sockets hold, so that its end cannot have been handed over. */
export const LARGE = {
  to: "a@example.net",
  raw: raw(`${`${"x".repeat(76)}\r\n`.repeat(160_000)}last line`),
};

type Extra = Partial<Omit<Scenario, "name" | "expected" | "scripts">>;

const scenarios: Scenario[] = [];

function scenario(
  name: string,
  expected: string,
  script: Partial<Script> | ((identities: Identities) => Partial<Script>),
  extra: Extra = {},
): void {
  relays(name, expected, [script], extra);
}

function relays(
  name: string,
  expected: string,
  scripts: readonly (Partial<Script> | ((identities: Identities) => Partial<Script>))[],
  extra: Extra = {},
): void {
  scenarios.push({
    name,
    expected,
    request: REQUEST,
    ends: "last line",
    ...extra,
    scripts: (identities) =>
      scripts.map((script) => ({
        security: "implicit",
        ...(typeof script === "function" ? script(identities) : script),
      })),
  });
}

const accepted = (delivered = 1) => `accepted; ${delivered} delivered`;
const deferred = (code: string, phase: string, again = true) =>
  `deferred${again ? ", again" : ""}: ${code} in ${phase}; 0 delivered`;
const person = (code: string, phase: string) => deferred(code, phase, false);
const rejected = (code: string, phase: string) => `rejected: ${code} in ${phase}; 0 delivered`;
const uncertain = (delivered = 0) => `uncertain: reply_lost in content; ${delivered} delivered`;

const silence: Act = (wire) => wire.mute();
const reset: Act = (wire) => wire.reset();
const close: Act = (wire) => wire.end();
const cut: Act = (wire) => wire.cut();
/** Says it, and that is the last of it. */
const lastly =
  (text: string, end: Act): Act =>
  async (wire, line) => {
    wire.write(text);
    // Its own packet, so that what was said is heard.
    await pause(100);
    if (typeof end !== "string") await end(wire, line);
  };
const bytes =
  (octets: string | Uint8Array): Act =>
  (wire) =>
    wire.write(octets);
const slowly =
  (text: string, milliseconds: number): Act =>
  (wire) =>
    wire.trickle(text, milliseconds);
const HUGE = Buffer.alloc(64 * 1024, "x");
/** Ten megabytes that never end a line. */
const huge: Act = (wire) => wire.flood(HUGE, 160);
const endless =
  (code: number): Act =>
  (wire) =>
    wire.flood(Buffer.from(`${code}-and so on\r\n`.repeat(1000)), 1000);
const BINARY = Buffer.from(Array.from({ length: 4096 }, (_, at) => (at * 151 + 7) % 256));

// ---------------------------------------------------------------- connecting and greeting

const clear = { security: "starttls" } as const;
scenario(
  "greeting: none",
  deferred("timeout", "greeting"),
  { ...clear, greeting: silence },
  { timeLeft: SHORT },
);
scenario("greeting: closed at once", deferred("connection_lost", "greeting"), {
  ...clear,
  greeting: close,
});
scenario("greeting: reset at once", deferred("connection_lost", "greeting"), {
  ...clear,
  greeting: lastly("", reset),
});
scenario(
  "greeting: one byte a second",
  deferred("timeout", "greeting"),
  { ...clear, greeting: slowly("220 hostile.test ESMTP\r\n", 1000) },
  { timeLeft: SHORT },
);
scenario("greeting: slow and whole", accepted(), {
  ...clear,
  greeting: slowly("220 hostile.test ESMTP\r\n", 5),
});
scenario("greeting: 421", deferred("greeting_refused", "greeting"), {
  ...clear,
  greeting: "421 4.3.2 too busy",
});
scenario("greeting: 554", deferred("greeting_refused", "greeting"), {
  ...clear,
  greeting: "554 no service",
});
scenario("greeting: 354", deferred("greeting_refused", "greeting"), {
  ...clear,
  greeting: "354 send it",
});
scenario("greeting: endless lines", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: endless(220),
});
scenario("greeting: 10 MB without a line end", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: huge,
});
scenario("greeting: binary", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: bytes(BINARY),
});
scenario("greeting: HTTP", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: "HTTP/1.1 400 Bad Request\r\n",
});
scenario("greeting: 2zz", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: "2zz hello",
});
scenario("greeting: mixed codes", deferred("protocol_error", "greeting"), {
  ...clear,
  greeting: "220-hello\r\n554 go away",
});
scenario("greeting: bare LF", accepted(), { ...clear, greeting: bytes("220-hello\n220 ESMTP\n") });
scenario(
  "greeting: no final line",
  deferred("timeout", "greeting"),
  { ...clear, greeting: bytes("220-hello\r\n220-more\r\n") },
  { timeLeft: SHORT },
);
scenario("greeting: no final line, closed", deferred("connection_lost", "greeting"), {
  ...clear,
  greeting: lastly("220-hello\r\n", close),
});
scenario(
  "greeting: controls and escapes",
  accepted(),
  { ...clear, greeting: "220 \u001b[2J\u0007\u009b31m\0 hello" },
  {
    check: ({ transcript }) =>
      // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what is looked for
      transcript.some(({ text }) => /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/.test(text))
        ? ["a control of the server's is shown"]
        : [],
  },
);
scenario("greeting: two, glued", deferred("protocol_error", "ehlo"), {
  ...clear,
  greeting: "220 hello\r\n220 hello again",
});
scenario("greeting: glued with an answer to EHLO", deferred("protocol_error", "ehlo"), {
  ...clear,
  greeting: "220 hello\r\n250-hostile.test\r\n250 AUTH PLAIN",
});
scenario("greeting: half-close after it", deferred("connection_lost", "ehlo"), {
  ...clear,
  greeting: lastly("220 hello\r\n", close),
});
scenario("greeting: credentials in it", deferred("greeting_refused", "greeting"), {
  ...clear,
  greeting: `554 I know ${USERNAME} ${PASSWORD}`,
});

scenario("implicit TLS: plain text instead", deferred("tls_failed", "tls"), {
  handshake: "220 hostile.test ESMTP",
});
scenario(
  "implicit TLS: silence",
  deferred("timeout", "tls"),
  { handshake: silence },
  { timeLeft: SHORT },
);
scenario("implicit TLS: closed", deferred("tls_failed", "tls"), { handshake: close });
scenario("implicit TLS: binary", deferred("tls_failed", "tls"), { handshake: bytes(BINARY) });
scenario(
  "implicit TLS: no greeting inside",
  deferred("timeout", "greeting"),
  { greeting: silence },
  { timeLeft: SHORT },
);
scenario("implicit TLS: cut inside the greeting", deferred("connection_lost", "greeting"), {
  greeting: lastly("220-hel", cut),
});

// ---------------------------------------------------------------- EHLO

const ehlo = (act: Act, helo: Act = "502 no"): Partial<Script> => ({
  ...clear,
  on: { EHLO: act, HELO: helo },
});
scenario("EHLO: refused, HELO too", deferred("ehlo_refused", "ehlo"), ehlo("502 no"));
scenario(
  "EHLO: refused, HELO taken, no STARTTLS",
  person("starttls_unavailable", "starttls"),
  ehlo("502 no", "250 hostile.test"),
);
scenario("EHLO: 421", deferred("ehlo_refused", "ehlo"), ehlo("421 4.3.2 not now"));
scenario("EHLO: 450", deferred("ehlo_refused", "ehlo"), ehlo("450 not now"));
scenario("EHLO: 334", deferred("protocol_error", "ehlo"), ehlo("334 "));
scenario("EHLO: closed", deferred("connection_lost", "ehlo"), ehlo(close));
scenario("EHLO: reset", deferred("connection_lost", "ehlo"), ehlo(reset));
scenario("EHLO: silence", deferred("timeout", "ehlo"), ehlo(silence), { timeLeft: SHORT });
scenario(
  "EHLO: one byte a second",
  deferred("timeout", "ehlo"),
  ehlo(slowly("250 hostile.test\r\n", 1000)),
  { timeLeft: SHORT },
);
scenario(
  "EHLO: answered after the timeout",
  deferred("timeout", "ehlo"),
  ehlo(async (wire) => {
    await pause(SHORT + 300);
    wire.say("250 STARTTLS");
  }),
  { timeLeft: SHORT },
);
scenario(
  "EHLO: mixed codes",
  deferred("protocol_error", "ehlo"),
  ehlo("250-hostile.test\r\n550 STARTTLS"),
);
scenario("EHLO: 2zz", deferred("protocol_error", "ehlo"), ehlo("2zz-hostile.test\r\n250 STARTTLS"));
scenario("EHLO: endless lines", deferred("protocol_error", "ehlo"), ehlo(endless(250)));
scenario("EHLO: 10 MB without a line end", deferred("protocol_error", "ehlo"), ehlo(huge));
scenario(
  "EHLO: no final line",
  deferred("timeout", "ehlo"),
  ehlo(bytes("250-hostile.test\r\n250-STARTTLS\r\n")),
  { timeLeft: SHORT },
);
scenario(
  "EHLO: two replies, glued",
  deferred("protocol_error", "starttls"),
  ehlo("250-hostile.test\r\n250 STARTTLS\r\n250 ok"),
);
scenario(
  "EHLO: STARTTLS in the first line only",
  person("starttls_unavailable", "starttls"),
  ehlo("250-STARTTLS\r\n250 SIZE 1000"),
);
scenario("EHLO: code 199", deferred("protocol_error", "ehlo"), ehlo("199 STARTTLS"));
scenario("EHLO: code 650", deferred("protocol_error", "ehlo"), ehlo("650 STARTTLS"));
scenario("EHLO: SIZE smaller than the message", rejected("message_too_large", "mail"), {
  offers: ["SIZE 10", "AUTH PLAIN"],
});
scenario("EHLO: SIZE beyond all numbers", accepted(), {
  offers: [`SIZE ${"9".repeat(400)}`, "AUTH PLAIN"],
});
scenario("EHLO: limits of zero", accepted(), {
  offers: ["LIMITS RCPTMAX=0 MAILMAX=0", "AUTH PLAIN"],
});
scenario("EHLO: names of our own objects", accepted(), {
  offers: ["AUTH PLAIN", "LIMITS __PROTO__=1 CONSTRUCTOR=2", "__proto__ x", "CONSTRUCTOR"],
});
scenario(
  "EHLO: the password among its keywords",
  accepted(),
  { offers: ["AUTH PLAIN", "AUTHX", "X-HUNTER2-SECRET"] },
  {
    mailbox: { password: "x-hunter2-secret" },
    check: (result) =>
      JSON.stringify(result).toLowerCase().includes("hunter2")
        ? ["the password is shown as an extension"]
        : [],
  },
);

// ---------------------------------------------------------------- STARTTLS

const starttls = (act: Act, extra: Partial<Script> = {}): Partial<Script> => ({
  ...clear,
  ...extra,
  on: { STARTTLS: act },
});
/** The answer and what does not belong there in one packet, then TLS as if nothing had been. */
const injected = (more: string) => (identities: Identities) =>
  starttls((wire) => {
    wire.write(`220 go ahead\r\n${more}`);
    wire.secure(identities.good);
  });
scenario(
  "STARTTLS: injected replies",
  deferred("protocol_error", "tls"),
  injected("250-hostile.test\r\n250 AUTH PLAIN\r\n"),
);
scenario(
  "STARTTLS: injected, without a line end",
  deferred("protocol_error", "tls"),
  injected("250 ok"),
);
scenario("STARTTLS: injected, one octet", deferred("protocol_error", "tls"), injected("2"));
scenario(
  "STARTTLS: injected before its answer",
  deferred("protocol_error", "tls"),
  starttls("220 go\r\n220 go"),
);
scenario("STARTTLS: stripped", person("starttls_unavailable", "starttls"), {
  ...clear,
  offersInClear: ["AUTH PLAIN LOGIN", "PIPELINING"],
});
scenario("STARTTLS: renamed", person("starttls_unavailable", "starttls"), {
  ...clear,
  offersInClear: ["XXXXXXXA", "AUTH PLAIN"],
});
scenario(
  "STARTTLS: all capabilities stripped",
  person("starttls_unavailable", "starttls"),
  ehlo("250 hostile.test"),
);
scenario(
  "STARTTLS: 454",
  deferred("starttls_refused", "starttls"),
  starttls("454 4.7.0 TLS not available"),
);
scenario("STARTTLS: 421", deferred("starttls_refused", "starttls"), starttls("421 closing"));
scenario("STARTTLS: 501", person("starttls_refused", "starttls"), starttls("501 syntax"));
scenario("STARTTLS: 554", person("starttls_refused", "starttls"), starttls("554 no"));
scenario("STARTTLS: 334", person("starttls_refused", "starttls"), starttls("334 go"));
scenario("STARTTLS: silence", deferred("timeout", "starttls"), starttls(silence), {
  timeLeft: SHORT,
});
scenario("STARTTLS: closed", deferred("connection_lost", "starttls"), starttls(close));
scenario(
  "STARTTLS: closed after 220",
  deferred("tls_failed", "tls"),
  starttls(lastly("220 go\r\n", reset)),
);
scenario(
  "STARTTLS: silence after 220",
  deferred("timeout", "tls"),
  starttls((wire) => {
    wire.say("220 go");
    wire.deafen();
    wire.mute();
  }),
  { timeLeft: SHORT },
);
scenario(
  "STARTTLS: replies in place of the handshake",
  deferred("tls_failed", "tls"),
  starttls(async (wire) => {
    wire.say("220 go");
    wire.deafen();
    await pause(60);
    wire.say("250-hostile.test\r\n250 AUTH PLAIN LOGIN");
  }),
);
const shows =
  (name: IdentityName) =>
  (identities: Identities): Partial<Script> => ({ ...clear, identity: identities[name] });
scenario(
  "STARTTLS: certificate of another name",
  person("certificate_invalid", "tls"),
  shows("wrongName"),
);
scenario("STARTTLS: certificate expired", person("certificate_invalid", "tls"), shows("expired"));
scenario(
  "STARTTLS: certificate self-signed",
  person("certificate_invalid", "tls"),
  shows("selfSigned"),
);
scenario(
  "STARTTLS: certificate of an unknown authority",
  person("certificate_invalid", "tls"),
  shows("unknownAuthority"),
);
scenario(
  "implicit TLS: certificate of another name",
  person("certificate_invalid", "tls"),
  (identities) => ({ identity: identities.wrongName }),
);
scenario(
  "implicit TLS: certificate expired",
  person("certificate_invalid", "tls"),
  (identities) => ({ identity: identities.expired }),
);
for (const version of ["TLSv1", "TLSv1.1"] as const) {
  const old = (identities: Identities) => ({
    ...identities.good,
    ciphers: "ALL@SECLEVEL=0",
    minVersion: version,
    maxVersion: version,
  });
  scenario(`STARTTLS: ${version} only`, person("tls_version", "tls"), (identities) => ({
    ...clear,
    identity: old(identities),
  }));
  scenario(`implicit TLS: ${version} only`, person("tls_version", "tls"), (identities) => ({
    identity: old(identities),
  }));
}
scenario("STARTTLS: AUTH offered before it and not after", person("auth_unavailable", "auth"), {
  ...clear,
  offersInClear: ["STARTTLS", "AUTH PLAIN"],
  offers: ["PIPELINING"],
});
scenario("STARTTLS: PIPELINING offered before it and not after", accepted(), {
  ...clear,
  offersInClear: ["STARTTLS", "PIPELINING", "SIZE 1"],
  offers: ["AUTH PLAIN"],
});
scenario("STARTTLS: offered again inside", accepted(), {
  ...clear,
  offers: ["STARTTLS", "AUTH PLAIN"],
});
scenario("STARTTLS: EHLO refused inside", deferred("ehlo_refused", "ehlo"), {
  ...clear,
  on: { EHLO: ["250-hostile.test\r\n250 STARTTLS", "550 no"], HELO: "550 no" },
});
scenario("no TLS: credentials are kept", person("auth_insecure", "auth"), { security: "none" });
scenario(
  "no TLS: credentials allowed by the mailbox",
  accepted(),
  { security: "none" },
  { mailbox: { allowPlaintextAuth: true } },
);

// ---------------------------------------------------------------- AUTH

const auth = (
  act: Act | readonly Act[],
  offers = ["PIPELINING", "AUTH PLAIN"],
): Partial<Script> => ({ offers, on: { AUTH: act } });
/** What may never be tried after a failure: a weaker proof. */
const never = (pattern: RegExp) => (_: Result, wires: readonly Wire[]) =>
  wires
    .flatMap((wire) => wire.commands)
    .filter((line) => pattern.test(line))
    .map((line) => `said ${line}`);
const challenges =
  (challenge: string): Act =>
  async (wire) => {
    for (let count = 0; count < 1000 && !wire.over; count += 1) {
      wire.say(`334 ${challenge}`);
      if ((await wire.line()) === "*") return wire.say("501 cancelled");
    }
  };
scenario(
  "AUTH: 334 without end, LOGIN",
  person("auth_refused", "auth"),
  auth(challenges("UGFzc3dvcmQ6"), ["AUTH LOGIN"]),
);
scenario(
  "AUTH: 334 without end, PLAIN",
  person("auth_refused", "auth"),
  auth(challenges(""), ["AUTH PLAIN"]),
);
scenario("AUTH: 334 without end, PLAIN in a group", deferred("protocol_error", "mail"), {
  on: {
    AUTH: challenges(""),
    MAIL: "503 first AUTH",
    RCPT: "503 first AUTH",
    DATA: "503 first AUTH",
  },
  offers: ["PIPELINING", "AUTH PLAIN"],
});
scenario(
  "AUTH: 334 without end, CRAM-MD5",
  person("auth_refused", "auth"),
  auth(challenges("PDEuMkB4Pg=="), ["AUTH CRAM-MD5"]),
);
scenario(
  "AUTH: challenge is not base64, CRAM-MD5",
  person("auth_refused", "auth"),
  auth(challenges("!!! no base64 !!!"), ["AUTH CRAM-MD5"]),
);
scenario(
  "AUTH: challenge is not base64, SCRAM",
  person("auth_refused", "auth"),
  auth(challenges("r=*"), ["AUTH SCRAM-SHA-256 PLAIN"]),
  { check: never(/PLAIN/) },
);
scenario(
  "AUTH: challenge is not base64, DIGEST-MD5",
  person("auth_refused", "auth"),
  auth(challenges("\u0001"), ["AUTH DIGEST-MD5"]),
);
scenario(
  "AUTH: prompt is not base64, LOGIN",
  accepted(),
  auth(
    async (wire) => {
      wire.say("334 密码");
      await wire.line();
      wire.say("235 ok");
    },
    ["AUTH LOGIN"],
  ),
);

interface Tampered {
  readonly nonce?: (client: string) => string;
  readonly iterations?: string;
  readonly salt?: string;
  readonly signature?: (honest: string) => string;
  readonly first?: string;
  /** Success at once, without the final message. */
  readonly early?: "first" | "final";
  readonly verdict?: string;
}

/** An honest SCRAM-SHA-256 server (RFC 5802), but for what is tampered with. */
const scram =
  (tampered: Tampered = {}): Act =>
  async (wire, line) => {
    const said = (text: string | undefined) => Buffer.from(text ?? "", "base64").toString("utf8");
    const bare = said(line.split(" ")[2]).replace(/^[^,]*,[^,]*,/, "");
    if (tampered.early === "first") return wire.say("235 welcome");
    const ours = /r=([^,]*)/.exec(bare)?.[1] ?? "";
    const nonce = (tampered.nonce ?? ((client) => client + randomBytes(9).toString("base64url")))(
      ours,
    );
    const salt = tampered.salt ?? Buffer.from("salt of the server").toString("base64");
    const first = tampered.first ?? `r=${nonce},s=${salt},i=${tampered.iterations ?? "4096"}`;
    wire.say(`334 ${Buffer.from(first).toString("base64")}`);
    const answer = await wire.line();
    if (answer === "*" || answer === undefined) return wire.say("501 cancelled");
    const withoutProof = said(answer).replace(/,p=.*$/, "");
    const salted = pbkdf2Sync(PASSWORD, Buffer.from(salt, "base64"), 4096, 32, "sha256");
    const key = createHmac("sha256", salted).update("Server Key").digest();
    const signed = createHmac("sha256", key).update(`${bare},${first},${withoutProof}`);
    const honest = signed.digest("base64");
    if (tampered.early === "final") return wire.say("235 welcome");
    const final = tampered.signature?.(honest) ?? `v=${honest}`;
    wire.say(`334 ${Buffer.from(final).toString("base64")}`);
    if ((await wire.line()) === "*") return wire.say("501 cancelled");
    wire.say(tampered.verdict ?? "235 welcome");
  };
const SCRAM = ["PIPELINING", "AUTH SCRAM-SHA-256 PLAIN LOGIN"];
const impostor = (name: string, tampered: Tampered) =>
  scenario(`AUTH: SCRAM, ${name}`, person("auth_refused", "auth"), auth(scram(tampered), SCRAM), {
    check: never(/PLAIN|LOGIN/),
  });
// The password is not ASCII, so that the forms differ after SASLprep; this one's do not.
scenario("AUTH: SCRAM, honest", accepted(), auth(scram(), SCRAM), { check: never(/PLAIN|LOGIN/) });
impostor("wrong signature", {
  signature: () => `v=${createHash("sha256").update("x").digest("base64")}`,
});
impostor("empty signature", { signature: () => "v=" });
impostor("signature cut short", { signature: (honest) => `v=${honest.slice(0, 8)}` });
impostor("no signature, an error", { signature: () => "e=other-error" });
impostor("success without any proof", { early: "first" });
impostor("success without a signature", { early: "final" });
impostor("nonce not extended", { nonce: (client) => client });
impostor("nonce of its own", { nonce: () => "somethingelse" });
impostor("nonce cut", { nonce: (client) => client.slice(0, 4) });
impostor("one iteration", { iterations: "1" });
impostor("no iteration", { iterations: "0" });
impostor("2^31 iterations", { iterations: "2147483648" });
impostor("iterations beyond all numbers", { iterations: "9".repeat(300) });
impostor("negative iterations", { iterations: "-4096" });
impostor("empty salt", { salt: "" });
impostor("salt is not base64", { salt: "***" });
impostor("an extension it demands", { first: "m=evil,r=x,s=eHh4,i=4096" });
impostor("binary", { first: "\u0000\uffff" });
scenario(
  "AUTH: SCRAM proved, then 535",
  person("auth_failed", "auth"),
  auth(scram({ verdict: "535 no" }), SCRAM),
  { check: never(/PLAIN|LOGIN/) },
);
scenario(
  "AUTH: SCRAM refused, PLAIN offered too",
  person("auth_failed", "auth"),
  auth("535 5.7.8 no", SCRAM),
  { check: never(/AUTH (PLAIN|LOGIN)/) },
);

for (const [code, expected] of [
  ["421 4.7.0", deferred("auth_deferred", "auth")],
  ["432 4.7.12", person("auth_refused", "auth")],
  ["450", deferred("auth_deferred", "auth")],
  ["454 4.7.0", deferred("auth_deferred", "auth")],
  ["500", person("auth_refused", "auth")],
  ["501", person("auth_refused", "auth")],
  ["504", person("auth_unavailable", "auth")],
  ["530", person("auth_required", "auth")],
  ["534 5.7.9", person("auth_refused", "auth")],
  ["535 5.7.8", person("auth_failed", "auth")],
  ["538 5.7.11", person("auth_refused", "auth")],
  ["550", person("auth_refused", "auth")],
  ["599", person("auth_refused", "auth")],
] as const) {
  const others = { MAIL: "503 log in", RCPT: "503 log in", DATA: "503 log in" };
  scenario(`AUTH: ${code}`, expected, {
    on: { AUTH: `${code} as you like it`, ...others },
    offers: ["PIPELINING", "AUTH PLAIN"],
  });
}
scenario(
  "AUTH: refused, and the envelope taken all the same",
  person("auth_failed", "auth"),
  auth("535 5.7.8 no"),
);
scenario("AUTH: nothing in common", person("auth_unavailable", "auth"), {
  offers: ["AUTH GSSAPI NTLM X-EVIL"],
});
scenario("AUTH: silence", deferred("timeout", "auth"), auth(silence), { timeLeft: SHORT });
scenario("AUTH: closed", deferred("connection_lost", "auth"), auth(close));
scenario("AUTH: reset", deferred("connection_lost", "auth"), auth(reset));
scenario("AUTH: mixed codes", deferred("protocol_error", "auth"), auth("235-welcome\r\n535 not"));
scenario("AUTH: 2zz", deferred("protocol_error", "auth"), auth("2zz welcome"));
scenario(
  "AUTH: one byte a second",
  deferred("timeout", "auth"),
  auth(slowly("235 welcome\r\n", 1000)),
  { timeLeft: SHORT },
);
scenario("AUTH: 10 MB without a line end", deferred("protocol_error", "auth"), auth(huge));
scenario(
  "AUTH: two replies, glued",
  deferred("protocol_error", "mail"),
  auth("235 ok\r\n235 ok", ["AUTH PLAIN"]),
);

const encoded = Buffer.from(PASSWORD).toString("base64");
const plain = Buffer.from(`\0${USERNAME}\0${PASSWORD}`).toString("base64");
for (const [form, text] of [
  ["raw", PASSWORD],
  ["base64", encoded],
  ["base64, upper case", encoded.toUpperCase()],
  ["base64url", Buffer.from(PASSWORD).toString("base64url")],
  ["URL", encodeURIComponent(PASSWORD)],
  ["JSON", JSON.stringify(PASSWORD)],
  ["hexadecimal", Buffer.from(PASSWORD).toString("hex")],
  ["SASL response", plain],
] as const) {
  scenario(
    `AUTH: credentials echoed, ${form}`,
    person("auth_failed", "auth"),
    auth(`535 5.7.8 not ${text}, sorry`, ["AUTH PLAIN"]),
  );
}
scenario(
  "AUTH: the response echoed, command and all",
  person("auth_refused", "auth"),
  auth((wire, line) => wire.say(`501 bad: ${line}`), ["AUTH PLAIN"]),
);
scenario(
  "AUTH: credentials echoed in a challenge",
  person("auth_refused", "auth"),
  auth(challenges(encoded), ["AUTH LOGIN"]),
);
scenario("AUTH: credentials echoed in a final reply's queue id", accepted(), {
  on: { content: `250 2.0.0 Ok: queued as ${encoded}` },
});
scenario("AUTH: credentials echoed at RCPT", rejected("recipient_refused", "rcpt"), {
  on: { RCPT: `550 ${PASSWORD} ${encoded} ${plain}` },
});

const OAUTH = {
  oauth2: {
    tokenEndpoint: "https://127.0.0.1/token",
    clientId: "c",
    grantType: "client_credentials",
  },
};
const refusedToken = Buffer.from(`{"status":"401","token":"${TOKEN}"}`).toString("base64");
const bearer =
  (final: string): Act =>
  async (wire) => {
    wire.say(`334 ${refusedToken}`);
    await wire.line();
    wire.say(final);
  };
for (const name of ["XOAUTH2", "OAUTHBEARER"]) {
  scenario(
    `AUTH: ${name}, token refused and echoed`,
    person("auth_failed", "auth"),
    auth(bearer(`535 5.7.8 ${TOKEN} ${encodeURIComponent(TOKEN)}`), [`AUTH ${name}`]),
    { mailbox: OAUTH },
  );
  scenario(
    `AUTH: ${name}, 334 without end`,
    person("auth_refused", "auth"),
    auth(challenges(refusedToken), [`AUTH ${name}`]),
    { mailbox: OAUTH },
  );
}

// ---------------------------------------------------------------- envelope

for (const code of [400, 421, 450, 451, 452, 453, 454, 455, 458, 459, 499]) {
  scenario(`MAIL: ${code}`, deferred("sender_refused", "mail"), {
    on: { MAIL: `${code} not now`, RCPT: "503 no MAIL", DATA: "503 no MAIL" },
  });
  scenario(`RCPT: ${code}`, deferred("recipient_refused", "rcpt"), {
    on: { RCPT: `${code} not now`, DATA: "554 no recipients" },
  });
}
for (const code of [
  500, 501, 502, 503, 504, 521, 523, 530, 535, 541, 550, 551, 552, 553, 554, 555, 556, 571, 599,
]) {
  const login = code === 530;
  scenario(
    `MAIL: ${code}`,
    login ? person("auth_required", "mail") : rejected("sender_refused", "mail"),
    { on: { MAIL: `${code} never`, RCPT: "503 no MAIL", DATA: "503 no MAIL" } },
  );
  scenario(
    `RCPT: ${code}`,
    login ? person("auth_required", "rcpt") : rejected("recipient_refused", "rcpt"),
    { on: { RCPT: `${code} never`, DATA: "554 no recipients" } },
  );
}
scenario("MAIL: 354", deferred("protocol_error", "mail"), { on: { MAIL: "354 go on" } });
scenario("MAIL: closed", deferred("connection_lost", "mail"), { on: { MAIL: close } });
scenario("MAIL: reset", deferred("connection_lost", "mail"), { on: { MAIL: reset } });
scenario(
  "MAIL: silence",
  deferred("timeout", "mail"),
  { on: { MAIL: silence } },
  { timeLeft: SHORT },
);
scenario("MAIL: mixed codes", deferred("protocol_error", "mail"), {
  on: { MAIL: "250-ok\r\n550 no" },
});
scenario("MAIL: one reply too many", deferred("protocol_error", "data"), {
  on: { MAIL: "250 ok\r\n250 ok" },
});
scenario(
  "MAIL: every reply of the group at once, ahead of it",
  deferred("protocol_error", "mail"),
  {
    offers: ["PIPELINING", "AUTH LOGIN"],
    on: {
      AUTH: async (wire) => {
        wire.say("334 UGFzc3dvcmQ6");
        await wire.line();
        wire.say("235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken");
      },
    },
  },
);

const rcpt = (acts: readonly Act[], data: Act = "354 go on"): Partial<Script> => ({
  on: { RCPT: acts, DATA: data },
});
scenario(
  "RCPT: one of two refused for good",
  "partial: recipient_refused in rcpt; 1 delivered",
  rcpt(["250 ok", "550 no"]),
  {
    request: TWO,
    check: (_, wires) =>
      wires[0]?.deliveries[0]?.to.join() === "a@example.net" ? [] : ["delivered to the wrong ones"],
  },
);
scenario(
  "RCPT: one of two refused for now",
  "partial, again: recipient_refused in rcpt; 1 delivered",
  rcpt(["450 later", "250 ok"]),
  { request: TWO },
);
scenario(
  "RCPT: one for now, one for good",
  deferred("recipient_refused", "rcpt"),
  rcpt(["550 no", "450 later"], "554 none"),
  { request: TWO },
);
scenario(
  "RCPT: 250, 251, 252",
  accepted(),
  rcpt(["250 ok", "251 will forward", "252 cannot verify"]),
  { request: THREE },
);
scenario("RCPT: 2yz that nobody knows", accepted(), rcpt(["299 fine"]));
scenario("RCPT: 354", deferred("protocol_error", "rcpt"), rcpt(["354 go on"]));
scenario(
  "RCPT: all refused, 354 all the same",
  rejected("recipient_refused", "rcpt"),
  rcpt(["550 no"]),
  { request: TWO },
);
scenario(
  "RCPT: all refused, 354, and 250 to the lone dot",
  rejected("recipient_refused", "rcpt"),
  { on: { RCPT: "550 no", nothing: "250 taken" } },
  { request: TWO },
);
scenario(
  "RCPT: all refused, 354, then silence",
  rejected("recipient_refused", "rcpt"),
  { on: { RCPT: "550 no", nothing: silence } },
  { request: TWO, timeLeft: SHORT },
);
scenario(
  "RCPT: one refused where all or none is asked",
  rejected("recipient_refused", "rcpt"),
  rcpt(["250 ok", "550 no"]),
  { request: { ...TWO, partial: "refuse" } },
);
scenario(
  "RCPT: too many for one transaction",
  accepted(2),
  rcpt(["250 ok", "452 4.5.3 too many recipients", "250 ok"]),
  { request: TWO },
);
scenario(
  "RCPT: too many, always",
  "partial, again: recipient_refused in rcpt; 1 delivered",
  rcpt(["250 ok", "452 4.5.3 too many recipients"]),
  { request: TWO },
);
scenario("RCPT: silence", deferred("timeout", "rcpt"), rcpt([silence]), { timeLeft: SHORT });
scenario(
  "RCPT: closed after the first",
  deferred("connection_lost", "rcpt"),
  rcpt(["250 ok", close]),
  { request: TWO },
);
scenario(
  "RCPT: one byte a second",
  deferred("timeout", "rcpt"),
  rcpt([slowly("250 ok\r\n", 1000)]),
  { timeLeft: SHORT },
);

// ---------------------------------------------------------------- DATA and content

const data = (act: Act): Partial<Script> => ({ on: { DATA: act } });
scenario("DATA: 250", deferred("protocol_error", "data"), data("250 taken"));
scenario("DATA: 421", deferred("data_refused", "data"), data("421 closing"));
scenario("DATA: 451", deferred("data_refused", "data"), data("451 later"));
scenario("DATA: 503", rejected("data_refused", "data"), data("503 no"));
scenario("DATA: 554", rejected("data_refused", "data"), data("554 no"));
scenario("DATA: closed", deferred("connection_lost", "data"), data(close));
scenario("DATA: silence", deferred("timeout", "data"), data(silence), { timeLeft: SHORT });
scenario(
  "DATA: 354 and a reply, glued",
  deferred("protocol_error", "content"),
  data((wire) => {
    wire.write("354 go on\r\n250 taken\r\n");
    wire.invited = true;
  }),
);
scenario(
  "DATA: 354 and 421, glued",
  deferred("connection_lost", "content"),
  data((wire) => {
    wire.write("354 go on\r\n421 closing\r\n");
    wire.invited = true;
  }),
);

const piece = (on: (wire: Wire) => void): Partial<Script> => {
  let met = false;
  return {
    onContent: (wire) => {
      if (!met) on(wire);
      met = true;
    },
  };
};
scenario(
  "content: reset in the middle",
  deferred("connection_lost", "content"),
  data(async (wire) => {
    wire.stall();
    wire.say("354 go on");
    await pause(100);
    wire.reset();
  }),
  { request: LARGE },
);
scenario(
  "content: closed in the middle",
  deferred("connection_lost", "content"),
  data(async (wire) => {
    wire.stall();
    wire.say("354 go on");
    await pause(100);
    wire.cut();
  }),
  { request: LARGE },
);
scenario(
  "content: never read",
  deferred("timeout", "content"),
  data((wire) => {
    wire.stall();
    wire.say("354 go on");
  }),
  { request: LARGE, timeLeft: 10_000, deaf: true },
);
scenario(
  "content: read slowly, and taken",
  accepted(),
  {
    ...piece((wire) => {
      wire.stall();
      void pause(200).then(() => wire.resume());
    }),
  },
  { request: LARGE },
);
scenario(
  "content: refused before its end",
  rejected("content_refused", "content"),
  { ...piece((wire) => wire.say("552 5.3.4 too much")) },
  { request: LARGE },
);
scenario(
  "content: deferred before its end",
  deferred("content_refused", "content"),
  { ...piece((wire) => wire.say("452 4.3.1 disk full")) },
  { request: LARGE },
);
scenario(
  "content: 250 before its end",
  deferred("protocol_error", "content"),
  { ...piece((wire) => wire.say("250 taken already")) },
  { request: LARGE },
);

const final = (act: Act): Partial<Script> => ({ on: { content: act } });
/** The message is taken, and then this. */
const kept =
  (act: Act): Act =>
  async (wire, line) => {
    wire.keep();
    if (typeof act === "string") wire.say(act);
    else await act(wire, line);
  };
for (const code of [200, 250, 251, 252, 299])
  scenario(`final: ${code}`, accepted(), final(`${code} fine`));
for (const code of [400, 421, 450, 451, 452, 454, 471, 499])
  scenario(`final: ${code}`, deferred("content_refused", "content"), final(`${code} later`));
for (const code of [500, 501, 503, 521, 541, 550, 551, 552, 553, 554, 571, 599])
  scenario(`final: ${code}`, rejected("content_refused", "content"), final(`${code} never`));
scenario("final: 530", person("auth_required", "content"), final("530 log in"));
for (const code of ["000", "100", "199", "300", "354", "399", "600", "999"])
  scenario(`final: ${code}`, uncertain(), final(`${code} who knows`));
scenario("final: 221, as if to QUIT", uncertain(1), final("221 bye"));
scenario("final: 2zz", uncertain(1), final(kept("2zz Ok")));
scenario("final: mixed codes, 250 then 550", uncertain(1), final("250-Ok\r\n550 no"));
scenario("final: mixed codes, 550 then 250", uncertain(1), final(kept("550-no\r\n250 Ok")));
scenario("final: code alone", accepted(), final("250"));
scenario("final: bare LF", accepted(), final(kept(bytes("250-Ok\n250 queued\n"))));
scenario("final: no final line, silence", uncertain(1), final(kept(bytes("250-Ok\r\n"))), {
  timeLeft: SHORT,
});
scenario("final: no final line, closed", uncertain(1), final(kept(lastly("250-Ok\r\n", close))));
scenario("final: half a line, closed", uncertain(1), final(kept(lastly("250 O", close))));
scenario("final: half a line, cut", uncertain(1), final(kept(lastly("250 Ok", cut))));
scenario("final: tab for a separator", uncertain(1), final(kept("250\tOk")));
scenario("final: digits of another script", uncertain(1), final(kept("２５０ Ok")));
scenario("final: binary", uncertain(), final(bytes(BINARY)));
scenario("final: silence, and taken", uncertain(1), final(kept(silence)), { timeLeft: SHORT });
scenario("final: silence, and dropped", uncertain(), final(silence), { timeLeft: SHORT });
scenario("final: one byte a second", uncertain(1), final(kept(slowly("250 Ok\r\n", 1000))), {
  timeLeft: SHORT,
});
scenario(
  "final: after the timeout",
  uncertain(1),
  final(
    kept(async (wire) => {
      await pause(SHORT + 300);
      wire.say("250 Ok");
    }),
  ),
  { timeLeft: SHORT },
);
scenario("final: 10 MB without a line end", uncertain(), final(huge));
scenario("final: endless lines", uncertain(), final(endless(250)));
scenario("final: reset, and taken", uncertain(1), final(kept(reset)));
scenario("final: reset, and dropped", uncertain(), final(reset));
scenario("final: closed, and taken", uncertain(1), final(kept(close)));
scenario("final: cut without close_notify", uncertain(1), final(kept(cut)));
scenario("final: half-close, and taken", uncertain(1), final(kept((wire) => wire.end())));
scenario("final: 250, then reset", accepted(), final(kept(lastly("250 Ok\r\n", reset))));
scenario(
  "final: 250, then cut without close_notify",
  accepted(),
  final(kept(lastly("250 Ok\r\n", cut))),
);
scenario("final: 250, then half-close", accepted(), final(kept(lastly("250 Ok\r\n", close))));
scenario("final: two replies, glued", accepted(), final(kept("250 Ok\r\n550 no, after all")));
scenario("final: 250 and 421, glued", accepted(), final(kept("250 Ok\r\n421 closing")));
scenario(
  "final: 250 and binary, glued",
  accepted(),
  final(kept(bytes(Buffer.concat([Buffer.from("250 Ok\r\n"), BINARY])))),
);

// ---------------------------------------------------------------- BDAT

const CHUNKING = ["PIPELINING", "CHUNKING", "AUTH LOGIN", "SIZE 50000000"];
const bdat = (on: Readonly<Record<string, Act | readonly Act[]>>): Partial<Script> => ({
  offers: CHUNKING,
  on: {
    AUTH: async (wire) => {
      wire.say("334 UGFzc3dvcmQ6");
      await wire.line();
      wire.say("235 ok");
    },
    ...on,
  },
});
const CHUNKED: Extra = { mailbox: { chunking: "auto" } };
scenario("BDAT: taken", accepted(), bdat({}), CHUNKED);
scenario(
  "BDAT: refused",
  rejected("content_refused", "content"),
  bdat({ BDAT: "554 no" }),
  CHUNKED,
);
scenario(
  "BDAT: deferred",
  deferred("content_refused", "content"),
  bdat({ BDAT: "452 disk full" }),
  CHUNKED,
);
scenario(
  "BDAT: MAIL refused in the flight",
  rejected("sender_refused", "mail"),
  bdat({ MAIL: "550 no", RCPT: "503 no", BDAT: "503 no" }),
  CHUNKED,
);
scenario(
  "BDAT: every recipient refused in the flight",
  rejected("recipient_refused", "rcpt"),
  bdat({ RCPT: "550 no", BDAT: "554 nobody" }),
  CHUNKED,
);
scenario(
  "BDAT: one recipient refused in the flight",
  "partial: recipient_refused in rcpt; 1 delivered",
  bdat({ RCPT: ["250 ok", "550 no"] }),
  { ...CHUNKED, request: TWO },
);
/** The verdict on the content is there before the content is: nothing waits for the rest of it. */
const midway = (verdict: string, closing: boolean): Partial<Script> =>
  bdat({
    RCPT: (wire) => {
      wire.write(`250 ok\r\n${verdict}\r\n`);
      if (closing) wire.end();
    },
    BDAT: () => {},
  });
scenario(
  "BDAT: refused midway",
  rejected("content_refused", "content"),
  midway("552 5.3.4 too much", false),
  CHUNKED,
);
scenario(
  "BDAT: refused midway, and closed",
  rejected("content_refused", "content"),
  midway("552 5.3.4 too much", true),
  CHUNKED,
);
scenario(
  "BDAT: deferred midway",
  deferred("content_refused", "content"),
  midway("452 4.3.1 disk full", false),
  CHUNKED,
);
scenario("BDAT: 354", uncertain(), bdat({ BDAT: "354 go on" }), CHUNKED);
scenario(
  "BDAT: 421",
  deferred("content_refused", "content"),
  bdat({ BDAT: "421 closing" }),
  CHUNKED,
);
scenario("BDAT: mixed codes", uncertain(1), bdat({ BDAT: "250-ok\r\n550 no" }), CHUNKED);
scenario("BDAT: silence", uncertain(), bdat({ BDAT: silence }), { ...CHUNKED, timeLeft: SHORT });
scenario("BDAT: reset, and taken", uncertain(1), bdat({ BDAT: kept(reset) }), CHUNKED);
scenario("BDAT: closed midway", uncertain(), bdat({ RCPT: close }), CHUNKED);
scenario(
  "BDAT: offered before STARTTLS and not after",
  accepted(),
  {
    ...clear,
    offersInClear: ["STARTTLS", "CHUNKING", "PIPELINING"],
    offers: ["PIPELINING", "AUTH PLAIN"],
  },
  CHUNKED,
);

// ---------------------------------------------------------------- leaving

const quit = (act: Act): Partial<Script> => ({ on: { QUIT: act } });
scenario("QUIT: unanswered", accepted(), quit(silence));
scenario("QUIT: 500", accepted(), quit("500 no"));
scenario("QUIT: 421", accepted(), quit("421 closing"));
scenario("QUIT: reset", accepted(), quit(reset));
scenario("QUIT: cut without close_notify", accepted(), quit(cut));
scenario("QUIT: closed unanswered", accepted(), quit(close));
scenario("QUIT: 10 MB", accepted(), quit(huge));
scenario("QUIT: one byte a second", accepted(), quit(slowly("221 bye\r\n", 1000)));
scenario("QUIT: binary", accepted(), quit(bytes(BINARY)));

// ---------------------------------------------------------------- several relays

const honest: Partial<Script> = {};
relays("relays: the first greets with 421, the second takes it", accepted(), [
  { greeting: "421 busy" },
  honest,
]);
relays(
  "relays: the first says nothing, the second takes it",
  accepted(),
  [{ greeting: silence }, honest],
  { timeLeft: 5_000 },
);
relays("relays: the first shows another's certificate", accepted(), [
  ({ wrongName }) => ({ identity: wrongName }),
  honest,
]);
relays(
  "relays: the first refuses the login, the second is not asked",
  person("auth_failed", "auth"),
  [auth("535 no", ["AUTH PLAIN"]), honest],
  { check: (_, wires) => (wires.length === 1 ? [] : ["the second relay was asked"]) },
);
relays(
  "relays: the first loses the reply, the second is not asked",
  uncertain(1),
  [final(kept(reset)), honest],
  { check: (_, wires) => (wires.length === 1 ? [] : ["the second relay was asked"]) },
);
relays(
  "relays: the first refuses the message, the second is not asked",
  rejected("content_refused", "content"),
  [final("554 no"), honest],
  { check: (_, wires) => (wires.length === 1 ? [] : ["the second relay was asked"]) },
);
relays("relays: STARTTLS stripped on the first", accepted(), [
  { ...clear, offersInClear: ["AUTH PLAIN"] },
  { ...clear },
]);

// ---------------------------------------------------------------- hostile callers

const caller = (
  name: string,
  request: unknown,
  expected = rejected("invalid_request", "request"),
) =>
  scenario(`caller: ${name}`, expected, honest, {
    request,
    check: (_, wires) => (wires.length === 0 ? [] : ["a socket was opened"]),
  });
caller("CRLF in an address", { to: "a@example.net>\r\nRCPT TO:<evil@example.net", text: "x" });
caller("CRLF in a quoted local part", { to: '"a\r\nDATA"@example.net', text: "x" });
caller("NUL in an address", { to: "a\0@example.net", text: "x" });
caller("a parameter behind an address", { to: "a@example.net> NOTIFY=NEVER", text: "x" });
caller("CRLF in a header", {
  to: "a@example.net",
  text: "x",
  headers: { "X-A": "1\r\nBcc: evil@example.net" },
});
caller("Bcc as a header", { to: "a@example.net", text: "x", headers: { Bcc: "evil@example.net" } });
caller("a host of its own", { to: "a@example.net", text: "x", host: "evil.test" });
caller("a path for an attachment", {
  to: "a@example.net",
  text: "x",
  attachments: [{ filename: "x", path: "/etc/passwd" }],
});
caller("a comment behind an address", {
  to: "a@example.net (RCPT TO:<evil@example.net>)",
  text: "x",
});
caller("an address without an end", { to: `${"a".repeat(70_000)}@example.net`, text: "x" });
caller("a line separator in an address", { to: "a\u2028b@example.net", text: "x" });
caller("CRLF in the envelope id", {
  to: "a@example.net",
  text: "x",
  dsn: { envelopeId: "x\r\nRSET" },
});
caller(
  "a foreign sender",
  { from: "ceo@example.org", to: "a@example.net", text: "x" },
  rejected("sender_not_allowed", "policy"),
);
scenario(
  "caller: UTF-8 in an address, and no SMTPUTF8",
  rejected("extension_unavailable", "mail"),
  honest,
  {
    request: { ...REQUEST, to: "李@example.net" },
    check: never(/^(MAIL|RCPT)/),
  },
);
caller(
  "a foreign sender in a raw message",
  {
    to: "a@example.net",
    raw: Buffer.from("From: shop@example.com, ceo@example.org\r\nSubject: x\r\n\r\nx\r\n").toString(
      "base64",
    ),
  },
  rejected("sender_not_allowed", "policy"),
);

export const SCENARIOS: readonly Scenario[] = scenarios;
