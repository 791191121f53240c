/**
 * What Secrets Manager answers, without HTTP: secrets, their versions and stages, its error types.
 *
 * Rule guarded here: the error types and shapes are those of the service, since the SDK makes its
 * exceptions of them and the handler decides by their names.
 */
import { randomUUID } from "node:crypto";

const ACCOUNT = "000000000000";

interface Version {
  readonly id: string;
  readonly value: string;
  /** Seconds since 1970. */
  readonly created: number;
}

interface Secret {
  readonly name: string;
  readonly arn: string;
  /** Oldest first; the last one is current. A secret that was created empty has none. */
  readonly versions: Version[];
}

export type Body = Readonly<Record<string, unknown>>;

/** An answer with status 400 and a `__type`. */
export class Refusal extends Error {
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}

export class SecretStore {
  readonly #secrets = new Map<string, Secret>();

  /** Creates the secret if need be; gives the id of the version, which is current from now on. */
  put(id: string, value: string, token: string = randomUUID()): string {
    const secret = this.#secrets.get(nameOf(id)) ?? this.#create(nameOf(id));
    // The SDK repeats a lost request with the same token.
    const repeated = secret.versions.some((version) => version.id === token);
    if (!repeated) secret.versions.push({ id: token, value, created: Date.now() / 1000 });
    return token;
  }

  /** @throws Refusal */
  answer(operation: string, fields: Fields): Body {
    switch (operation) {
      case "GetSecretValue":
        return this.#value(fields);
      case "DescribeSecret":
        return this.#description(fields);
      case "CreateSecret":
        return this.#created(fields);
      case "PutSecretValue": {
        const secret = this.#find(fields);
        const id = this.put(secret.name, fields.text("SecretString"), fields.token());
        return { ...identity(secret), VersionId: id, VersionStages: ["AWSCURRENT"] };
      }
      default:
        throw new Refusal("UnknownOperationException", `Not known here: ${operation}`);
    }
  }

  #value(fields: Fields): Body {
    const secret = this.#find(fields);
    const version = wanted(secret, fields);
    return {
      ...identity(secret),
      VersionId: version.id,
      SecretString: version.value,
      VersionStages: stages(secret, version),
      CreatedDate: version.created,
    };
  }

  #description(fields: Fields): Body {
    const secret = this.#find(fields);
    const ids = secret.versions.map((version) => [version.id, stages(secret, version)]);
    return { ...identity(secret), VersionIdsToStages: Object.fromEntries(ids) };
  }

  #created(fields: Fields): Body {
    const name = fields.text("Name");
    if (this.#secrets.has(name)) {
      throw new Refusal(
        "ResourceExistsException",
        `The operation failed because the secret ${name} already exists.`,
      );
    }
    const secret = this.#create(name);
    const value = fields.optional("SecretString");
    if (value === undefined) return identity(secret);
    return { ...identity(secret), VersionId: this.put(name, value, fields.token()) };
  }

  #create(name: string): Secret {
    const region = process.env.AWS_REGION ?? "us-east-1";
    const suffix = randomUUID().slice(0, 6);
    const arn = `arn:aws:secretsmanager:${region}:${ACCOUNT}:secret:${name}-${suffix}`;
    const secret: Secret = { name, arn, versions: [] };
    this.#secrets.set(name, secret);
    return secret;
  }

  #find(fields: Fields): Secret {
    const id = fields.text("SecretId");
    const byArn = [...this.#secrets.values()].find(({ arn }) => arn === id);
    const secret = byArn ?? this.#secrets.get(nameOf(id));
    if (secret === undefined) throw notFound();
    return secret;
  }
}

/** A request's fields, asked for by type. */
export class Fields {
  readonly #record: ReadonlyMap<string, unknown>;

  /** @throws Refusal when the body is not JSON. */
  constructor(body: string) {
    try {
      this.#record = new Map(Object.entries(JSON.parse(body)));
    } catch {
      throw new Refusal("SerializationException", "The body is no JSON object.");
    }
  }

  optional(name: string): string | undefined {
    const value = this.#record.get(name);
    return typeof value === "string" ? value : undefined;
  }

  text(name: string): string {
    const value = this.optional(name);
    if (value !== undefined) return value;
    throw new Refusal("InvalidParameterException", `${name} must be a string.`);
  }

  /** Becomes the id of the version that the request makes. */
  token(): string {
    return this.optional("ClientRequestToken") ?? randomUUID();
  }
}

function wanted(secret: Secret, fields: Fields): Version {
  const id = fields.optional("VersionId");
  const stage = fields.optional("VersionStage") ?? (id === undefined ? "AWSCURRENT" : undefined);
  const version = secret.versions.findLast(
    (one) =>
      (id === undefined || one.id === id) &&
      (stage === undefined || stages(secret, one).includes(stage)),
  );
  if (version === undefined) throw notFound(stage);
  return version;
}

function stages(secret: Secret, version: Version): readonly string[] {
  if (version === secret.versions.at(-1)) return ["AWSCURRENT"];
  return version === secret.versions.at(-2) ? ["AWSPREVIOUS"] : [];
}

const identity = ({ arn, name }: Secret): Body => ({ ARN: arn, Name: name });

/** The service takes an ARN without its random suffix, too. */
const nameOf = (id: string): string =>
  id.match(/^arn:[^:]*:secretsmanager:.*:secret:(.+)$/)?.[1] ?? id;

const notFound = (stage?: string): Refusal =>
  new Refusal(
    "ResourceNotFoundException",
    stage === undefined
      ? "Secrets Manager can't find the specified secret."
      : `Secrets Manager can't find the specified secret value for staging label: ${stage}`,
  );
