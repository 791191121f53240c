/**
 * Real mail servers for the tests, each in a folder of its own under the system's temporary folder,
 * on free loopback ports, gone with `stop()`. Install them with `test/mta/install.sh`, and ask
 * `mtaAvailable` before starting one.
 */
export type { KeyPair } from "./certificates.ts";
export { startExim } from "./exim.ts";
export type { Mta, MtaOptions, MtaPorts, ReadMail, User } from "./mta.ts";
export { alice, bob, domain, idnDomain } from "./mta.ts";
export { startOpenSmtpd } from "./opensmtpd.ts";
export { type PostfixOptions, startPostfix } from "./postfix.ts";
