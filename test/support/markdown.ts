/** What the tests of the documents read of Markdown, as GitHub shows it. */
const BLOCK = /^[ \t]*```[\s\S]*?^[ \t]*```$/gm;

export interface Section {
  /** 1 to 6, by its number signs. */
  readonly rank: number;
  readonly title: string;
  /** To the next heading of any rank, without code blocks. */
  readonly body: string;
}

/** The first group of each match. */
export function matches(text: string, pattern: RegExp): readonly string[] {
  return [...text.matchAll(pattern)].map((found) => found[1] as string);
}

/** A document without its code blocks. */
export function prose(text: string): string {
  return text.replace(BLOCK, "");
}

/** Its code blocks with their fences, indented as they are. */
export function blocks(text: string): readonly string[] {
  return text.match(BLOCK) ?? [];
}

export function sections(text: string): readonly Section[] {
  const [, ...parts] = prose(text).split(/^(#{1,6}) (.+)$/m);
  return Array.from({ length: parts.length / 3 }, (_, at) => {
    const [marks = "", title = "", body = ""] = parts.slice(at * 3, at * 3 + 3);
    return { rank: marks.length, title, body };
  });
}

/** What a heading is called in links: letters of any script stay, punctuation of any goes. */
export function anchor(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

export function anchorsOf(text: string): readonly string[] {
  return sections(text).map(({ title }) => anchor(title));
}

/** The cells of the tables in a section, heads and rules left out. */
export function rows(body: string): readonly (readonly string[])[] {
  return body
    .split("\n")
    .filter((line, at, lines) => /^\| /.test(line) && lines[at - 1]?.startsWith("|"))
    .filter((line) => !/^\| ?-/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}
