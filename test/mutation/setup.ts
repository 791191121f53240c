/** Properties begin at the same seed for every mutant, and what fails once has failed: no shrinking. */
import fc from "fast-check";

fc.configureGlobal({ seed: 1, endOnFailure: true });
