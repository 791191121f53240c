/** Why something given to the message layer cannot be sent; reasons name the rule, never a value. */
export class Fault extends Error {
  override readonly name = "Fault";
}

/** A value, or the reason why there is none. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string };

/** Turns a parser that throws {@link Fault} into one that answers. */
export function parsed<T>(parse: () => T): Parsed<T> {
  try {
    return { ok: true, value: parse() };
  } catch (cause) {
    if (cause instanceof Fault) return { ok: false, reason: cause.message };
    throw cause;
  }
}
