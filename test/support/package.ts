/**
 * Packages the service as a deployer would, offline and in an empty environment, and reads the
 * template as CloudFormation would: what an option leaves out is not there.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** How long packaging may take on a machine that does much else, in milliseconds. */
export const PACKAGING_MS = 180_000;

export interface Resource {
  readonly Type: string;
  readonly Condition?: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  // biome-ignore lint/suspicious/noExplicitAny: a template's properties are compared, never trusted
  readonly Properties: any;
}

export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<Record<string, { readonly Condition?: string }>>;
}

export interface Packaged {
  /** The folder with the archives and the templates. */
  readonly artefact: string;
  /** The template's own file, conditions and all. */
  readonly file: string;
  /** As {@link deployed} leaves it. */
  readonly template: Template;
  /** What the framework said. */
  readonly printed: string;
}

/** A tree to package in, to be removed by `close`. */
export class Workshop {
  readonly #folder = mkdtempSync(join(tmpdir(), "posthaste-package-"));
  #count = 0;

  constructor() {
    // A copy with what packaging may need and nothing else: the framework clears the `.serverless`
    // folder of the tree it runs in, which may be the one about to be deployed.
    for (const part of ["serverless.yml", "package.json", "infra", "dist"]) {
      cpSync(join(ROOT, part), join(this.#folder, "tree", part), { recursive: true });
    }
  }

  /**
   * @param parameters of serverless.yml
   * @throws what the framework printed, where it refuses
   */
  async package(
    stage: string,
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<Packaged> {
    this.#count += 1;
    const artefact = join(this.#folder, `artefact-${this.#count}`);
    const framework = join(ROOT, "node_modules", "serverless", "bin", "serverless.js");
    const options = Object.entries(parameters).map(([name, value]) => `--param=${name}=${value}`);
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [framework, "package", "--stage", stage, "--package", artefact, ...options],
      {
        cwd: join(this.#folder, "tree"),
        // No account, no region, no profile, and every road to AWS closed: packaging is offline.
        env: {
          PATH: [dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter),
          HOME: join(this.#folder, "home"),
          AWS_EC2_METADATA_DISABLED: "true",
          HTTPS_PROXY: "http://127.0.0.1:9",
          HTTP_PROXY: "http://127.0.0.1:9",
        },
      },
    );
    const file = join(artefact, "cloudformation-template-update-stack.json");
    const template = deployed(JSON.parse(readFileSync(file, "utf8")));
    return { artefact, file, template, printed: stdout + stderr };
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const NOTHING = Symbol("AWS::NoValue");

/** The template with its conditions applied: they compare literals only, which packaging filled in. */
export function deployed(
  template: Template & { readonly Conditions: Readonly<Record<string, unknown>> },
): Template {
  const holds = (condition: unknown): boolean => {
    const [[operator, operands] = []] = Object.entries(condition as object);
    if (operator === "Condition") return named(operands as string);
    if (operator === "Fn::Not") return !holds((operands as unknown[])[0]);
    if (operator === "Fn::And") return (operands as unknown[]).every(holds);
    if (operator !== "Fn::Equals") throw new Error(`No reading of the condition ${operator}.`);
    const [left, right] = operands as unknown[];
    return String(left) === String(right);
  };
  const named = (name: string): boolean => {
    if (!(name in template.Conditions)) throw new Error(`There is no condition ${name}.`);
    return holds(template.Conditions[name]);
  };
  const apply = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(apply).filter((one) => one !== NOTHING);
    if (typeof value !== "object" || value === null) return value;
    if ("Ref" in value && value.Ref === "AWS::NoValue") return NOTHING;
    if ("Fn::If" in value) {
      const [name, yes, no] = value["Fn::If"] as [string, unknown, unknown];
      return apply(named(name) ? yes : no);
    }
    const kept = Object.entries(value).map(([key, one]) => [key, apply(one)] as const);
    return Object.fromEntries(kept.filter(([, one]) => one !== NOTHING));
  };
  const kept = (all: Readonly<Record<string, { readonly Condition?: string }>>) =>
    Object.fromEntries(
      Object.entries(all)
        .filter(([, { Condition }]) => Condition === undefined || named(Condition))
        .map(([name, { Condition: _, ...rest }]) => [name, apply(rest)]),
    );
  const { Conditions: _, ...rest } = template;
  return {
    ...rest,
    Resources: kept(template.Resources) as Template["Resources"],
    Outputs: kept(template.Outputs) as Template["Outputs"],
  };
}

export const ofType = (
  template: Template,
  type: string,
): readonly (readonly [string, Resource])[] =>
  Object.entries(template.Resources).filter(([, resource]) => resource.Type === type);

/** @throws where there is none */
export function resourceOf(template: Template, name: string): Resource {
  const found = template.Resources[name];
  if (found === undefined) throw new Error(`The template has no ${name}.`);
  return found;
}
