/**
 * Mutants that no test notices, and why: what becomes of the code says the same in other words, or
 * cannot be reached; or it is owed a test, and says so.
 */
export interface Survivor {
  readonly file: string;
  readonly why: string;
  /** `code → what became of it`, white space squeezed. */
  readonly mutants: readonly string[];
}

const UNREACHABLE = '"" → "Stryker was here!"';

export const SURVIVORS: readonly Survivor[] = [
  {
    file: "lib/sasl/bearer.ts",
    why: "No token is no token, whether it is empty or has spaces in it.",
    mutants: [UNREACHABLE],
  },
  {
    file: "lib/sasl/digest-md5.ts",
    why: "The proof expected is set before it is compared, and one that is missing is wrong by any name.",
    mutants: [UNREACHABLE, UNREACHABLE],
  },
  {
    file: "lib/sasl/digest-md5.ts",
    why: "A state that is none of the others, under whichever name.",
    mutants: ['"over" → ""'],
  },
  {
    file: "lib/sasl/digest-message.ts",
    why: "Where the expression matches, it has both groups; where it does not, they are not looked at.",
    mutants: [UNREACHABLE, UNREACHABLE],
  },
  {
    file: "lib/sasl/oauthbearer.ts",
    why: "Without a token it has been refused a line before; TypeScript asks for a default.",
    mutants: [UNREACHABLE],
  },
  {
    file: "lib/sasl/xoauth2.ts",
    why: "Without a token it has been refused a line before; TypeScript asks for a default.",
    mutants: [UNREACHABLE],
  },
  {
    file: "lib/sasl/octets.ts",
    why: "A function that ends without a return returns undefined.",
    mutants: ["{ return undefined; } → {}", "{ return undefined; } → {}"],
  },
  {
    file: "lib/sasl/plain.ts",
    why: "Without a password the first condition has said no; the question mark is TypeScript's.",
    mutants: ["text?.includes → text.includes"],
  },
  {
    file: "lib/sasl/scram-message.ts",
    why: "What is split has a first part; TypeScript asks for a default.",
    mutants: [UNREACHABLE, UNREACHABLE],
  },
  {
    file: "lib/sasl/scram.ts",
    why: "OpenSSL knows each of its digests by all of these names.",
    mutants: [
      'hash.replace("-", "").toLowerCase() → hash.replace("-", "").toUpperCase()',
      '"-" → ""',
    ],
  },
  {
    file: "lib/sasl/scram.ts",
    why: "A state that is none of the others, under whichever name.",
    mutants: ['"over" → ""'],
  },
  {
    file: "lib/smtp/agenda.ts",
    why: "An index that is always there; TypeScript asks what would be otherwise.",
    mutants: [
      '[] → ["Stryker was here"]',
      '[] → ["Stryker was here"]',
      "this.#notes[message]?.push → this.#notes[message].push",
    ],
  },
  {
    file: "lib/smtp/authenticate.ts",
    why: "A reply has a first line; TypeScript asks for a default.",
    mutants: ['"" → "Stryker was here!"'],
  },
  {
    file: "lib/smtp/authenticate.ts",
    why: "Only a fault of the program's own would tell them apart, and it ends the session all the same; the phase of a cancellation that fails is shown nowhere.",
    mutants: [
      "!(error instanceof SaslError) → false",
      '"auth" → ""',
      "{ if (!(error instanceof SmtpError)) throw error; } → {}",
      "!(error instanceof SmtpError) → false",
    ],
  },
  {
    file: "lib/smtp/authenticate.ts",
    why: "A token too long for a response: no token of a provider's is, and the reason is in the error's sentence only.",
    mutants: ['"the response is too long to send" → ""'],
  },
  {
    file: "lib/smtp/authenticate.ts",
    why: "300 is a 3xx, and those were answered as challenges before.",
    mutants: ["reply.code < 300 → reply.code <= 300"],
  },
  {
    file: "lib/smtp/capabilities.ts",
    why: "What is split has a first part, no word is no limit, and what is no text is no number either way.",
    mutants: ['"" → "Stryker was here!"', '[] → ["Stryker was here"]', "text !== undefined → true"],
  },
  {
    file: "lib/smtp/capabilities.ts",
    why: "What is no number becomes NaN, which is no limit either.",
    mutants: ["/^\\d{1,15}$/ → /^\\d{1,15}/"],
  },
  {
    file: "lib/smtp/capabilities.ts",
    why: "Spaces around a line and odd keywords lead to names that nobody asks for.",
    mutants: ["reply?.lines[0]?.trim → reply?.lines[0].trim"],
  },
  {
    file: "lib/smtp/command.ts",
    why: "What a person is shown of `*` and of the final dot; the octets are another constant. The transcript over a socket holds them (test/smtp/socket.test.ts).",
    mutants: ['"*" → ""', '"." → ""'],
  },
  {
    file: "lib/smtp/dialogue.ts",
    why: "Where the expression matches, it has its groups, and a text with `***` in it has two sides; where it does not match, nothing is looked at. A conversation has a first line.",
    mutants: [
      UNREACHABLE,
      '[] → ["Stryker was here"]',
      UNREACHABLE,
      UNREACHABLE,
      "lines[0]?.from → lines[0].from",
    ],
  },
  {
    file: "lib/smtp/io/ahead.ts",
    why: "Nothing pending is nothing greeted, and nothing greeted is no good; an ended wait says nothing; it is closed at once, since nobody listens; and of a fault here nobody is told, neither its phase nor where its time went.",
    mutants: [
      "pending === undefined → false",
      "greeted !== undefined → true",
      "{ return undefined; } → {}",
      "false → true",
      "watch.connecting(); → ;",
      '"connect" → ""',
    ],
  },
  {
    file: "lib/smtp/io/ahead.ts",
    why: "Not mended yet: one instant of five seconds.",
    mutants: [
      "greeted.watch.elapsed() < greeted.readyMs + GOOD_MS → greeted.watch.elapsed() <= greeted.readyMs + GOOD_MS",
    ],
  },
  {
    file: "lib/smtp/io/binding.ts",
    why: "A certificate has a signature behind its algorithm, so that no header is its last octets; what is not there has no OID either.",
    mutants: [
      "algorithm?.start → algorithm.start",
      "first === undefined → false",
      "offset + 2 + count > der.length → offset + 2 + count >= der.length",
    ],
  },
  {
    file: "lib/smtp/io/connection.ts",
    why: "From dialling, or the handshake, to where a socket is listened to only promises are settled: it cannot end meanwhile, and one that is there has a protocol.",
    mutants: [
      "socket.destroyed || socket.readableEnded → false",
      "socket.destroyed || socket.readableEnded → socket.destroyed && socket.readableEnded",
      "this.#onEnd(); → ;",
      '"unknown" → ""',
    ],
  },
  {
    file: "lib/smtp/io/connection.ts",
    why: "A socket that TLS reads in its stead tells of its close only; and of one that we close nobody asks what else it brings.",
    mutants: ['"data" → ""', '"end" → ""', '"error" → ""'],
  },
  {
    file: "lib/smtp/io/dns.ts",
    why: "What has expired is asked for again whether it is kept or not; of no addresses none is looked at; nothing is dialled before there are addresses; and a socket connects once.",
    mutants: [
      "this.#known.delete(host); → ;",
      "found[0]?.family → found[0].family",
      "found[0]?.family → found[0].family",
      '[] → ["Stryker was here"]',
      '"connect" → ""',
    ],
  },
  {
    file: "lib/smtp/io/driver.ts",
    why: "Every conversation begins by reading the greeting, or with a handshake, before which nothing leaves.",
    mutants: ['"greeting" → ""'],
  },
  {
    file: "lib/smtp/io/driver.ts",
    why: "No octets encode to none and add none; they are passed over to save the call.",
    mutants: ["piece.length === 0 → false", "octets.length === 0 → false"],
  },
  {
    file: "lib/smtp/io/driver.ts",
    why: "That the two differ has just been found.",
    mutants: ["encoder.size > content.size → encoder.size >= content.size"],
  },
  {
    file: "lib/smtp/io/own-name.ts",
    why: "An interface has a list of addresses; TypeScript asks for a default.",
    mutants: ['[] → ["Stryker was here"]'],
  },
  {
    file: "lib/smtp/io/proxy.ts",
    why: "A host of a URL has its brackets at its ends and nowhere else; Node takes no final answer below 200; what is put back empty is nothing; and dialling throws no other error.",
    mutants: [
      "/^\\[|\\]$/g → /\\[|\\]$/g",
      "/^\\[|\\]$/g → /^\\[|\\]/g",
      "statusCode < 200 → false",
      "head.length > 0 → true",
      "head.length > 0 → head.length >= 0",
      "!(error instanceof SmtpError) → false",
    ],
  },
  {
    file: "lib/smtp/io/proxy.ts",
    why: "Not mended yet: a proxy that is silent for as long as the limit, and octets that overtake others.",
    mutants: [
      "PHASE_TIMEOUTS.connect - (performance.now() - begun) → PHASE_TIMEOUTS.connect + (performance.now() - begun)",
      '"connect" → ""',
      '"The proxy did not open a tunnel" → ""',
      "socket.pause(); → ;",
    ],
  },
  {
    file: "lib/smtp/io/stopwatch.ts",
    why: "As long as nothing has been settled it runs on, open or not; and the two ends of a transaction are set together.",
    mutants: [
      "false → true",
      "from !== undefined && to !== undefined → from !== undefined || to !== undefined",
      "from !== undefined → true",
      "to !== undefined → true",
    ],
  },
  {
    file: "lib/smtp/io/tls-sessions.ts",
    why: "A TLS 1.2 channel without a session keeps none in a place of its own, and none is none where it is taken; of no oldest server nothing is deleted.",
    mutants: ["session === undefined → false", "oldest !== undefined → true"],
  },
  {
    file: "lib/smtp/io/tls-sessions.ts",
    why: "Not mended yet: a test could notice.",
    mutants: ["this.#kept.delete(key); → ;"],
  },
  {
    file: "lib/smtp/envelope.ts",
    why: "The keyword has just been found there; the question mark is TypeScript's.",
    mutants: [
      'offered.keywords.get("DELIVERBY")?.[0] → offered.keywords.get("DELIVERBY")[0]',
      'offered.keywords.get("FUTURERELEASE")?.[0] → offered.keywords.get("FUTURERELEASE")[0]',
    ],
  },
  {
    file: "lib/smtp/envelope.ts",
    why: "No other error is thrown by what writes a line.",
    mutants: ["!(error instanceof CommandError) → false"],
  },
  {
    file: "lib/smtp/group.ts",
    why: "Set by the session, once EHLO has been answered and before the first command.",
    mutants: ["false → true"],
  },
  {
    file: "lib/smtp/redact.ts",
    why: "Base64 has its signs of equality at its end and nowhere else.",
    mutants: ["/=+$/ → /=+/", "/=+$/ → /=+/", "/=+$/ → /=+/"],
  },
  {
    file: "lib/smtp/redact.ts",
    why: "What follows a proof is a comma, a space or the end; the group is there wherever the expression matches.",
    mutants: [
      "/(?:^|[,\\s])(?:p=|response=)?([A-Za-z0-9+/]{27,}={0,2})(?=$|[,\\s])/g → /(?:^|[,\\s])(?:p=|response=)?([A-Za-z0-9+/]{27,}={0,2})(?=$|[,\\S])/g",
      "proof → true",
    ],
  },
  {
    file: "lib/smtp/reply.ts",
    why: "A reply has a first line; a failed decoder is read no further; and at the bounds of GBK's octets its own decoder says the same.",
    mutants: [
      '[] → ["Stryker was here"]',
      '"" → "Stryker was here!"',
      "(octets[i] as number) < 0x80 → octets[i] as number <= 0x80",
      "(octets[i - 1] as number) < 0xa1 → false",
      "(octets[i - 1] as number) < 0xa1 → octets[i - 1] as number <= 0xa1",
      "(octets[i] ?? 0) < 0xa1 → (octets[i] ?? 0) <= 0xa1",
    ],
  },
  {
    file: "lib/smtp/session.ts",
    why: "Only a fault of the program's own would tell them apart.",
    mutants: [
      "{ // The outcome is settled; how the server says goodbye changes nothing (RFC 5321 §4.1.1.10). if (!(error instanceof SmtpError)) throw error; } → {}",
      "!(error instanceof SmtpError) → false",
    ],
  },
  {
    file: "lib/smtp/session.ts",
    why: "Not mended yet: a test could notice.",
    mutants: [
      "(m) => m.name → () => undefined",
      '", " → ""',
      "[...before] → []",
      "(name) => !refused.includes(name) → () => undefined",
    ],
  },
  {
    file: "lib/smtp/session.ts",
    why: "300 and 400 are replies to AUTH that no server gives; both are refusals of one kind or another.",
    mutants: ["reply.code < 300 → reply.code <= 300", "reply.code < 400 → reply.code <= 400"],
  },
  {
    file: "lib/smtp/session.ts",
    why: "After 421 the server has gone: a QUIT to it changes nothing that is told.",
    mutants: ["this.#error?.reply?.code === 421 → false"],
  },
  {
    file: "lib/smtp/session.ts",
    why: "Which deadline waits for the farewell: clocks are the driver's (test/smtp/connecting.test.ts).",
    mutants: ["alone → true", '"farewell" → ""', '"quit" → ""'],
  },
  {
    file: "lib/smtp/transaction.ts",
    why: "Not mended yet: it takes a mebibyte of content, which is no dialogue.",
    mutants: [
      "this.submission.content.size <= ONE_FLIGHT_OCTETS → true",
      "this.submission.content.size <= ONE_FLIGHT_OCTETS → this.submission.content.size < ONE_FLIGHT_OCTETS",
    ],
  },
  {
    file: "lib/smtp/transaction.ts",
    why: "Not mended yet: a test could notice.",
    mutants: [
      "recipient.fate === undefined → false",
      "(!this.#terminated || this.#settled) && this.recipients.every(({ fate }) => fate === undefined) → true",
      "(!this.#terminated || this.#settled) && this.recipients.every(({ fate }) => fate === undefined) → !this.#terminated || this.#settled || this.recipients.every(({ fate }) => fate === undefined)",
      "!this.#terminated || this.#settled → true",
      "this.recipients.every(({ fate }) => fate === undefined) → this.recipients.some(({ fate }) => fate === undefined)",
      "fate === undefined → true",
      'classOf(reply) === "success" → false',
      '"success" → ""',
      'error instanceof SmtpError && error.code === "content_refused" → true',
      'error instanceof SmtpError && error.code === "content_refused" → error instanceof SmtpError || error.code === "content_refused"',
      'error.code === "content_refused" → true',
      '"data" → ""',
      "{ this.#open = false; } → {}",
      "false → true",
      "error === undefined → false",
      '"" → "Stryker was here!"',
      "false → true",
      "!this.invited && !this.#terminated && this.recipients.length > 0 → true",
      "!this.invited && !this.#terminated && this.recipients.length > 0 → !this.invited && !this.#terminated || this.recipients.length > 0",
      "!this.invited && !this.#terminated → true",
      "!this.invited && !this.#terminated → !this.invited || !this.#terminated",
      "this.recipients.length > 0 → true",
      "this.recipients.length > 0 → this.recipients.length >= 0",
      '"data" → ""',
      '"rcpt" → ""',
    ],
  },
  {
    file: "lib/smtp/transaction.ts",
    why: "It is there wherever this is reached; the question mark is TypeScript's.",
    mutants: [
      "error?.unsent → error.unsent",
      "error?.reply → error.reply",
      "fate?.is → fate.is",
      'this.recipients.every( ({ fate }) => fate?.is === "refused" && fate.by === "mail" && fate.reply.code === 503, ) → this.recipients.some(({ fate }) => fate?.is === "refused" && fate.by === "mail" && fate.reply.code === 503)',
      'fate?.is === "refused" → true',
      "fate?.is → fate.is",
    ],
  },
  {
    file: "lib/smtp/transactions.ts",
    why: "Not mended yet: a test could notice.",
    mutants: [
      "this.#live.splice(this.#live.indexOf(following), 1); → ;",
      "this.#live.some(({ invited }) => invited) → this.#live.every(({ invited }) => invited)",
      "this.#live.some(({ open }) => open) → this.#live.every(({ open }) => open)",
      "this.#live.filter(({ untouched }) => !untouched) → this.#live",
      "({ untouched }) => !untouched → () => undefined",
      "!untouched → untouched",
      'this.loginRefused.then === "stop" → true',
      "transaction.disown(); → ;",
      "true → false",
      "{ return this.#drop; } → {}",
      "!following.oneFlight(this.#chunking) → true",
    ],
  },
  {
    file: "lib/smtp/transactions.ts",
    why: "Not mended yet: it takes more than a mebibyte or a hundred recipients, which is no dialogue.",
    mutants: [
      "octets += current.submission.content.size → octets -= current.submission.content.size",
      "octets > ONE_FLIGHT_OCTETS → false",
      "octets > ONE_FLIGHT_OCTETS → octets >= ONE_FLIGHT_OCTETS",
      "flown.every(({ recipients }) => recipients.length <= SURE_RECIPIENTS) → flown.some(({ recipients }) => recipients.length <= SURE_RECIPIENTS)",
      "recipients.length <= SURE_RECIPIENTS → true",
      "recipients.length <= SURE_RECIPIENTS → recipients.length < SURE_RECIPIENTS",
      "this.#agenda.overflow(transaction); → ;",
    ],
  },
  {
    file: "lib/smtp/transactions.ts",
    why: "It is there wherever this is reached; the question mark is TypeScript's.",
    mutants: [
      "current && flown.at(-1)?.open → true",
      "current && flown.at(-1)?.open → current || flown.at(-1)?.open",
      "flown.at(-1)?.open → flown.at(-1).open",
      "following?.outOfSequence → following.outOfSequence",
    ],
  },
  {
    file: "lib/smtp/transcript.ts",
    why: "The estimate of an entry's size errs on the safe side; that 64 KiB and 256 entries are kept within is a property (test/smtp/transcript.test.ts).",
    mutants: [
      "this.#tail[0]?.at ?? 0 → this.#tail[0]?.at && 0",
      "this.#tail[0]?.at → this.#tail[0].at",
      "this.#headOctets + cost <= half → this.#headOctets + cost < half",
      "this.#tailOctets > half - 2 * OVERHEAD → this.#tailOctets >= half - 2 * OVERHEAD",
      "half - 2 * OVERHEAD → half + 2 * OVERHEAD",
      "2 * OVERHEAD → 2 / OVERHEAD",
      "/^[ !#-[\\]-~]*$/.test(text) → false",
      "/^[ !#-[\\]-~]*$/ → /^[ !#-[\\]-~]$/",
      "text.length + 2 + OVERHEAD → text.length + 2 - OVERHEAD",
      "text.length + 2 → text.length - 2",
      "text.length <= limit → text.length < limit",
    ],
  },
  {
    file: "lib/smtp/transcript.ts",
    why: "Not mended yet: a test could notice.",
    mutants: ['"C" → ""'],
  },
];
