/**
 * Secrets Manager: the one call that a function needs to read a mailbox, and those by which a person
 * keeps one. No secret is ever part of an error.
 */
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
} from "@aws-sdk/client-secrets-manager";
import { withSignal } from "../submission/in-time.ts";
import { SecretError, type SecretReader } from "../submission/ports.ts";
import { settings } from "./settings.ts";

/** How long one read may take before the cached secret has to do, in milliseconds. */
const TIMEOUT_MS = 5_000;

export function secretsManager(): SecretReader {
  const client = new SecretsManagerClient({ ...settings("SECRETS_MANAGER"), maxAttempts: 3 });
  return {
    async read(id) {
      try {
        const command = new GetSecretValueCommand({ SecretId: id });
        const answer = await withSignal(TIMEOUT_MS, (abortSignal) =>
          client.send(command, { abortSignal }),
        );
        if (answer.SecretString !== undefined) {
          return { secret: answer.SecretString, version: answer.VersionId ?? "" };
        }
      } catch (error) {
        throw translate(error as Error, id);
      }
      throw new SecretError(
        "missing",
        `The secret ${id} has no SecretString (binary secrets hold no mailbox).`,
      );
    },
  };
}

/** For whoever keeps mailboxes; functions only read. */
export interface SecretKeeper extends SecretReader {
  /**
   * Make `secret` the current version, and the secret itself where there is none.
   * @returns the version's name
   * @throws SecretError
   */
  store(id: string, secret: string): Promise<{ readonly version: string; readonly isNew: boolean }>;
}

export function secretKeeper(): SecretKeeper {
  const client = new SecretsManagerClient({ maxAttempts: 3 });
  return {
    ...secretsManager(),
    async store(id, secret) {
      try {
        const put = new PutSecretValueCommand({ SecretId: id, SecretString: secret });
        const { VersionId: version = "" } = await client.send(put);
        return { version, isNew: false };
      } catch (error) {
        if ((error as Error).name !== "ResourceNotFoundException") {
          throw translate(error as Error, id, "written");
        }
      }
      try {
        const create = new CreateSecretCommand({ Name: id, SecretString: secret });
        const { VersionId: version = "" } = await client.send(create);
        return { version, isNew: true };
      } catch (error) {
        throw translate(error as Error, id, "written");
      }
    },
  };
}

function translate(
  { name, message }: Error,
  id: string,
  done: "read" | "written" = "read",
): SecretError {
  if (name === "ResourceNotFoundException") {
    return new SecretError("missing", `There is no secret ${id}, or it has no value yet.`);
  }
  if (
    name === "AccessDeniedException" ||
    name === "DecryptionFailure" ||
    name === "InvalidRequestException"
  ) {
    return new SecretError(
      "denied",
      `The secret ${id} may not be ${done} (${name}): check the ${done === "read" ? "function's" : "caller's"} role, the secret's policy and its KMS key.`,
    );
  }
  if (name === "CredentialsProviderError" || name === "UnrecognizedClientException") {
    return new SecretError("denied", `Secrets Manager was not asked: ${name}.`);
  }
  const why = name === "Error" ? message : name;
  return new SecretError("unavailable", `The secret ${id} could not be ${done} now (${why}).`);
}
