/**
 * What is wrong with a request, told as path and reason. Reasons name rules, never values: a value
 * may be a whole attachment, or private; names of fields are cut where they are absurd.
 */
import type * as z from "zod/mini";

export interface Issue {
  /** Where, joined by dots: `attachments.0.content`; empty for the request as a whole. */
  readonly path: string;
  readonly message: string;
}

type Problem = z.core.$ZodIssue;

/** More than a person would read; a request of a million wrong fields must not make a long answer. */
const MOST = 100;

export function report(problems: readonly Problem[]): readonly Issue[] {
  return problems.flatMap((problem) => describe(problem, []));
}

/** Cuts a list of issues to what a person would read, and says so. */
export function atMost(issues: readonly Issue[]): readonly Issue[] {
  if (issues.length <= MOST) return issues;
  const rest = issues.length - MOST;
  return [...issues.slice(0, MOST), { path: "", message: `and ${rest} more problems` }];
}

/** The one way to write a path. */
export function pathOf(keys: readonly PropertyKey[]): string {
  return keys.map(shown).join(".");
}

function shown(key: PropertyKey): string {
  const text = String(key);
  return (text.length > 80 ? `${text.slice(0, 80)}…` : text).replace(/\p{Cc}/gu, "?");
}

function describe(problem: Problem, above: readonly PropertyKey[]): Issue[] {
  const at = [...above, ...problem.path];
  const one = (message: string): Issue[] => [{ path: pathOf(at), message }];
  switch (problem.code) {
    case "unrecognized_keys":
      return problem.keys.map((key) => ({
        path: pathOf([...at, key]),
        message: SERVER.has(key)
          ? "unknown field: the server is chosen by the mailbox, never by the caller"
          : "unknown field",
      }));
    case "invalid_union":
      return union(problem, at);
    case "invalid_type":
      return one(`must be ${EXPECTED[problem.expected] ?? `a ${problem.expected}`}`);
    case "invalid_value":
      return one(
        `must be one of ${problem.values.map((value) => JSON.stringify(value)).join(", ")}`,
      );
    case "too_small":
      return one(`must be ${limit(problem.origin)} at least ${problem.minimum}`);
    case "too_big":
      return one(`must be ${limit(problem.origin)} at most ${problem.maximum}`);
    case "custom":
      return one(problem.message);
    default:
      return one("is not valid");
  }
}

/** Tells of the alternative that was meant: the one whose type fits. */
function union(problem: Problem & { code: "invalid_union" }, at: readonly PropertyKey[]): Issue[] {
  const branches = problem.errors.map((problems) =>
    problems.filter((inner) => inner !== undefined),
  );
  const meant = branches.find((inner) => !inner.some(isOtherType));
  if (meant !== undefined) return meant.flatMap((inner) => describe(inner, at));
  return [{ path: pathOf(at), message: 'must be "a@b", "Name <a@b>" or {name, address}' }];
}

function isOtherType(problem: Problem): boolean {
  if (problem.path.length > 0) return false;
  if (problem.code === "invalid_type") return true;
  return (
    problem.code === "invalid_union" && problem.errors.every((inner) => inner.some(isOtherType))
  );
}

function limit(origin: string): string {
  if (origin === "string") return "a string of length";
  return origin === "array" ? "a list of length" : "a number,";
}

const SERVER: ReadonlySet<string> = new Set(["host", "port", "server", "relay", "secure", "auth"]);

const EXPECTED: Readonly<Record<string, string | undefined>> = {
  int: "a whole number",
  array: "a list",
  object: "an object",
  record: "an object",
};
