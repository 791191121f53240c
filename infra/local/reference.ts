/**
 * The HTTP API's reference in the browser, made of its OpenAPI document and of nothing else: at
 * `/reference`, and the document itself at `/openapi.json`.
 *
 * Rule guarded here: it needs no script and nothing from elsewhere. What generators read and what
 * people read is one document, so the page says what clients were generated from.
 */
import { readFile } from "node:fs/promises";
import type { Answer } from "./gateway.ts";

const DOCUMENT = new URL("../../lib/client/openapi.json", import.meta.url);
const STYLE = new URL("reference.css", import.meta.url);
const SAFETY = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/** Undefined where there is nothing at this path. */
export async function answerReference(path: string): Promise<Answer | undefined> {
  const answer = (type: string, body: string | Buffer): Answer => ({
    status: 200,
    headers: { ...SAFETY, "content-type": type },
    body,
  });
  switch (path) {
    case "/openapi.json":
      return answer("application/json; charset=utf-8", await readFile(DOCUMENT));
    case "/reference.css":
      return answer("text/css; charset=utf-8", await readFile(STYLE));
    case "/reference":
      return answer("text/html; charset=utf-8", page(JSON.parse(await readFile(DOCUMENT, "utf8"))));
    default:
      return undefined;
  }
}

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
}

interface Response {
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly description?: string }>>;
  readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
}

interface Operation {
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Body>> };
  readonly responses: Readonly<Record<string, Response>>;
}

interface Body {
  readonly schema: Schema;
  readonly examples: Readonly<Record<string, { readonly value: unknown }>>;
}

interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const escaped = (text: unknown): string =>
  String(text).replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
/** Text in which backticks mark code. */
const prose = (text = ""): string => escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");
const row = (head: string, ...cells: readonly string[]): string =>
  `<tr><th scope="row">${head}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;

function table(caption: string, head: readonly string[], rows: readonly string[]): string {
  const names = head.map((name) => `<th scope="col">${name}</th>`).join("");
  return `<div class="table" role="region" aria-label="${caption}" tabindex="0"><table><caption>${caption}</caption><thead><tr>${names}</tr></thead><tbody>${rows.join("\n")}</tbody></table></div>`;
}

function page({ info, paths, components }: Document): string {
  const operations = Object.entries(paths).flatMap(([path, { parameters, ...methods }]) =>
    Object.entries(methods).map(([method, operation]) => {
      const shared = (parameters ?? []) as unknown as readonly Parameter[];
      return section(`${method.toUpperCase()} ${path}`, operation, shared);
    }),
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) => `<section id="${name}"><h3>${name}</h3>${fields(name, schema)}</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escaped(info.title)}: HTTP API</title><link rel="stylesheet" href="/reference.css"></head>
<body><main><h1>${escaped(info.title)}: HTTP API</h1>
<p>${prose(info.description)}</p>
<p>Version ${escaped(info.version)}. <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1) is what this page is made of. <a href="/">Back to the local stack</a></p>
${operations.join("\n")}
<h2>Schemas</h2>
${schemas.join("\n")}
</main></body></html>`;
}

function section(title: string, operation: Operation, shared: readonly Parameter[]): string {
  const parameters = [...shared, ...(operation.parameters ?? [])].map((one) =>
    row(
      `<code>${escaped(one.name)}</code>`,
      `${one.in}${one.required ? ", required" : ""}`,
      prose(one.description),
    ),
  );
  const [body] = Object.values(operation.requestBody?.content ?? {});
  const examples = Object.entries(body?.examples ?? {}).map(
    ([name, { value }]) =>
      `<details><summary>Example: ${escaped(name)}</summary><pre tabindex="0">${escaped(JSON.stringify(value, null, 2))}</pre></details>`,
  );
  const responses = Object.entries(operation.responses).map(([status, response]) => {
    const contents = Object.entries(response.content).map(
      ([type, { schema }]) => `<code>${escaped(type)}</code>: ${typeOf(schema)}`,
    );
    const headers = Object.keys(response.headers ?? {}).map((name) => `<code>${name}</code>`);
    const more = headers.length > 0 ? ` Headers: ${headers.join(", ")}.` : "";
    return row(status, `${prose(response.description)}${more}`, contents.join("<br>"));
  });
  return `<section><h2><code>${escaped(title)}</code></h2>
<p>${prose(operation.summary)}. ${prose(operation.description)}</p>
${parameters.length > 0 ? table(`Parameters of ${escaped(title)}`, ["Name", "Where", "Meaning"], parameters) : ""}
${body ? `<p>The body is a ${typeOf(body.schema)}.</p>${examples.join("\n")}` : ""}
${table(`Answers of ${escaped(title)}`, ["Status", "When", "Body"], responses)}</section>`;
}

/** A row for each field, those of objects within it indented below by their path. */
function fields(name: string, schema: Schema): string {
  const rows = (own: Schema, before: string): readonly string[] =>
    Object.entries(own.properties ?? {}).flatMap(([field, value]) => {
      const path = `${before}${field}`;
      const needed = own.required?.includes(field) ? "required" : "";
      const inner = objectIn(value);
      return [
        row(`<code>${escaped(path)}</code>`, typeOf(value), needed, prose(value.description)),
        ...(inner ? rows(inner.schema, `${path}${inner.list ? "[]." : "."}`) : []),
      ];
    });
  return table(`Fields of ${name}`, ["Field", "Type", "", "Meaning"], rows(schema, ""));
}

/** The object that a value is, may be, or is a list of. */
function objectIn(value: Schema): { readonly schema: Schema; readonly list: boolean } | undefined {
  if (value.properties) return { schema: value, list: false };
  if (value.items?.properties) return { schema: value.items, list: true };
  for (const one of value.anyOf ?? []) {
    const found = objectIn(one);
    if (found) return found;
  }
  return undefined;
}

function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) {
    const name = escaped(schema.$ref.split("/").at(-1));
    return `<a href="#${name}">${name}</a>`;
  }
  if (schema.enum) return schema.enum.map((value) => `<code>${escaped(value)}</code>`).join(", ");
  if (schema.const !== undefined) return `<code>${escaped(schema.const)}</code>`;
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(" or ");
  if (schema.items) return `array of ${typeOf(schema.items)}`;
  return escaped([schema.type ?? "any"].flat().join(" or "));
}
