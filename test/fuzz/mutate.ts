/** Inputs out of the corpus: cut, doubled, spliced and sprinkled with what means something. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";

const CORPUS = new URL("./corpus/", import.meta.url);
const EVENTS = new URL("../../infra/local/events/", import.meta.url);

export function seeds(prefix: string): readonly Buffer[] {
  return readdirSync(CORPUS)
    .filter((name) => name.startsWith(prefix))
    .sort()
    .map((name) => readFileSync(new URL(name, CORPUS)));
}

export function jsonSeeds(prefix: string): readonly unknown[] {
  return seeds(prefix).map((seed): unknown => JSON.parse(seed.toString("utf8")));
}

/** What Lambda is invoked with, the local stack's samples included. */
export function eventSeeds(): readonly unknown[] {
  const samples = readdirSync(EVENTS).sort();
  return [
    ...jsonSeeds("event-"),
    ...samples.map((name): unknown => JSON.parse(readFileSync(new URL(name, EVENTS), "utf8"))),
  ];
}

/** What a parser of mail may trip over, whichever it is. */
export const TOKENS: readonly string[] = [
  ...'\r|\n|\r\n|\0|\t| |-|.|,|;|:|=|<|>|(|)|"|\\|@|[|]|%|+|{|}'.split("|"),
  ..."\r\n.\r\n|\n.\n|\r.\r|\r\n |\r\n\t|250|250-|250 |354 go\r\n|421 |535 |334 |2zz".split("|"),
  ..."=?utf-8?q?|?=|=?x?b?|From: |Bcc: |To: |xn--|__proto__|constructor|999999999999".split("|"),
  ...'r=|s=|i=|v=|m=|e=|nonce="|qop=|AUTH PLAIN|SIZE |LIMITS RCPTMAX=|STARTTLS'.split("|"),
  "\u2028",
  "\ufeff",
  "\ud83c",
  "例子",
  "é",
  "x".repeat(1000),
  "250-x\r\n".repeat(100),
  "\uffff",
];
const PIECES = TOKENS.map((token) => Buffer.from(token, "utf8"));

interface Edit {
  readonly kind: number;
  readonly at: number;
  readonly length: number;
  readonly pick: number;
}

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.nat(6),
  at: fc.nat(0xffff),
  length: fc.nat(64),
  pick: fc.nat(0xffff),
});

/** A seed with some edits; it shrinks to fewer of them. */
export function octetsFrom(from: readonly Buffer[]): fc.Arbitrary<Buffer> {
  return fc
    .tuple(fc.nat(from.length - 1), fc.array(edit, { maxLength: 6 }))
    .map(([seed, edits]) =>
      edits.reduce((octets, each) => apply(octets, each, from), from[seed] as Buffer),
    );
}

function apply(octets: Buffer, { kind, at, length, pick }: Edit, from: readonly Buffer[]): Buffer {
  const start = octets.length === 0 ? 0 : at % (octets.length + 1);
  const [before, after] = [octets.subarray(0, start), octets.subarray(start)];
  switch (kind) {
    case 0:
      return Buffer.concat([before, PIECES[pick % PIECES.length] as Buffer, after]);
    case 1:
      return Buffer.concat([before, after.subarray(length)]);
    case 2:
      // Doubled until it hurts, not until nothing else can be tried.
      return Buffer.concat([
        before,
        ...Array.from({ length: pick % 40 }, () => after.subarray(0, length)),
        after,
      ]);
    case 3:
      return Buffer.concat([before, Buffer.of(pick & 0xff), after.subarray(1)]);
    case 4:
      return before;
    case 5: {
      const other = from[pick % from.length] as Buffer;
      return Buffer.concat([before, other.subarray(at % (other.length + 1))]);
    }
    default:
      return Buffer.concat([before, Buffer.of(pick & 0xff, length, at & 0xff), after]);
  }
}

/** Text by octets, whatever they are. */
export function textFrom(from: readonly Buffer[]): fc.Arbitrary<string> {
  return octetsFrom(from).map((octets) => octets.toString("utf8"));
}

const hostileText: fc.Arbitrary<string> = fc
  .array(fc.oneof(fc.constantFrom(...TOKENS), fc.string({ unit: "binary", maxLength: 12 })), {
    maxLength: 6,
  })
  .map((parts) => parts.join(""));

const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: hostileText },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      null,
      undefined,
      true,
      0,
      -1,
      1.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 53,
      [],
      {},
      [[[[[[[]]]]]]],
      [null],
      JSON.parse('{"__proto__":{"polluted":true},"constructor":1}'),
      Array.from({ length: 300 }, (_, at) => `a${at}@example.net`),
    ),
  },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

/** A seed with values put in other values' places, under known names and unknown ones. */
export function valuesFrom(from: readonly unknown[]): fc.Arbitrary<unknown> {
  const change = fc.tuple(fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), hostileValue);
  return fc
    .tuple(fc.nat(from.length - 1), fc.array(change, { maxLength: 4 }))
    .map(([seed, changes]) =>
      changes.reduce((value, [path, put]) => replace(value, path, put), from[seed]),
    );
}

function replace(value: unknown, path: readonly number[], put: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined || typeof value !== "object" || value === null) return put;
  if (Array.isArray(value)) {
    const at = first % (value.length + 1);
    return value.toSpliced(at, 1, replace(value[at], rest, put));
  }
  const names = [...Object.keys(value), "unknown", "__proto__"];
  const name = names[first % names.length] as string;
  const changed: unknown = replace((value as Record<string, unknown>)[name], rest, put);
  return Object.fromEntries([
    ...Object.entries(value).filter(([own]) => own !== name),
    [name, changed],
  ]);
}
