/** One thing that `check` found: fine, to be mended, or good to know. */
export interface Finding {
  readonly kind: "ok" | "fix" | "note";
  readonly text: string;
  /** What to do, where there is something. */
  readonly fix?: string;
}

export const ok = (text: string): Finding => ({ kind: "ok", text });
export const note = (text: string): Finding => ({ kind: "note", text });
export const toFix = (text: string, fix: string): Finding => ({ kind: "fix", text, fix });
