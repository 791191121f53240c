/** The page's words: complete, in both languages, for whatever the code and the documents name. */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { examples } from "../../infra/local/examples.ts";
import { FAULTS } from "../../infra/local/faults.ts";
import { chinese } from "../../infra/local/page/chinese.ts";
import { PHASES } from "../../infra/local/page/conversation.ts";
import { english } from "../../infra/local/page/english.ts";

const FOLDER = new URL("../../infra/local/page/", import.meta.url);
const read = (file: string): string => readFileSync(new URL(file, FOLDER), "utf8");
const html = read("index.html");
const sources = globSync("*.ts", { cwd: FOLDER })
  .filter((file) => file !== "english.ts" && file !== "chinese.ts")
  .map(read)
  .join("\n");
const keys = Object.keys(english) as (keyof typeof english)[];

const named = (prefix: string): readonly string[] =>
  keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));

describe("strings", () => {
  it("are all there for the HTML, which says the English ones without a script", () => {
    const wanted = [...html.matchAll(/data-t(?:-label|-hint)?="(\w+)"/g)].map(([, key]) => key);
    expect(wanted.filter((key) => !Object.hasOwn(english, key ?? ""))).toEqual([]);
    for (const [, key = "", text] of html.matchAll(/data-t="(\w+)"[^>]*>([^<]+)</g)) {
      expect(text).toBe(english[key as keyof typeof english]);
    }
  });

  it("are all used", () => {
    const composed = /^(fault|does|outcome|means|phase|about|advice|example|address)_/;
    const unused = keys.filter(
      (key) => !composed.test(key) && !`${html}${sources}`.includes(`"${key}"`),
    );
    expect(unused).toEqual([]);
  });

  it("name every fault, example and phase, and no other", () => {
    const faults = ["none", ...FAULTS.map(({ id }) => id)].sort();
    expect(named("fault_").toSorted()).toEqual(faults);
    expect(named("does_").toSorted()).toEqual(faults);
    const lines = examples("http://127.0.0.1:3000").map(({ id }) => id);
    expect(named("example_").toSorted()).toEqual(lines.toSorted());
    expect(named("phase_")).toEqual([...PHASES]);
  });

  it("and README's table, too, with the status of each", () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
    const table = /^### The local stack\n([\s\S]*?)^## /m.exec(readme)?.[1] ?? "";
    const rows = [...table.matchAll(/^\| `([a-z-]+)`.*\| *(\d{3})[^|]*\|$/gm)];
    expect(rows.map(([, id, status]) => [id, Number(status)])).toEqual(
      FAULTS.map(({ id, status }) => [id, status]),
    );
  });

  it("have advice for every error code of README that the page can meet, and for no other", () => {
    const reference = readFileSync(new URL("../../lib/REFERENCE.md", import.meta.url), "utf8");
    const table = /^### Error codes\n([\s\S]*?)^## /m.exec(reference)?.[1] ?? "";
    const codes = [...table.matchAll(/^\| `([a-z_]+)` *\| (.*?) *\|/gm)]
      .filter(([, , cause = ""]) => !/^(client|S3 event|delivery check) only/.test(cause))
      .map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(50);
    const others = ["accepted", "partial", "queued", "later", "unknown"];
    expect(named("advice_").toSorted()).toEqual([...codes, ...others].toSorted());
  });

  it("fill in the same values in both languages, and Chinese is Chinese", () => {
    const values = (text: string) => (text.match(/\{\w+\}/g) ?? []).toSorted();
    for (const key of keys)
      expect([key, values(chinese[key])]).toEqual([key, values(english[key])]);
    const foreign = keys.filter(
      (key) => key !== "between" && !/\p{Script=Han}/u.test(chinese[key]),
    );
    // Names that are the same in every language.
    expect(foreign.map((key) => chinese[key])).toEqual(foreign.map((key) => english[key]));
    expect(foreign.length).toBeLessThan(15);
  });
});
