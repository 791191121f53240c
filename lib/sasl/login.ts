/**
 * LOGIN (draft-murchison-sasl-login, never an RFC): the username, then the password. It guards the
 * order: prompts differ from server to server and in language, so answers go by position and never
 * by what the prompt says, which is whatever the server likes.
 */
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { utf8 } from "./octets.ts";

class LoginExchange implements Exchange {
  readonly #username: Uint8Array;
  readonly #password: Uint8Array;
  readonly #initialResponse: boolean;
  #due: "username" | "password" | "nothing";

  constructor(username: string, password: string, initialResponse: boolean) {
    this.#username = utf8(username);
    this.#password = utf8(password);
    this.#initialResponse = initialResponse;
    this.#due = initialResponse ? "password" : "username";
  }

  get initial(): Uint8Array | undefined {
    return this.#initialResponse ? this.#username : undefined;
  }

  next(): Uint8Array {
    const due = this.#due;
    if (due === "nothing") throw tooManyChallenges("LOGIN");
    if (due === "username") {
      this.#due = "password";
      return this.#username;
    }
    this.#due = "nothing";
    return this.#password;
  }

  finish(): void {}
}

/** The LOGIN mechanism; kept for servers that offer nothing better. */
export const login: Mechanism = {
  name: "LOGIN",
  plaintext: true,
  oneShot: false,
  ignoresPrompts: true,
  usable: hasPassword,
  begin(context, options = {}) {
    if (!hasPassword(context)) throw new SaslError("LOGIN: username or password is empty");
    const { username, password = "" } = context.credentials;
    return new LoginExchange(username, password, options.initialResponse ?? true);
  },
};
