/** The metrics, held to the format's specification and to the names that alarms are built on. */
import { describe, expect, it } from "vitest";
import { type Result, unsent } from "../../lib/submission/outcome.ts";
import { emitCanary } from "../../lib/telemetry/canary.ts";
import { DIMENSIONS, emfMetrics, emitter, NAMESPACE } from "../../lib/telemetry/metrics.ts";
import { readEmf } from "./emf.ts";

const TIMING = {
  totalMs: 61.2,
  connectMs: 9.8,
  tlsMs: 10.9,
  authMs: 0,
  transactionMs: 20.1,
  roundTrips: 6,
};
const ACCEPTED: Result = {
  ...unsent("order-1", "deferred", { code: "", phase: "", message: "" }),
  outcome: "accepted",
  reply: { code: 250, text: "Ok" },
  recipients: [{ address: "a@example.com", outcome: "accepted", reply: null }],
  timing: TIMING,
};

function collect(service: string | undefined) {
  const lines: string[] = [];
  const emit = emitter(service, (line) => lines.push(line));
  return { lines, emit, metrics: emfMetrics(emit) };
}

function emitted(result: Result, receives?: number) {
  const { lines, metrics } = collect("mail");
  metrics.submission({ source: "sqs", result, requestId: "r", receives });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  return readEmf(lines[0] ?? "");
}

describe("a submission's metrics", () => {
  it("have the agreed names, units and dimensions", () => {
    const { namespace, dimensions, service, source, values, units } = emitted(ACCEPTED, 3);
    expect(namespace).toBe("posthaste");
    expect(dimensions).toEqual([["Service"], ["Service", "Source"]]);
    expect([service, source]).toEqual(["mail", "sqs"]);
    expect([NAMESPACE, DIMENSIONS]).toEqual([namespace, dimensions]);
    expect(values).toEqual({
      Submissions: 1,
      Accepted: 1,
      Partial: 0,
      Rejected: 0,
      Deferred: 0,
      Uncertain: 0,
      LoginRefused: 0,
      Recipients: 1,
      Reply2xx: 1,
      Reply4xx: 0,
      Reply5xx: 0,
      RoundTrips: 6,
      TotalMs: 61.2,
      ConnectMs: 9.8,
      TlsMs: 10.9,
      AuthMs: 0,
      TransactionMs: 20.1,
      Retries: 2,
    });
    for (const [name, unit] of Object.entries(units)) {
      expect([name, unit]).toEqual([name, name.endsWith("Ms") ? "Milliseconds" : "Count"]);
    }
  });

  it.each([
    ["accepted", "Accepted"],
    ["partial", "Partial"],
    ["rejected", "Rejected"],
    ["deferred", "Deferred"],
    ["uncertain", "Uncertain"],
  ] as const)("count %s as %s alone", (outcome, name) => {
    const { values } = emitted({ ...ACCEPTED, outcome });
    const counted = ["Accepted", "Partial", "Rejected", "Deferred", "Uncertain"].filter(
      (each) => values[each] === 1,
    );
    expect(counted).toEqual([name]);
  });

  it.each([
    [{ code: 535, text: "no" }, "auth_failed", "auth", 1],
    [{ code: 534, text: "app password" }, "auth_refused", "auth", 1],
    // Resting after a refusal: no reply, and the cause lasts.
    [null, "auth_failed", "auth", 1],
    [{ code: 454, text: "later" }, "auth_deferred", "auth", 0],
    [{ code: 535, text: "no" }, "recipient_refused", "rcpt", 0],
  ])("reply %j with %s is a refused login or not", (reply, code, phase, LoginRefused) => {
    const error = { code, phase, message: "" };
    const { values } = emitted({ ...ACCEPTED, outcome: "deferred", reply, error });
    expect(values).toMatchObject({
      LoginRefused,
      Reply4xx: reply?.code === 454 ? 1 : 0,
      Reply5xx: reply && reply.code > 500 ? 1 : 0,
      Reply2xx: 0,
    });
  });

  it("tell no times where nobody was connected to, and no retries outside a queue", () => {
    const error = { code: "sender_not_allowed", phase: "policy", message: "" };
    const { values } = emitted(unsent("x", "rejected", error));
    expect(Object.keys(values).filter((name) => /Ms$|RoundTrips|Retries/.test(name))).toEqual([]);
  });

  it("hold nobody's address, nor what a server said", () => {
    const { lines, metrics } = collect("mail");
    metrics.submission({ source: "api", result: ACCEPTED, requestId: "r" });
    expect(lines.join("")).not.toMatch(/example\.com|Ok/);
  });

  it("are not written without a service", () => {
    const { lines, emit, metrics } = collect(undefined);
    metrics.submission({ source: "api", result: ACCEPTED, requestId: "r" });
    emitCanary({ delays: [], delivered: 0, late: 0, lost: 0, spam: 0 }, emit);
    expect(lines).toEqual([]);
  });
});

describe("the delivery check's metrics", () => {
  it("have a delay for each probe found, and none where there is none", () => {
    const { lines, emit } = collect("mail");
    emitCanary({ delays: [900, 310_000], delivered: 2, late: 1, lost: 0, spam: 1 }, emit);
    emitCanary({ delays: [], delivered: 0, late: 0, lost: 1, spam: 0 }, emit);
    const [found, lost] = lines.map(readEmf);
    expect(found?.source).toBe("canary");
    expect(found?.values).toEqual({
      CanaryDelayMs: [900, 310_000],
      CanaryDelivered: 2,
      CanaryLate: 1,
      CanaryLost: 0,
      CanarySpam: 1,
    });
    expect(found?.units).toMatchObject({ CanaryDelayMs: "Milliseconds", CanaryLost: "Count" });
    expect(lost?.values).toEqual({
      CanaryDelivered: 0,
      CanaryLate: 0,
      CanaryLost: 1,
      CanarySpam: 0,
    });
  });
});

describe("the check of the format itself", () => {
  const { lines, metrics } = collect("mail");
  metrics.submission({ source: "api", result: ACCEPTED, requestId: "r" });
  const good = JSON.parse(lines[0] ?? "");
  const directive = good._aws.CloudWatchMetrics[0];
  const changed = (change: object) =>
    JSON.stringify({
      ...good,
      _aws: { ...good._aws, CloudWatchMetrics: [{ ...directive, ...change }] },
    });

  it.each([
    ["no _aws", JSON.stringify({ ...good, _aws: undefined })],
    ["no timestamp", JSON.stringify({ ...good, _aws: { CloudWatchMetrics: [directive] } })],
    ["no dimensions", changed({ Dimensions: [] })],
    ["an unknown unit", changed({ Metrics: [{ Name: "TotalMs", Unit: "Fortnights" }] })],
    ["a metric without a name", changed({ Metrics: [{ Unit: "Count" }] })],
    ["a metric without a value", changed({ Metrics: [{ Name: "Nothing", Unit: "Count" }] })],
    ["a dimension without a value", changed({ Dimensions: [["Nothing"]] })],
    ["an empty namespace", changed({ Namespace: "" })],
  ])("refuses a line with %s", (_, line) => {
    expect(() => readEmf(line)).toThrow();
  });
});
