/**
 * `npm run openapi`: writes what other languages are generated from. The files are committed, so that
 * whoever has the repository has them; a test holds them against what would be written now.
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { openApi, requestDocument, resultDocument } from "../lib/client/openapi.ts";

const FOLDER = new URL("../lib/client/", import.meta.url);
const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };

/** By file name, as they are written. */
export function documents(): Readonly<Record<string, string>> {
  const all = {
    "openapi.json": openApi(version),
    "request.schema.json": requestDocument(),
    "result.schema.json": resultDocument(),
  };
  return Object.fromEntries(
    Object.entries(all).map(([name, value]) => [name, `${JSON.stringify(value, null, 2)}\n`]),
  );
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, text] of Object.entries(documents())) {
    await writeFile(new URL(name, FOLDER), text);
    console.log(`lib/client/${name}  ${Buffer.byteLength(text).toLocaleString("en-US")} octets`);
  }
}
