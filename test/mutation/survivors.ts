/** Mutants that no test notices, and why none should. */
export interface Survivor {
  readonly file: string;
  readonly why: string;
  /** `code → what became of it`, white space squeezed. */
  readonly mutants: readonly string[];
}

export const SURVIVORS: readonly Survivor[] = [];
