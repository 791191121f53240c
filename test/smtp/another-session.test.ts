/**
 * A login that a connection cannot go on with is tried in another one (RFC 4954 §6): where QUIT has
 * left already, or where the server asks for content that nobody logged in for. Over real sockets.
 */
import { afterEach, expect, it } from "vitest";
import { makeCertificate } from "../../infra/local/certificate.ts";
import { contentOf } from "../../lib/smtp/data.ts";
import { Relay, type RelayTarget, type Sent } from "../../lib/smtp/io/relay.ts";
import { type FakeOptions, type FakeSmtp, startFakeSmtp } from "../support/fake-smtp.ts";

const PASSWORD = "correct horse battery staple";
const ANSWER = Buffer.from(PASSWORD).toString("base64");

let server: FakeSmtp | undefined;
afterEach(() => server?.close());

async function send(
  on: FakeOptions["on"],
  {
    ehlo = ["PIPELINING", "AUTH PLAIN LOGIN"],
    recipients = ["a@example.test"],
    tls,
    more = {},
  }: Pick<FakeOptions, "ehlo" | "tls"> & {
    readonly recipients?: readonly string[];
    readonly more?: Partial<RelayTarget>;
  } = {},
): Promise<Sent> {
  server = await startFakeSmtp({ ehlo, on: on ?? {}, ...(tls && { tls }) });
  const security = tls ? ("implicit" as const) : ("none" as const);
  const target = {
    endpoints: [{ host: "127.0.0.1", port: server.port, security }],
    tls: {},
    secrets: [PASSWORD],
    ehloName: "client.test",
    credentials: { username: "shop", password: PASSWORD },
    allowPlaintextAuth: true,
    chunking: "off" as const,
    ...more,
  };
  const message = {
    from: "shop@example.test",
    recipients,
    content: contentOf(Buffer.from("Subject: hello\r\n\r\nhello\r\n")),
    partial: "accept" as const,
    smtputf8: false,
  };
  const sent = await new Relay().send(target, [message], { timeLeft: 8000 });
  expect(JSON.stringify(sent.transcript)).not.toContain(PASSWORD);
  expect(JSON.stringify(sent.transcript)).not.toContain(ANSWER);
  return sent;
}

const fates = ({ report }: Sent) =>
  report.messages.flatMap(({ recipients }) => recipients.map(({ fate }) => fate.is));
const fate = ({ report }: Sent) => report.messages[0]?.recipients[0]?.fate;
const lines = (verb: string) => server?.seen.filter((line) => line.startsWith(verb)) ?? [];

it("goes on in another session with the next mechanism, and sends once", async () => {
  const sent = await send({
    AUTH: (line) => (line.startsWith("AUTH PLAIN") ? "504 5.5.4 what" : "334 UGFzc3dvcmQ6"),
    // The server tells verbs apart in upper case.
    [ANSWER.toUpperCase()]: "235 ok",
  });
  expect(fate(sent)?.is).toBe("taken");
  expect(sent.report.mechanism).toBe("LOGIN");
  expect(server?.connections()).toBe(2);
  expect(lines("AUTH PLAIN")).toHaveLength(1);
  expect(lines("content")).toHaveLength(1);
  const shown = sent.transcript.map(({ text }) => text);
  expect(shown.filter((text) => text.startsWith("EHLO"))).toHaveLength(2);
});

it("goes on in another session with AUTH by itself, where the server ignores what came with it", async () => {
  let asked = 0;
  const sent = await send({
    AUTH: () => (asked++ === 0 ? "334 " : "235 ok"),
  });
  expect(fate(sent)?.is).toBe("taken");
  expect(server?.connections()).toBe(2);
  expect(lines("content")).toHaveLength(1);
});

it("goes on as often as it learns something, and heeds all of it", async () => {
  const { ca, ...identity } = await makeCertificate({ names: ["mail.test"] });
  const sent = await send(
    {
      AUTH: (line) => (line.startsWith("AUTH LOGIN") ? "334 UGFzc3dvcmQ6" : "504 5.5.4 what"),
      [ANSWER.toUpperCase()]: "235 ok",
    },
    {
      ehlo: ["PIPELINING", "AUTH EXTERNAL PLAIN LOGIN"],
      tls: { ...identity, implicit: true },
      more: {
        tls: { ca, servername: "mail.test" },
        credentials: { username: "shop", password: PASSWORD, certificate: true },
        auth: ["EXTERNAL", "PLAIN", "LOGIN"],
      },
    },
  );
  expect(fate(sent)?.is).toBe("taken");
  expect(lines("AUTH").map((line) => line.split(" ")[1])).toEqual(["EXTERNAL", "PLAIN", "LOGIN"]);
  expect(server?.connections()).toBe(3);
  expect(lines("content")).toHaveLength(1);
});

it("does not try again what another session refused, however many follow", async () => {
  const sent = await send(
    {
      AUTH: (line) => (line.startsWith("AUTH PLAIN") ? "504 5.5.4 what" : "334 UGFzc3dvcmQ6"),
      [ANSWER.toUpperCase()]: "235 ok",
    },
    {
      ehlo: ["PIPELINING", "AUTH PLAIN LOGIN", "LIMITS MAILMAX=1 RCPTMAX=1"],
      recipients: ["a@example.test", "b@example.test", "c@example.test"],
    },
  );
  expect(fates(sent)).toEqual(["taken", "taken", "taken"]);
  expect(lines("AUTH PLAIN")).toHaveLength(1);
  expect(server?.connections()).toBe(4);
});

it("comes to an end where every mechanism is refused", async () => {
  const sent = await send({ AUTH: "504 5.5.4 what" });
  expect(sent.report.error?.code).toBe("auth_unavailable");
  expect(fate(sent)?.is).toBe("unsent");
  expect(server?.connections()).toBe(2);
  expect(lines("AUTH")).toHaveLength(2);
  expect(lines("content")).toHaveLength(0);
});
