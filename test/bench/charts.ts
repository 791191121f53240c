/**
 * Bars as SVG, for a README: no script, no font of its own, legible on light and dark, since the colours
 * follow the reader's. What is drawn is what `results.json` says, with the quartiles as a line.
 */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

export interface Chart {
  readonly title: string;
  /** What the numbers are; less is better unless it says otherwise. */
  readonly unit: string;
  readonly groups: readonly { readonly label: string; readonly bars: readonly Bar[] }[];
}

const WIDTH = 720;
const NAMES = 210;
const VALUES = 90;
const BAR = 16;
const GAP = 4;
const TOP = 46;
const HEADING = 24;
const ROOM = WIDTH - NAMES - VALUES;

/** Ours are coloured, in two shades; the others are grey. Both hold on white and on GitHub's dark. */
const STYLE = `
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}.unit,.value{fill:#59636e}
.ours{fill:#1a7f64}.other{fill:#9aa4af}.spread{stroke:#1f2328;stroke-width:1}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.unit,.value{fill:#9198a1}.ours{fill:#3fb68b}
.other{fill:#6e7681}.spread{stroke:#f0f6fc}}`;

export function chart({ title, unit, groups }: Chart): string {
  const most = Math.max(
    ...groups.flatMap(({ bars }) => bars.map(({ value, high }) => high ?? value)),
  );
  const across = (value: number) => Math.round((value / most) * ROOM * 10) / 10;
  const parts: string[] = [];
  let y = TOP;
  for (const { label, bars } of groups) {
    parts.push(text(0, y + 12, label, "unit"));
    y += HEADING - 6;
    for (const { name, value, low, high } of bars) {
      const kind = name.startsWith("posthaste") ? "ours" : "other";
      parts.push(
        text(NAMES - 8, y + 12, name, undefined, "end"),
        `<rect x="${NAMES}" y="${y}" width="${across(value)}" height="${BAR}" rx="2" class="${kind}"/>`,
      );
      if (low !== undefined && high !== undefined && high > low) {
        const [from, to] = [NAMES + across(low), NAMES + across(high)];
        parts.push(
          `<line x1="${from}" x2="${to}" y1="${y + BAR / 2}" y2="${y + BAR / 2}" class="spread"/>`,
        );
      }
      parts.push(text(NAMES + across(high ?? value) + 8, y + 12, figure(value), "value"));
      y += BAR + GAP;
    }
    y += HEADING - BAR;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${escaped(title)}">`,
    `<style>${STYLE}</style>`,
    text(0, 16, title, "title"),
    text(0, 34, unit, "unit"),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function text(x: number, y: number, words: string, kind?: string, anchor?: string): string {
  const named = kind === undefined ? "" : ` class="${kind}"`;
  const placed = anchor === undefined ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${x}" y="${y}"${named}${placed}>${escaped(words)}</text>`;
}

const escaped = (words: string): string =>
  words.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

const figure = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
