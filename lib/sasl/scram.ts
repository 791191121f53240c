/**
 * SCRAM (RFC 5802, RFC 7677) with SHA-1, SHA-256 and SHA-512, each with and without channel binding.
 * It guards that both sides prove themselves: the server's nonce must extend ours, the cost it asks
 * for is bounded both ways, a channel binding that was stripped on the way is noticed (§6), and
 * success counts only after the server's signature was verified (§3). Messages: scram-message.ts.
 */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import {
  type Exchange,
  type Mechanism,
  type SaslContext,
  SaslError,
  tooManyChallenges,
} from "./mechanism.ts";
import { base64, concat, noOctets, utf8 } from "./octets.ts";
import { type PreparedCredentials, preparedForms } from "./prepare.ts";
import { readServerFinal, readServerFirst, saslname } from "./scram-message.ts";

type Hash = "SHA-1" | "SHA-256" | "SHA-512";
type Binding = SaslContext["bindings"][number];

const hashes: readonly Hash[] = ["SHA-512", "SHA-256", "SHA-1"];

class ScramExchange implements Exchange {
  readonly #name: string;
  readonly #digest: string;
  readonly #password: string;
  readonly #nonce: string;
  /** `gs2-header`, and after it what the channel is bound to: `cbind-input` (§7). */
  readonly #header: string;
  readonly #bindingData: Uint8Array;
  readonly #bare: string;
  #expected: Uint8Array = noOctets;
  #state: "unproved" | "answered" | "proved" | "over" = "unproved";

  constructor(name: string, hash: Hash, forms: PreparedCredentials, nonce: string, flag: Flag) {
    this.#name = name;
    this.#digest = hash.replace("-", "").toLowerCase();
    this.#password = forms.password;
    this.#nonce = nonce;
    this.#header = `${flag.text},,`;
    this.#bindingData = flag.data;
    this.#bare = `n=${saslname(forms.username)},r=${nonce}`;
  }

  get initial(): Uint8Array {
    return utf8(this.#header + this.#bare);
  }

  next(challenge: Uint8Array): Uint8Array {
    const state = this.#state;
    // Until a challenge is accepted the exchange is over: nothing mends one that was refused.
    this.#state = "over";
    if (state === "unproved") {
      const message = this.#prove(challenge);
      this.#state = "answered";
      return message;
    }
    if (state !== "answered") throw tooManyChallenges(this.#name);
    this.#verify(challenge);
    this.#state = "proved";
    return noOctets;
  }

  finish(): void {
    if (this.#state === "proved") return;
    throw new SaslError(`${this.#name}: success without proof that the server knows the password`);
  }

  /** `client-final-message`, and the signature that the server will have to show (§3). */
  #prove(challenge: Uint8Array): Uint8Array {
    const first = readServerFirst(this.#name, challenge, this.#nonce);
    const binding = base64(concat(utf8(this.#header), this.#bindingData));
    const withoutProof = `c=${binding},r=${first.nonce}`;
    const authMessage = `${this.#bare},${first.text},${withoutProof}`;

    const length = createHash(this.#digest).digest().length;
    const { salt, iterations } = first;
    const salted = pbkdf2Sync(utf8(this.#password), salt, iterations, length, this.#digest);
    const clientKey = this.#hmac(salted, "Client Key");
    const storedKey = createHash(this.#digest).update(clientKey).digest();
    const signature = this.#hmac(storedKey, authMessage);
    const proof = clientKey.map((octet, at) => octet ^ (signature[at] ?? 0));
    this.#expected = this.#hmac(this.#hmac(salted, "Server Key"), authMessage);
    return utf8(`${withoutProof},p=${base64(proof)}`);
  }

  #verify(challenge: Uint8Array): void {
    const signature = readServerFinal(this.#name, challenge);
    const expected = this.#expected;
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw new SaslError(`${this.#name}: the server's signature is wrong`);
    }
  }

  #hmac(key: Uint8Array, text: string): Uint8Array {
    return new Uint8Array(createHmac(this.#digest, key).update(utf8(text)).digest());
  }
}

/** `gs2-cbind-flag`, and the data behind it (§7). */
interface Flag {
  readonly text: string;
  readonly data: Uint8Array;
}

function bound(binding: Binding): Flag {
  return { text: `p=${binding.type}`, data: binding.data };
}

/**
 * `y` tells the server, under the proof, that we could bind but were offered no -PLUS: where it did
 * offer one, somebody took it out, and the server fails the exchange (§6). Only a -PLUS that we could
 * have taken excuses `n`, so that an invented name cannot talk us out of asking.
 */
function unbound(context: SaslContext): Flag {
  const advertised = context.advertised.map((name) => name.toUpperCase());
  const offered = hashes.some((hash) => advertised.includes(`SCRAM-${hash}-PLUS`));
  return { text: context.bindings.length === 0 || offered ? "n" : "y", data: noOctets };
}

function scram(hash: Hash, plus: boolean): Mechanism {
  const name = `SCRAM-${hash}${plus ? "-PLUS" : ""}`;
  return {
    name,
    plaintext: false,
    oneShot: false,
    usable({ credentials, bindings }) {
      return preparedForms(credentials) !== undefined && (!plus || bindings.length > 0);
    },
    begin(context) {
      const forms = preparedForms(context.credentials);
      if (forms === undefined) {
        throw new SaslError(`${name}: username or password is empty or refused by SASLprep`);
      }
      const [binding] = plus ? context.bindings : [];
      if (plus && binding === undefined) {
        throw new SaslError(`${name}: the channel offers nothing to bind to`);
      }
      const nonce = context.nonce();
      if (!/^[\x21-\x2b\x2d-\x7e]+$/.test(nonce)) {
        throw new SaslError(`${name}: the client nonce must be printable and without commas`);
      }
      const flag = binding === undefined ? unbound(context) : bound(binding);
      return new ScramExchange(name, hash, forms, nonce, flag);
    },
  };
}

/** SCRAM bound to the TLS channel, strongest hash first (RFC 5802 §6, RFC 9266, RFC 5929 §4). */
export const scramPlus: readonly Mechanism[] = hashes.map((hash) => scram(hash, true));

/** SCRAM without channel binding, strongest hash first. */
export const scramBare: readonly Mechanism[] = hashes.map((hash) => scram(hash, false));
