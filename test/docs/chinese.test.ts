/**
 * The README in Chinese says what the README says: whoever changes one of them is told here where the
 * other has fallen behind. The words differ; names, commands, figures, links and pictures do not.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { anchor, blocks, matches, rows, type Section, sections } from "../support/markdown.ts";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const english = read("README.md");
const chinese = read("README.zh-CN.md");

/** Only in Chinese: what is to be switched on in the mailboxes that its readers have. */
const RECIPES = "国内邮箱的配置";
const own = sections(chinese).filter(({ title }) => title === RECIPES);
const pairs = sections(english).map(
  (section, at) =>
    [
      section.title,
      section,
      sections(chinese).filter(({ title }) => title !== RECIPES)[at],
    ] as const,
);

const sorted = (words: Iterable<string>) => [...words].sort();
const unique = (words: Iterable<string>) => sorted(new Set(words));
const code = (text: string) => matches(text, /`([^`\n]+)`/g);

/** Where links and pictures lead; a heading of the page itself by its place, not by its name. */
function targets(page: string, body: string): readonly string[] {
  const anchors = sections(page)
    .map(({ title }) => title)
    .filter((title) => title !== RECIPES)
    .map(anchor);
  return sorted(
    matches(body, /\]\(([^)\s]+)\)/g)
      .filter((link) => link !== `#${anchor(RECIPES)}`)
      .map((link) => (link.startsWith("#") ? `#${anchors.indexOf(link.slice(1))}` : link)),
  );
}

const pictures = (page: string) =>
  unique(matches(page, /(?:!\[[^\]]*\]\(|src=")([^)"]+\.(?:png|svg))/g));

test("each is linked from the other, at the top", () => {
  for (const page of [english, chinese]) {
    expect(page.split("\n")[2]).toBe("[English](README.md) · [简体中文](README.zh-CN.md)");
  }
});

test("the sections are the same, in the same order; the recipes are one more", () => {
  expect(own).toHaveLength(1);
  expect(sections(chinese).length).toBe(sections(english).length + 1);
  expect(pairs.map(([, , theirs]) => theirs?.rank)).toEqual(pairs.map(([, { rank }]) => rank));
});

describe.each(pairs)("%s", (_, ours, found) => {
  const theirs = found as Section;

  test("names the same", () => {
    expect(unique(code(theirs.body))).toEqual(unique(code(ours.body)));
  });

  test("leads to the same places", () => {
    const links = (page: string, body: string) =>
      unique(targets(page, body).filter((link) => !/\.(?:png|svg)$/.test(link)));
    expect(links(chinese, theirs.body)).toEqual(links(english, ours.body));
  });

  test("has the same tables: rows, columns, names and figures", () => {
    const figures = (cells: readonly string[]) => ({
      key: sorted(code(cells[0] ?? "")),
      columns: cells.length,
      names: sorted(code(cells.join("|"))),
      numbers: sorted(cells.join("|").match(/\d[\d,.]*(?<=\d)/g) ?? []),
    });
    expect(rows(theirs.body).map(figures)).toEqual(rows(ours.body).map(figures));
  });
});

test("the pictures are the same", () => {
  expect(pictures(english).length).toBeGreaterThan(6);
  expect(pictures(chinese)).toEqual(pictures(english));
});

describe("code blocks", () => {
  /** A drawing says in each language what its boxes are; the boxes and arrows are the same. */
  const unlabelled = (block: string) =>
    block.startsWith("```mermaid")
      ? block
          .replace(/\[[^\]]*\]/g, "[]")
          .replace(/-\..*?\.->/g, "-.->")
          .replace(/==.*?==>/g, "==>")
      : block;
  const recipe = (block: string) => block.includes("```json mailbox");

  test("with commands are the same", () => {
    const commands = (page: string) => blocks(page).filter((block) => /^ *```sh\n/.test(block));
    expect(commands(english).length).toBeGreaterThan(8);
    expect(commands(chinese)).toEqual(commands(english));
  });

  test("with anything else are the same, in the same order", () => {
    const known = new Set(blocks(english));
    const shared = blocks(chinese).filter((block) => known.has(block) || !recipe(block));
    expect(shared.map(unlabelled)).toEqual(blocks(english).map(unlabelled));
  });

  test("with recipes are those of the reference", () => {
    const recipes = blocks(chinese).filter(recipe);
    const reference = [...blocks(english), ...blocks(read("lib/REFERENCE.md"))];
    expect(recipes.filter((block) => !reference.includes(block))).toEqual([]);
    for (const host of ["smtp.163.com", "smtp.qq.com", "smtpdm.aliyun.com"]) {
      expect(recipes.filter((block) => block.includes(`"host": "${host}"`))).toHaveLength(1);
    }
  });
});
