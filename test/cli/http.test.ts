/** How a call to the deployed API is signed, judged by an independent reading of SigV4. */
import { createHash, createHmac } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { signed } from "../../lib/cli/http.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

beforeAll(() => {
  Object.assign(process.env, {
    AWS_REGION: "us-east-1",
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: SECRET,
    AWS_SESSION_TOKEN: "token",
  });
});

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string) =>
  createHmac("sha256", key).update(text).digest();

/** The signature that AWS would compute of what it receives (docs.aws.amazon.com, "Create a signed AWS API request"). */
function expected(method: string, url: URL, headers: Record<string, string>, body: string): string {
  const authorization = headers["authorization"] ?? "";
  const [, scope = "", names = ""] =
    /Credential=AKIDEXAMPLE\/([^,]+), SignedHeaders=([^,]+),/.exec(authorization) ?? [];
  const received: Record<string, string> = { ...headers, host: url.host };
  const escaped = (text: string) =>
    encodeURIComponent(text).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const canonical = [
    method,
    // Each segment of the path is encoded once more than it is on the wire.
    url.pathname.split("/").map(escaped).join("/"),
    [...url.searchParams]
      .map(([name, value]) => `${escaped(name)}=${escaped(value)}`)
      .sort()
      .join("&"),
    ...names.split(";").map((name) => `${name}:${received[name]}`),
    "",
    names,
    sha256(body),
  ].join("\n");
  const [date = "", region = "", service = ""] = scope.split("/");
  const toSign = ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(canonical)].join("\n");
  const key = [date, region, service, "aws4_request"].reduce<string | Buffer>(
    hmac,
    `AWS4${SECRET}`,
  );
  return hmac(key, toSign).toString("hex");
}

describe("SigV4", () => {
  it.each([
    [
      "POST",
      "https://abc.execute-api.eu-central-1.amazonaws.com/messages",
      '{"to":"李雷"}',
      "eu-central-1/execute-api",
    ],
    [
      "GET",
      "https://abc.execute-api.cn-north-1.amazonaws.com.cn/v1/messages/a%2Fb%20c?mailbox=billing",
      "",
      "cn-north-1/execute-api",
    ],
    ["POST", "https://abc.lambda-url.eu-west-1.on.aws/messages", "{}", "eu-west-1/lambda"],
    ["GET", "https://mail.example.com/messages/1", "", "us-east-1/execute-api"],
  ] as const)("%s %s", async (method, address, body, scope) => {
    const url = new URL(address);
    const headers = await signed(
      url,
      { method, ...(body && { body }) },
      { accept: "application/json" },
    );
    expect(headers["authorization"]).toContain(`/${scope}/aws4_request`);
    expect(headers["x-amz-security-token"]).toBe("token");
    const [, signature] = /Signature=([0-9a-f]{64})$/.exec(headers["authorization"] ?? "") ?? [];
    expect(signature).toBe(expected(method, url, headers, body));
  });
});
