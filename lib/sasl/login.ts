/**
 * LOGIN (draft-murchison-sasl-login, never an RFC): the username, then the password. It guards the
 * order: prompts differ from server to server and in language, so answers go by position and never
 * by what the prompt says, which is whatever the server likes.
 */
import {
  type Exchange,
  hasPassword,
  type Mechanism,
  passwordOf,
  tooManyChallenges,
} from "./mechanism.ts";
import { utf8 } from "./octets.ts";

class LoginExchange implements Exchange {
  readonly initial: Uint8Array | undefined;
  readonly #answers: Uint8Array[];

  constructor(username: string, password: string, initialResponse: boolean) {
    const answers = [utf8(username), utf8(password)];
    this.initial = initialResponse ? answers.shift() : undefined;
    this.#answers = answers;
  }

  next(): Uint8Array {
    const answer = this.#answers.shift();
    if (answer === undefined) throw tooManyChallenges("LOGIN");
    return answer;
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
    const { username, password } = passwordOf("LOGIN", context);
    return new LoginExchange(username, password, options.initialResponse ?? true);
  },
};
