/**
 * The page's language: chosen, else the browser's; remembered, and on the document for whoever reads
 * it aloud.
 */
import { chinese } from "./chinese.ts";
import { english } from "./english.ts";

export type Language = "en" | "zh";
export type Key = keyof typeof english;

const TABLES = { en: english, zh: chinese } as const;

export const language = (): Language => (document.documentElement.lang === "en" ? "en" : "zh");

export function t(key: Key, values: Readonly<Record<string, string | number>> = {}): string {
  const text = TABLES[language()][key];
  return text.replace(/\{(\w+)\}/g, (all, name) => String(values[name] ?? all));
}

/** For names that are put together: of a fault, an outcome, an error code. */
export function known(key: string): Key | undefined {
  return Object.hasOwn(english, key) ? (key as Key) : undefined;
}

export function speak(chosen: Language): void {
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const each of document.querySelectorAll<HTMLElement>("[data-t]")) {
    each.textContent = t(each.dataset["t"] as Key);
  }
  for (const each of document.querySelectorAll<HTMLElement>("[data-t-label]")) {
    each.setAttribute("aria-label", t(each.dataset["tLabel"] as Key));
  }
  for (const each of document.querySelectorAll<HTMLInputElement>("[data-t-hint]")) {
    each.placeholder = t(each.dataset["tHint"] as Key);
  }
}
