/**
 * A schema of which only what was given is built. Most fields of a request and of a secret are seldom
 * there, and a cold start, which checks each once, would pay more for building them than for all checks.
 */
import type * as z from "zod/mini";

export type Fields = Readonly<Record<string, () => z.core.$ZodType>>;
/** What {@link Fields} build. */
export type Shape<F extends Fields> = { [K in keyof F]: ReturnType<F[K]> };

/**
 * @param fields builds each when it is first given
 * @param make the schema of some of the fields, in their order
 * @param always those that say something where they are absent: required, or with a default
 * @returns the schema for an input; without one, that of all fields
 */
export function onDemand<F extends Fields, S>(
  fields: F,
  make: (shape: Shape<F>) => S,
  always: readonly (keyof F & string)[] = [],
): (input?: unknown) => S {
  const built = new Map<string, z.core.$ZodType>();
  let schema: S | undefined;
  return (input = fields) => {
    const given = typeof input === "object" && input !== null ? input : {};
    const fresh = Object.entries(fields).filter(
      ([name]) => !built.has(name) && (name in given || always.includes(name)),
    );
    for (const [name, build] of fresh) built.set(name, build());
    if (schema === undefined || fresh.length > 0) {
      const shape = Object.keys(fields).flatMap((name) => {
        const field = built.get(name);
        return field === undefined ? [] : [[name, field]];
      });
      schema = make(Object.fromEntries(shape));
    }
    return schema;
  };
}
