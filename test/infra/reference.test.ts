/** The API's reference in the browser: all of the document, and nothing that it could load or run. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { answerReference } from "../../infra/local/reference.ts";

const document = JSON.parse(
  readFileSync(new URL("../../lib/client/openapi.json", import.meta.url), "utf8"),
);
const pageOf = async () => String((await answerReference("/reference"))?.body);

it("shows every route with its statuses, every field, and the examples", async () => {
  const page = await pageOf();
  for (const [path, methods] of Object.entries<Record<string, { responses?: object }>>(
    document.paths,
  )) {
    for (const [method, { responses = {} }] of Object.entries(methods)) {
      if (method === "parameters") continue;
      const [, section = ""] = page.split(`${method.toUpperCase()} ${path}</code></h2>`);
      const own = section.slice(0, section.indexOf("</section>"));
      for (const status of Object.keys(responses)) expect(own).toContain(`>${status}</th>`);
    }
  }
  for (const [name, schema] of Object.entries<{ properties: object }>(
    document.components.schemas,
  )) {
    expect(page).toContain(`<section id="${name}">`);
    for (const field of Object.keys(schema.properties)) {
      expect(page).toContain(`<code>${field}</code>`);
    }
  }
  expect(page).toContain("我是标题");
});

it("brings everything along, and runs nothing", async () => {
  const answer = await answerReference("/reference");
  expect(answer?.headers["content-security-policy"]).toContain("default-src 'none'");
  const page = await pageOf();
  expect(page).not.toMatch(/<script|https?:\/\/(?!.*execute-api)[^"<]*\.js|style="/);
  for (const [, link = ""] of page.matchAll(/(?:href|src)="(\/[^"#]+)"/g)) {
    expect(await answerReference(link), link).toMatchObject({ status: 200 });
  }
  for (const [, anchor = ""] of page.matchAll(/href="#([^"]+)"/g)) {
    expect(page).toContain(`id="${anchor}"`);
  }
  expect(await answerReference("/other")).toBeUndefined();
});
