/**
 * What the page gets over HTTP.
 *
 * Rule guarded here: the page is a caller like any other. It shares the result's type with the
 * library, which is gone when the file is served, and nothing that runs.
 */

export type { Entry } from "../../../lib/smtp/transcript.ts";
export type { Outcome, RecipientOutcome, Result } from "../../../lib/submission/outcome.ts";

/** The request as it is written: whatever JSON a person puts together. */
export type Request = { [field: string]: unknown };

export interface Facts {
  readonly faults: readonly FaultFact[];
  readonly examples: readonly {
    readonly id: string;
    readonly status: number;
    readonly line: string;
  }[];
  readonly addresses: Readonly<Record<string, string>>;
}

export interface FaultFact {
  readonly id: string;
  readonly status: number;
  readonly mailbox?: string;
  readonly beside?: true;
  readonly octets?: number;
}

export interface Summary {
  readonly queueId: string;
  /** ISO 8601. */
  readonly receivedAt: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly octets: number;
}

export interface Details extends Omit<Summary, "attachments"> {
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly text: string;
  readonly html: boolean;
  readonly attachments: readonly {
    readonly filename: string;
    readonly contentType: string;
    readonly octets: number;
  }[];
  readonly source: string;
  /** Octets of the source that are not shown. */
  readonly cut: number;
}
