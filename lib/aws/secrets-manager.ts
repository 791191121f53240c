/** Secrets Manager, through its one call that a mailbox needs. No secret is ever part of an error. */
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SecretError, type SecretReader } from "../submission/ports.ts";

/** How long one read may take before the cached secret has to do, in milliseconds. */
const TIMEOUT_MS = 5_000;

export function secretsManager(): SecretReader {
  const client = new SecretsManagerClient({ maxAttempts: 3 });
  return {
    async read(id) {
      try {
        const answer = await client.send(new GetSecretValueCommand({ SecretId: id }), {
          abortSignal: AbortSignal.timeout(TIMEOUT_MS),
        });
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

function translate({ name, message }: Error, id: string): SecretError {
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
      `The secret ${id} may not be read (${name}): check the function's role, the secret's policy and its KMS key.`,
    );
  }
  if (name === "CredentialsProviderError" || name === "UnrecognizedClientException") {
    return new SecretError("denied", `Secrets Manager was not asked: ${name}.`);
  }
  const why = name === "Error" ? message : name;
  return new SecretError("unavailable", `The secret ${id} could not be read now (${why}).`);
}
