/** What a server's EHLO keywords mean to somebody who sends mail through it. */
const WORDS: Readonly<Record<string, string>> = {
  PIPELINING: "takes several commands in one go, which saves round trips",
  "8BITMIME": "takes 8-bit content as it is (RFC 6152)",
  SMTPUTF8: "takes addresses in any script, such as 用户@例子.测试 (RFC 6531)",
  CHUNKING: 'takes content by count (BDAT); "chunking": "auto" saves a round trip',
  BINARYMIME: "takes binary content (not used)",
  DSN: "can report delivery, delay and failure on request (dsn)",
  ENHANCEDSTATUSCODES: "gives reasons in the form 5.1.1 (RFC 2034)",
  STARTTLS: "can begin TLS on this port",
  REQUIRETLS: "can be told to pass the message on by TLS only (requireTls)",
  "MT-PRIORITY": "heeds priorities (priority)",
  DELIVERBY: "heeds delivery deadlines (deliverBy)",
  FUTURERELEASE: "can hold a message back (holdFor)",
  LIMITS: "tells its limits beforehand",
  AUTH: "",
  SIZE: "",
};

/** One line for each that is known; the others by name. */
export function explainCapabilities(
  capabilities: Readonly<Record<string, readonly string[]>>,
): readonly string[] {
  const names = Object.keys(capabilities);
  const known = names.filter((name) => WORDS[name]);
  const others = names.filter((name) => WORDS[name] === undefined);
  const width = Math.max(0, ...known.map((name) => name.length));
  return [
    ...known.map((name) => `${name.padEnd(width)}  ${WORDS[name]}`),
    ...(others.length > 0 ? [`also: ${others.join(" ")}`] : []),
  ];
}
