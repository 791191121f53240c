/**
 * What a script learns from the exit code. Every outcome has one of its own; the others are those of
 * sysexits.h, as sendmail has them.
 */
import type { Result } from "../submission/outcome.ts";

export const EXIT = {
  ok: 0,
  /** `replay`: the client said something else. `check`: there is something to mend. */
  differs: 1,
  partial: 2,
  uncertain: 3,
  rejected: 4,
  usage: 64,
  malformed: 65,
  noInput: 66,
  unavailable: 69,
  internal: 70,
  /** Deferred: the same again later may succeed. */
  later: 75,
  /** Deferred: a person must act first. */
  act: 78,
  interrupted: 130,
} as const;

/** An end that was foreseen: one line for a person, and the code for a script. */
export class Stop extends Error {
  override readonly name = "Stop";
  readonly exit: number;

  constructor(exit: number, message: string) {
    super(message);
    this.exit = exit;
  }
}

export function exitOf({ outcome, retryable, error }: Result): number {
  switch (outcome) {
    case "accepted":
      return EXIT.ok;
    case "partial":
      return EXIT.partial;
    case "uncertain":
      return EXIT.uncertain;
    case "rejected":
      return error?.code === "invalid_request" ? EXIT.malformed : EXIT.rejected;
    case "deferred":
      if (error?.code === "not_invoked") return EXIT.unavailable;
      return retryable ? EXIT.later : EXIT.act;
  }
}
