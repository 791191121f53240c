/**
 * A line of shell for every status of the API: printed at the start, shown on the page, and run by
 * the tests as they stand there.
 */
import { SLOW_SECONDS, SMALL_MAILBOX } from "./faults.ts";

export interface Example {
  /** The page's name for `why`, to say it in another language. */
  readonly id: string;
  readonly status: number;
  readonly why: string;
  readonly line: string;
}

/** @param origin such as `http://127.0.0.1:3000` */
export function examples(origin: string): readonly Example[] {
  const url = `${origin}/messages`;
  /** A body in single quotes: none of them has one. */
  const send = (body: string, more = "", flags = "-i") =>
    `curl ${flags} ${url} -H 'content-type: application/json'${more} -d '${body}'`;
  const to = (name: string) =>
    send(`{"to":"${name}@example.com","subject":"${name}","text":"Hello"}`);
  const later = " -H 'prefer: respond-async' -H 'idempotency-key: order-1234'";
  const slow = (flags: string) =>
    send(
      '{"to":"slow@example.com","subject":"slow","text":"Hello"}',
      ' -H "idempotency-key: $key"',
      flags,
    );
  return [
    {
      id: "accepted",
      status: 200,
      why: "accepted",
      line: send('{"to":"lilei@example.net","subject":"我是标题","text":"你好！"}'),
    },
    {
      id: "queued",
      status: 202,
      why: "queued",
      line: send('{"to":"lilei@example.net","subject":"Later","text":"Hello"}', later),
    },
    { id: "look", status: 200, why: "and what became of it", line: `curl -i ${url}/order-1234` },
    {
      id: "malformed",
      status: 400,
      why: "malformed, all problems at once",
      line: send('{"to":"nobody","subject":1,"colour":"red"}'),
    },
    {
      id: "sender",
      status: 403,
      why: "the mailbox may not send as this",
      line: send('{"from":"ceo@example.org","to":"lilei@example.net","text":"Hello"}'),
    },
    {
      id: "busy",
      status: 409,
      why: `the same key in progress; the first takes ${SLOW_SECONDS} s`,
      // A key of its own each time: under an old one the first would be answered at once.
      line: `(key=$(date +%s); ${slow("-s -o /dev/null")} & sleep 2; ${slow("-i")}; wait)`,
    },
    {
      id: "large",
      status: 413,
      why: `larger than the mailbox "${SMALL_MAILBOX}" sends`,
      line: send(
        `{"mailbox":"${SMALL_MAILBOX}","to":"lilei@example.net","text":"'$(printf %020000d 0)'"}`,
      ),
    },
    { id: "reject", status: 422, why: "rejected by the server", line: to("reject") },
    { id: "login", status: 502, why: "not taken, a person must act first", line: to("login") },
    {
      id: "defer",
      status: 503,
      why: "not taken, Retry-After says when to try again",
      line: to("defer"),
    },
    {
      id: "lost",
      status: 504,
      why: "the reply was lost: taken or not, nobody knows",
      line: to("lost"),
    },
  ];
}
