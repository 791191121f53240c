/**
 * `serverless offline`, for the template itself: its routes, functions and schedules as they would be
 * deployed, in front of the local stack. What the template leaves to CloudFormation (`!Ref`) is known
 * only here, so the functions get the local stack's environment in its place.
 *
 * Rule guarded here: nothing is set that the template does not set, but for AWS's endpoints. A
 * function that was not given its queue or its table fails here, and not only in AWS.
 */
import { readFileSync } from "node:fs";
import type { WholeStack } from "./stack.ts";

type Environment = Record<string, unknown>;

/** As much of the framework as is asked for. */
interface Serverless {
  readonly service: {
    readonly provider: { environment?: Environment };
    readonly functions: Readonly<
      Record<string, { environment?: Environment; events?: readonly unknown[] }>
    >;
    custom?: Record<string, unknown>;
  };
}

// biome-ignore lint/style/noDefaultExport: how the framework takes a plugin
export default class Offline {
  readonly hooks: Readonly<Record<string, () => Promise<void>>>;
  readonly #serverless: Serverless;
  #stack: WholeStack | undefined;

  constructor(serverless: Serverless) {
    this.#serverless = serverless;
    this.hooks = {
      "before:offline:start:init": () => this.#start(),
      "before:offline:start:end": () => this.#end(),
    };
  }

  async #start(): Promise<void> {
    const { startWholeStack } = await import("./stack.ts");
    const { faulty } = await import("./faults.ts");
    const stack: WholeStack = await startWholeStack(faulty(() => stack.mail.inbox));
    this.#stack = stack;
    const { service } = this.#serverless;
    const services = Object.entries(stack.environment).filter(([name]) => name.startsWith("AWS_"));
    service.provider.environment = {
      ...resolved(service.provider.environment, stack),
      ...Object.fromEntries(services),
    };
    for (const one of Object.values(service.functions)) {
      one.environment = resolved(one.environment, stack);
    }
    // It knows no IAM authorizer, and takes one for a JWT's.
    service.custom = { ...service.custom, "serverless-offline": { noAuth: true } };
    this.#schedule(process.env["OFFLINE_SCHEDULE"]);
  }

  /** The template has no schedule of its own: each is somebody's, with what it sends. */
  #schedule(rate: string | undefined): void {
    const scheduled = this.#serverless.service.functions["eventbridge"];
    if (rate === undefined || scheduled === undefined) return;
    const sample = new URL("events/scheduler.json", import.meta.url);
    const input: unknown = JSON.parse(readFileSync(sample, "utf8"));
    const event = { schedule: { rate: [rate], enabled: true, input } };
    scheduled.events = [...(scheduled.events ?? []), event];
  }

  async #end(): Promise<void> {
    await this.#stack?.close();
  }
}

/** What is a value stays; what is a reference becomes what the local stack has under that name. */
function resolved(environment: Environment = {}, stack: WholeStack): Environment {
  const values = Object.entries(environment).map(([name, value]) => [
    name,
    typeof value === "object" ? stack.environment[name] : value,
  ]);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}
