/**
 * LOGIN (draft-murchison-sasl-login, never an RFC): the username, then the password. It guards the
 * order: prompts differ from server to server and in language, so answers go by position and not by
 * what the prompt says. One exception keeps the password out of a server's log of user names: a
 * server that ignored the username sent with the command, and asks for it, gets it again.
 */
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { fromUtf8, utf8 } from "./octets.ts";

class LoginExchange implements Exchange {
  readonly #username: Uint8Array;
  readonly #password: Uint8Array;
  readonly #initialResponse: boolean;
  #due: "username" | "first-prompt" | "password" | "nothing";

  constructor(username: string, password: string, initialResponse: boolean) {
    this.#username = utf8(username);
    this.#password = utf8(password);
    this.#initialResponse = initialResponse;
    this.#due = initialResponse ? "first-prompt" : "username";
  }

  get initial(): Uint8Array | undefined {
    return this.#initialResponse ? this.#username : undefined;
  }

  next(challenge: Uint8Array): Uint8Array {
    const due = this.#due;
    if (due === "nothing") throw tooManyChallenges("LOGIN");
    if (due === "username" || (due === "first-prompt" && asksForUsername(challenge))) {
      this.#due = "password";
      return this.#username;
    }
    this.#due = "nothing";
    return this.#password;
  }

  finish(): void {}
}

/** The two prompts in use: `Username:` and the draft's `User Name` NUL. */
function asksForUsername(challenge: Uint8Array): boolean {
  return /^\s*user ?name\b/i.test(fromUtf8(challenge) ?? "");
}

/** The LOGIN mechanism; kept for servers that offer nothing better. */
export const login: Mechanism = {
  name: "LOGIN",
  plaintext: true,
  oneShot: false,
  usable: hasPassword,
  begin(context, options = {}) {
    if (!hasPassword(context)) throw new SaslError("LOGIN: username or password is empty");
    const { username, password = "" } = context.credentials;
    return new LoginExchange(username, password, options.initialResponse ?? true);
  },
};
