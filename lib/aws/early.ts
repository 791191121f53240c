/**
 * What an instance does first: it asks for the default mailbox's secret. The build makes a script of
 * its own of this (infra/starter.ts), so that the connection is being made while the rest is loaded.
 * A failure is told to whoever needs the secret.
 */

import type { SecretReader } from "../submission/ports.ts";
import { secretsManager } from "./secrets-manager.ts";

const manager = secretsManager();
const { MAILBOX_SECRET_ID: own, MAILBOX_CACHE_SECONDS: seconds } = process.env;
/** Where nothing may be kept, what was read in init is too old for the first event. */
let ahead = own && Number(seconds || 1) > 0 ? manager.read(own) : undefined;
ahead?.catch(() => {});

/** The first who asks for the default mailbox's secret gets what was asked for here. */
export const secrets: SecretReader = {
  read(id) {
    if (id !== own || ahead === undefined) return manager.read(id);
    const answer = ahead;
    ahead = undefined;
    return answer;
  },
};
