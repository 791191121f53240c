/**
 * The text part of a message that has only html: what a reader of the html would see, with its
 * links, for those who see no html. A courtesy, so it is bounded: html of any size or nesting takes
 * linear time and never fails the message.
 */
import { wellFormed } from "./text.ts";

/** What is used of the library, which brings no types. */
type Compile = (options: object) => (html: string) => string;

type Walk = (nodes: readonly Node[] | undefined, builder: Builder) => void;

interface Builder {
  readonly options: { readonly formatters: Readonly<Record<string, Formatter>> };
  addInline(text: string): void;
}

interface Node {
  readonly type: string;
  readonly name?: string;
  readonly attribs?: Readonly<Record<string, string>>;
  readonly children?: readonly Node[];
}

type Formatter = (node: Node, walk: Walk, builder: Builder, options: object) => void;

/** Characters of html that are read; a mail of this size is clipped by most readers anyway. */
const MOST = 1024 * 1024;
/** Where elements are nested more deeply than any page: the parser takes quadratic time for those. */
const DEEP = 1000;
const MOST_OF_DEEP = 64 * 1024;
/** A table beyond this is set row by row. */
const MOST_CELLS = 2000;
const WIDEST_SPAN = 50;

/**
 * Lines are not wrapped: without format=flowed (RFC 3676) nobody could join them again, and the
 * transfer encoding sees to it that none is too long for the wire.
 */
export async function plainText(html: string): Promise<string> {
  converter ??= load();
  const convert = await converter;
  const most = nesting(html) > DEEP ? MOST_OF_DEEP : MOST;
  if (html.length <= most) return convert(html);
  return `${convert(wellFormed(html.slice(0, most)))}\n\n[…]`;
}

let converter: Promise<(html: string) => string> | undefined;

/** On first use: the library is large, and most messages bring their own text. */
async function load(): Promise<(html: string) => string> {
  // @ts-expect-error: the package has no types.
  const { compile }: { compile: Compile } = await import("html-to-text");
  const skip = ["head", "title", "template", "noscript", "object", "iframe", "svg"];
  const hidden = ['*[style*="display:none"i]', '*[style*="display: none"i]', "*[hidden]"];
  return compile({
    wordwrap: false,
    // All of the document: several bodies, or one in another, must not be read several times.
    baseElements: { selectors: [] },
    limits: { maxDepth: 200, maxInputLength: undefined, ellipsis: "…" },
    formatters: { table, cell, image },
    selectors: [
      ...[...skip, ...hidden].map((selector) => ({ selector, format: "skip" })),
      ...["h1", "h2", "h3", "h4", "h5", "h6"].map((selector) => ({
        selector,
        options: { uppercase: false },
      })),
      {
        selector: "a",
        // RFC 3986 appendix C: so delimited, an address ends where it ends.
        options: { linkBrackets: ["<", ">"], hideLinkHrefIfSameAsText: true, pathRewrite: link },
      },
      { selector: "img", format: "image" },
      { selector: "table", format: "table", options: { uppercaseHeaderCells: false } },
      { selector: "tr", format: "block", options: { leadingLineBreaks: 1, trailingLineBreaks: 1 } },
      { selector: "td", format: "cell" },
      { selector: "th", format: "cell" },
    ],
  });
}

/**
 * In a mail only whole addresses lead anywhere; what runs a script is none. The library has taken
 * `mailto:` off already.
 */
function link(href: string): string {
  const address = href.trim();
  const leads = /^(?!javascript:|data:|vbscript:)[a-z][a-z0-9+.-]*:|^[^\s@]+@[^\s@]+$/i.test(
    address,
  );
  return leads ? address : "";
}

/** Of a picture only the words: its address is of no use without it. */
const image: Formatter = (node, _walk, builder) => {
  builder.addInline(node.attribs?.["alt"] ?? "");
};

/** Columns for tables of data; those that only lay out a page are read in their order. */
const table: Formatter = (node, walk, builder, options) => {
  const format = isData(node) ? "dataTable" : "block";
  const extra = format === "block" ? { leadingLineBreaks: 1, trailingLineBreaks: 1 } : {};
  builder.options.formatters[format]?.(node, walk, builder, { ...options, ...extra });
};

/** Without a space the words of two cells would become one. */
const cell: Formatter = (node, walk, builder) => {
  walk(node.children, builder);
  builder.addInline(" ");
};

/** A table with header cells and no other table in it, small enough to be set in columns. */
function isData(root: Node): boolean {
  let cells = 0;
  let headers = 0;
  const waiting = [...(root.children ?? [])];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (node.name === "table") return false;
    if (node.name === "th" || node.name === "td") {
      cells += 1;
      if (node.name === "th") headers += 1;
      const spans = [node.attribs?.["colspan"], node.attribs?.["rowspan"]];
      if (cells > MOST_CELLS || spans.some((span) => Number(span ?? 1) > WIDEST_SPAN)) return false;
    }
    for (const child of node.children ?? []) waiting.push(child);
  }
  return headers > 0;
}

/** Elements that never hold others, or that the next of their kind ends. */
const SHALLOW = new Set(
  "area base br col embed hr img input link meta source track wbr p li td th tr dt dd option".split(
    " ",
  ),
);

/** About how deeply elements are nested; rather too much than too little. */
function nesting(html: string): number {
  let depth = 0;
  let most = 0;
  for (const [, slash, name = ""] of html.matchAll(/<(\/?)([a-z][a-z0-9]{0,15})/gi)) {
    if (SHALLOW.has(name.toLowerCase())) continue;
    depth = slash === "/" ? Math.max(0, depth - 1) : depth + 1;
    if (depth > most) most = depth;
  }
  return most;
}
