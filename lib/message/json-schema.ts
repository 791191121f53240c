/**
 * The request as JSON Schema (2020-12), for documents and editors. It is derived, so it cannot
 * differ from what is checked; rules that JSON Schema cannot state are left to {@link parseRequest}.
 * In a file of its own, so that no function's bundle carries the generator.
 */
import * as z from "zod/mini";
import { requestSchema } from "./schema.ts";

/** JSON Schema of what a caller may write. */
export function requestJsonSchema() {
  return z.toJSONSchema(requestSchema, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      // The one custom type: a list of message-ids, or one string of them.
      if (zodSchema._zod.def.type !== "custom") return;
      jsonSchema.anyOf = [{ type: "array", items: { type: "string" } }, { type: "string" }];
    },
  });
}
