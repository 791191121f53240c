/**
 * What the documents say is held against the code: paths, variables, fields, codes, statuses and
 * examples. Whoever adds or removes one of them is told here which document to mend.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import * as z from "zod/mini";
import { environmentSchema, loadConfig } from "../../lib/config.ts";
import { requestJsonSchema } from "../../lib/message/json-schema.ts";
import { parseRequest } from "../../lib/message/schema.ts";
import { knownMechanisms } from "../../lib/sasl/select.ts";
import { PHASE_TIMEOUTS } from "../../lib/smtp/io/deadline.ts";
import { mailboxSchema, parseMailboxSecret } from "../../lib/submission/mailbox.ts";
import { fates, parseDialogue } from "../support/dialogue.ts";
import { anchorsOf, matches, prose } from "../support/markdown.ts";
import { playPure } from "../support/player.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DOCUMENTS = [
  "README.md",
  "README.zh-CN.md",
  "lib/REFERENCE.md",
  "CHANGELOG.md",
  "infra/README.md",
  "infra/RUNBOOK.md",
  "SECURITY.md",
  "lib/DECISIONS.md",
  "lib/client/README.md",
  "lib/smtp/README.md",
];

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
/** What a user reads, the page that begins and the one that has it all. */
const readme = `${read("README.md")}\n${read("lib/REFERENCE.md")}`;

const sorted = (words: Iterable<string>): readonly string[] => [...new Set(words)].sort();

/** From a heading to the next one of its own rank or a higher one. */
function section(heading: string): string {
  const rank = heading.split(" ")[0] as string;
  const start = readme.indexOf(`\n${heading}\n`);
  expect(start, `README.md or lib/REFERENCE.md has the heading "${heading}"`).toBeGreaterThan(-1);
  const rest = readme.slice(start + 1 + heading.length);
  const end = rest.search(new RegExp(`\n#{1,${rank.length}} `));
  return end === -1 ? rest : rest.slice(0, end);
}

/** The cells of a section's tables, heads and rules left out. */
function rows(heading: string): readonly (readonly string[])[] {
  return section(heading)
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| ?-/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

/** The words in backticks of a table's first cells. */
function named(heading: string): readonly string[] {
  return rows(heading).flatMap(([first = ""]) => matches(first, /`([^`]+)`/g));
}

/** Fenced examples, by what stands behind "json". */
function examples(kind: string): readonly string[] {
  return [...readme.matchAll(/^[ \t]*```json *(\w*)\n([\s\S]*?)^[ \t]*```$/gm)]
    .filter(([, found]) => found === kind)
    .map(([, , body]) => body as string);
}

describe.each(DOCUMENTS)("%s", (file) => {
  const text = prose(read(file));

  const words = matches(text, /`([^`\n]+)`/g);
  const rooms = /^(?:lib|functions|infra|test|\.ci)\//;
  const rooted = words.filter((word) => rooms.test(word) && !/[\s<>]/.test(word));
  const links = matches(text, /\]\(([^)#\s]+)(?:#[^)]*)?\)/g).filter((link) => !/^\w+:/.test(link));
  // Elsewhere than in the root, other file names are of the document's own folder, or dialogues.
  const folder = dirname(file);
  const bare = folder === "." ? [] : words.filter((word) => !rooms.test(word));
  const paths = sorted([
    ...rooted,
    ...links.map((link) => normalize(join(dirname(file), link))),
    ...bare.filter((w) => /^[\w./-]+\.ts$/.test(w)).map((w) => normalize(join(folder, w))),
    ...bare.filter((w) => /^[\w*-]+\.smtp$/.test(w)).map((w) => `test/smtp/dialogues/${w}`),
  ]);

  test("every file it names exists", () => {
    const missing = paths.filter((path) =>
      path.includes("*")
        ? globSync(path, { cwd: ROOT }).length === 0
        : !existsSync(join(ROOT, path)),
    );
    expect(missing).toEqual([]);
  });

  test("its links to headings lead somewhere, on this page and on others", () => {
    const wanted = [...text.matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)];
    const lost = wanted.filter(([, page = "", anchor = ""]) => {
      const target = page === "" ? file : normalize(join(dirname(file), page));
      return !anchorsOf(read(target)).includes(anchor);
    });
    expect(lost.map(([link]) => link)).toEqual([]);
  });

  test("its npm scripts exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const wanted = matches(read(file), /\bnpm run (?:--\S+ )*([\w:-]+)/g);
    expect(wanted.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

describe("environment", () => {
  const config = read("lib/config.ts");
  const variables = Object.keys(environmentSchema().shape);

  test("README names every variable, and no other", () => {
    expect(sorted(named("## Environment"))).toEqual(sorted(variables));
  });

  test("defaults are as stated", () => {
    const stated = new Map(rows("## Environment").map(([name, value]) => [name, value]));
    const { cacheSeconds, transcript, logLevel } = loadConfig({});
    expect(stated.get("`MAILBOX_CACHE_SECONDS`")).toBe(String(cacheSeconds));
    expect(stated.get("`TRANSCRIPT`")).toBe(`\`${transcript}\``);
    expect(stated.get("`LOG_LEVEL`")).toBe(`\`${logLevel}\``);
  });

  test("what README calls not used yet is not used", () => {
    const sources = globSync(["lib/**/*.ts", "functions/**/*.ts"], { cwd: ROOT })
      .filter((file) => file !== join("lib", "config.ts"))
      .map(read)
      .join("\n");
    const unused = rows("## Environment").filter((cells) =>
      cells[2]?.startsWith("**not used yet**"),
    );
    const wired = unused
      .map(([name = ""]) => name.replaceAll("`", ""))
      .filter((name) => {
        const property = new RegExp(`(\\w+): env\\.${name}\\b`).exec(config)?.[1] ?? name;
        return new RegExp(`config\\.${property}\\b`).test(sources);
      });
    expect(wired).toEqual([]);
  });
});

describe("mailbox secret", () => {
  type JsonSchema = z.core.JSONSchema.BaseSchema;
  const schema = z.toJSONSchema(mailboxSchema(), { io: "input", unrepresentable: "any" });
  const properties = new Map(Object.entries(schema.properties ?? {}) as [string, JsonSchema][]);
  /** What rotation adds may be anything. */
  const tolerated = [...properties.keys()].filter((name) => {
    const { type, anyOf } = properties.get(name) ?? {};
    return type === undefined && anyOf === undefined;
  });
  const inside = (name: string) => {
    const property = properties.get(name);
    const object = (property?.anyOf?.[0] ?? property) as JsonSchema | undefined;
    return sorted(Object.keys(object?.properties ?? {}));
  };
  const table = new Map(rows("## The mailbox secret").map((cells) => [cells[0], cells]));
  const minimal = { host: "smtp.example.com" };

  test("README names every field, and no other", () => {
    const wanted = [...properties.keys()].filter((field) => !tolerated.includes(field));
    expect(sorted(named("## The mailbox secret"))).toEqual(sorted(wanted));
  });

  test("README names what rotation adds", () => {
    expect(tolerated).toContain("masterarn");
    for (const field of tolerated)
      expect(section("## The mailbox secret")).toContain(`\`${field}\``);
  });

  test.each(["oauth2", "tls", "dkim"])("README names the fields of %s, and no other", (name) => {
    const type = table.get(`\`${name}\``)?.[1] ?? "";
    const listed = (/\{([^}]+)\}/.exec(type)?.[1] ?? "").split(",").map((word) => word.trim());
    expect(sorted(listed)).toEqual(inside(name));
  });

  test("defaults are as stated", () => {
    const mailbox = parseMailboxSecret(JSON.stringify(minimal));
    const stated = (name: string) => table.get(`\`${name}\``)?.[2] ?? "";
    expect(stated("maxRecipients")).toBe(String(mailbox.maxRecipients));
    expect(stated("maxMessageBytes").split(" ")[0]).toBe(String(mailbox.maxMessageBytes));
    expect(stated("chunking")).toBe(`\`${mailbox.chunking}\``);
    expect(stated("allowPlaintextAuth")).toBe(`\`${mailbox.allowPlaintextAuth}\``);
  });

  test.each([
    [{}, 587, "starttls"],
    [{ port: 465 }, 465, "implicit"],
    [{ port: 2587 }, 2587, "starttls"],
    [{ security: "implicit" }, 465, "implicit"],
    [{ security: "starttls" }, 587, "starttls"],
    [{ security: "none" }, 25, "none"],
  ])("port and security of %j are %i and %s", (given, port, security) => {
    const { endpoints } = parseMailboxSecret(JSON.stringify({ ...minimal, ...given }));
    expect(endpoints).toEqual([{ host: minimal.host, port, security }]);
  });
});

describe("request", () => {
  test("README names every field, and no other", () => {
    const { properties = {} } = requestJsonSchema() as { properties?: object };
    expect(sorted(named("## The request"))).toEqual(sorted(Object.keys(properties)));
  });
});

describe("error codes", () => {
  const union = (file: string, opening: string): readonly string[] => {
    const source = read(file);
    const start = source.indexOf(opening);
    expect(start, `${file} has ${opening}`).toBeGreaterThan(-1);
    const end = source.indexOf(";", start);
    return matches(source.slice(start, end), /"([a-z_]+)"/g);
  };
  /** Of the error classes: `readonly code: "…" | "…";` and `readonly code = "…";`. */
  const declared = globSync("lib/**/*.ts", { cwd: ROOT })
    .flatMap((file) => matches(read(file), /\breadonly code(?::| =)((?:\s*\|?\s*"[a-z_]+")+);/g))
    .flatMap((codes) => matches(codes, /"([a-z_]+)"/g));
  /** Written as they are: `code: "…"`. What the schema library calls so is none of ours. */
  const literal = globSync(["lib/submission/*.ts", "functions/*.ts"], { cwd: ROOT })
    .flatMap((file) => matches(read(file), /\bcode: "([a-z_]+)"/g))
    // `explain` has a case for what is accepted, which no result shows.
    .filter((code) => code !== "custom" && code !== "accepted");
  /** `object_` and what is wrong with it; too large has the name that it has everywhere. */
  const composed = matches(
    /readonly kind: ([^;]+);/.exec(read("lib/submission/queue.ts"))?.[1] ?? "",
    /"([a-z_]+)"/g,
  )
    .filter((kind) => kind !== "too_large")
    .map((kind) => `object_${kind}`);
  const codes = sorted([
    ...union("lib/smtp/error.ts", "export type SmtpErrorCode ="),
    ...declared,
    ...literal,
    ...composed,
  ]);

  test("README has every code, and no other", () => {
    expect(sorted(named("### Error codes"))).toEqual(codes);
  });

  test("each has a cause and a remedy", () => {
    const poor = rows("### Error codes").filter(
      (cells) => cells.length !== 3 || cells.includes(""),
    );
    expect(poor).toEqual([]);
  });

  test("README names the reasons for which there is no token", () => {
    const source = read("lib/submission/token.ts") + read("lib/submission/token-request.ts");
    const reasons = matches(source, /new TokenError\(\s*"([a-z_]+)"/g);
    expect(reasons.length).toBeGreaterThan(3);
    for (const reason of reasons) expect(section("### Error codes")).toContain(`\`${reason}\``);
  });
});

describe("HTTP", () => {
  test("README has every status, and no other", () => {
    const sources = globSync("functions/{http,api}.ts", { cwd: ROOT }).map(read).join("\n");
    const used = matches(sources, /\b([2-5]\d\d)\b(?= ?[,:])/g);
    const stated = rows("## HTTP").flatMap(([first = ""]) => first.match(/\b[2-5]\d\d\b/g) ?? []);
    expect(sorted(stated)).toEqual(sorted(used));
  });

  test("README has every route of the template, and no other", () => {
    const routes = [...read("serverless.yml").matchAll(/method: (\w+), path: "?([^",]+)"?/g)].map(
      ([, method, path]) => `${method} ${path}`,
    );
    const stated = named("## HTTP").filter((word) => word.includes("/"));
    expect(sorted(stated)).toEqual(sorted(routes));
  });
});

test("README names every event handler that is deployed", () => {
  const deployed = [...read("serverless.yml").matchAll(/dist\/(sqs|sns|eventbridge|s3)\.handler/g)];
  expect(deployed).toHaveLength(4);
  for (const [, name] of deployed) expect(section("## Events")).toContain(`functions/${name}.ts`);
});

describe("examples", () => {
  const all = [...readme.matchAll(/^[ \t]*```json/gm)].length;
  const mailboxes = examples("mailbox");
  const requests = examples("request");

  test("each is of a known kind", () => {
    expect(mailboxes.length + requests.length + examples("").length).toBe(all);
  });

  test.each(examples(""))("is JSON: %.40s", (body) => {
    expect(() => JSON.parse(body)).not.toThrow();
  });

  test.each(mailboxes)("is a mailbox: %.60s", (body) => {
    expect(() => parseMailboxSecret(body)).not.toThrow();
  });

  test.each([...requests, read("infra/local/events/invoke.json")])(
    "is a request: %.60s",
    (body) => {
      const parsed = parseRequest(JSON.parse(body));
      expect(parsed.ok ? [] : parsed.issues).toEqual([]);
    },
  );
});

test("lib/DECISIONS.md gives a reason for every dependency", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<
    "dependencies" | "devDependencies",
    Record<string, string>
  >;
  const decisions = read("lib/DECISIONS.md");
  const missing = Object.keys({ ...dependencies, ...devDependencies }).filter(
    (name) => !name.startsWith("@types/") && !decisions.includes(`\`${name}\``),
  );
  expect(missing).toEqual([]);
});

test("the dialogue that README shows can be played", () => {
  const [example = ""] = matches(readme, /^```\n(# RFC [\s\S]*?)^```$/gm);
  const dialogue = parseDialogue("README.md", example);
  expect(fates(playPure(dialogue, "line"))).toEqual(dialogue.expected);
});

test("README has every mechanism, strongest first", () => {
  const text = section("## Mechanisms").split("Without TLS")[0] ?? "";
  const listed = text.match(/\b[A-Z][A-Z0-9]+(?:-[A-Z0-9]+)*\b/g) ?? [];
  expect(listed.filter((word) => knownMechanisms.includes(word))).toEqual([...knownMechanisms]);
});

test("README has the deadlines", () => {
  const text = section("## Limits and deadlines");
  const { connect, tls, quit } = PHASE_TIMEOUTS;
  expect(text).toContain(`connect ${connect / 1000} s, TLS ${tls / 1000} s`);
  expect(text).toContain(`QUIT ${quit} ms`);
});

test("every RFC that a dialogue cites is in lib/smtp/README.md", () => {
  const table = read("lib/smtp/README.md");
  const missing = globSync("test/smtp/dialogues/*.smtp", { cwd: ROOT }).flatMap((file) => {
    const [title = ""] = read(file).split("\n");
    const cited = title.match(/RFC \d+|draft-[a-z]+(?:-[a-z]+)*/g) ?? [];
    const numbers = cited.map((name) => name.replace("RFC ", ""));
    return numbers
      .filter((name) => !new RegExp(`\\b${name}\\b`).test(table))
      .map((name) => `${name}: ${file}`);
  });
  expect(missing).toEqual([]);
});
