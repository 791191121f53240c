/**
 * An option of the deployment, packaged once for a group of tests, with AWS's own validator on it; and
 * the views of a template that several such groups share.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ofType, PACKAGING_MS, type Packaged, type Template, Workshop } from "./package.ts";

export const workshop = new Workshop();
const engine = new RegoEngine();
afterAll(() => {
  workshop.close();
  engine.free();
});

/** What the validator says that is not ours to mend, or not wrong. */
const EXPECTED = [
  // The framework's own: DependsOn beside a reference.
  "W3005",
  // ARNs made of pseudo parameters, where a reference would be a circle; and the framework's own.
  "W9002",
];

export function findings(
  file: string,
  severityLevel: "WARN" | "ERROR" = "WARN",
): readonly string[] {
  const options = { severityLevel, exclude: { ids: EXPECTED } };
  const { diagnostics } = engine.validateStandard(new TemplateFile(file), options);
  return diagnostics.map(
    ({ ruleId, entity, propertyPath, message }) =>
      `${ruleId} ${entity?.logicalId} ${propertyPath ?? ""}: ${message}`,
  );
}

/** Registers the test that packages it. @returns the template, once that has run */
export const stack = (stage: string, parameters: Readonly<Record<string, string>>) => {
  let packaged: Packaged;
  beforeAll(async () => {
    packaged = await workshop.package(stage, parameters);
  }, PACKAGING_MS);
  test(
    "is packaged without a warning, and the validator finds nothing",
    () => {
      expect(packaged.printed).not.toMatch(/warning|deprecat|error/i);
      // As it is, errors; and warnings once the conditions are applied, since packaging made literals
      // of what they compare, and the validator thinks that a mistake.
      expect(findings(packaged.file, "ERROR")).toEqual([]);
      const applied = join(packaged.artefact, "deployed.json");
      writeFileSync(applied, JSON.stringify(packaged.template));
      expect(findings(applied)).toEqual([]);
    },
    PACKAGING_MS,
  );
  return () => packaged.template;
};

export const arn = (name: string) => ({ "Fn::GetAtt": [name, "Arn"] });
export const functionsOf = (template: Template) =>
  ofType(template, "AWS::Lambda::Function").map(([, { Properties }]) => Properties);

/** The statements of each role's policy of that name; undefined where it has none. */
export function statementsOf(template: Template, policy: string): ReadonlyMap<string, unknown> {
  return new Map(
    ofType(template, "AWS::IAM::Role").map(([name, { Properties }]) => [
      name,
      Properties.Policies.find((one: { PolicyName: string }) => one.PolicyName === policy)
        ?.PolicyDocument.Statement,
    ]),
  );
}
