/**
 * Mutants that no test notices, and why none should: what becomes of the code says the same in other
 * words, or cannot be reached.
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
];
