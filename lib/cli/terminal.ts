/**
 * What a person sees. Two rules are guarded here: colour is for terminals and for those who want it
 * (NO_COLOR, FORCE_COLOR, as Node has them), and nothing that came from elsewhere drives the terminal.
 */
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout) {
  return styleText(style, text, { stream });
}

/** A server's or a stranger's text: escape sequences, and what turns text around, made visible. */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu,
    (c) => `\\u${c.codePointAt(0)?.toString(16).padStart(4, "0")}`,
  );
}

/** To standard output: the answer that was asked for. */
export function say(line = ""): void {
  process.stdout.write(`${line}\n`);
}

export function sayJson(value: unknown): void {
  say(JSON.stringify(value, null, 2));
}

/** To standard error: what is no part of the answer. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function warn(text: string): void {
  note(`${paint("yellow", "warning:", process.stderr)} ${text}`);
}

export function fault(text: string): void {
  note(`${paint("red", "error:", process.stderr)} ${text}`);
}

/** A sign at the line's beginning; words, not colour alone, tell what it means. */
export function mark(kind: "ok" | "fix" | "note"): string {
  const styles = { ok: "green", fix: "red", note: "yellow" } as const;
  return paint(styles[kind], kind.padEnd(4));
}
