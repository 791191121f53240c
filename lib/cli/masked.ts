/**
 * A mailbox's secret, fit to be shown. Rule guarded here: what is not known to be harmless is masked,
 * so that a field which is misspelt, or new, gives nothing away.
 */
const MASK = "***";

/** Fields whose value may be seen; of an object, those of its fields. */
const HARMLESS: Readonly<Record<string, true | readonly string[]>> = {
  host: true,
  port: true,
  username: true,
  security: true,
  from: true,
  allowedFrom: true,
  auth: true,
  allowPlaintextAuth: true,
  oauth2: ["tokenEndpoint", "clientId", "grantType", "scope"],
  tls: ["ca", "cert", "servername", "minVersion"],
  ehloName: true,
  chunking: true,
  dkim: ["domain", "selector"],
  maxRecipients: true,
  maxMessageBytes: true,
  maxPerMinute: true,
};

/** @param secret the `SecretString`; what is no JSON object is masked whole */
export function maskedSecret(secret: string): unknown {
  let given: unknown;
  try {
    given = JSON.parse(secret);
  } catch {
    return MASK;
  }
  if (!isRecord(given)) return MASK;
  return mapped(given, (name, value) => {
    if (name === "proxy" && typeof value === "string") return proxy(value);
    const shown = Object.hasOwn(HARMLESS, name) ? HARMLESS[name] : undefined;
    if (shown === undefined) return MASK;
    return shown === true ? value : parts(value, shown);
  });
}

function parts(value: unknown, shown: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((one) => parts(one, shown));
  if (!isRecord(value)) return MASK;
  return mapped(value, (name, part) => (shown.includes(name) ? part : MASK));
}

function proxy(value: string): string {
  return URL.canParse(value) && !value.includes("@")
    ? value
    : value.replace(/\/\/.*@|^(?!.*\/\/).*$/, `//${MASK}@`);
}

function mapped(
  record: Readonly<Record<string, unknown>>,
  map: (name: string, value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, map(name, value)]),
  );
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
