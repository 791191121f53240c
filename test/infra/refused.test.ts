/** What is misspelt is refused before packaging, or found by the validator; it is never ignored. */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findings, workshop } from "../support/option.ts";
import { PACKAGING_MS } from "../support/package.ts";

describe("what is misspelt", () => {
  test.each([
    ["an authorizer that is none", { httpAuthorizer: "none" }, /provider\.httpApi/],
    ["jwt without an issuer", { httpAuthorizer: "jwt" }, /jwt\.issuerUrl/],
    ["a switch that is neither on nor off", { customerKey: "yes" }, /"strToBool"/],
    ["tracing that is neither", { tracing: "Active" }, /"strToBool"/],
  ])(
    "is refused: %s",
    async (_, parameters, reason) => {
      await expect(workshop.package("dev", parameters)).rejects.toMatchObject({
        stdout: expect.stringMatching(reason),
      });
    },
    PACKAGING_MS,
  );

  test(
    "in the template is found by the validator",
    async () => {
      const { file, artefact } = await workshop.package("dev");
      const template = JSON.parse(readFileSync(file, "utf8"));
      template.Resources.RequestQueue.Properties.VisibiltyTimeout = 360;
      template.Resources.DeadLetterQueue.Properties.MessageRetentionPeriod = 1_300_000;
      template.Resources.QueueAgeAlarm.Properties.EvaluationPeriods = "often";
      delete template.Resources.Dashboard.Properties.DashboardBody;
      template.Resources.ApiRole.Properties.Policies[0].PolicyDocument.Statement[0].Acton = "x";
      template.Outputs.RequestQueueUrl.Value = { Ref: "RequestQue" };
      writeFileSync(`${artefact}/wrong.json`, JSON.stringify(template));
      const found = findings(`${artefact}/wrong.json`).join("\n");
      for (const word of [
        "'VisibiltyTimeout' was unexpected",
        "1300000 is greater than the maximum",
        "'often' is not of type 'integer'",
        "'DashboardBody' is a required property",
        "'Acton' was unexpected",
        "RequestQue",
      ]) {
        expect(found).toContain(word);
      }
    },
    PACKAGING_MS,
  );
});
