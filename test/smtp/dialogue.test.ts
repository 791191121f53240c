import { describe, expect, it } from "vitest";
import { dialogues, fates } from "../support/dialogue.ts";
import { playPure, type Split } from "../support/player.ts";

const splits: readonly Split[] = ["whole", "line", "octet"];

describe.each(dialogues().map((dialogue) => [dialogue.file, dialogue] as const))("%s", (_, dialogue) => {
  it.each(splits)(`${dialogue.title} (server heard by %s)`, (split) => {
    const report = playPure(dialogue, split);
    expect(fates(report)).toEqual(dialogue.expected);
    expect({ code: report.error?.code, phase: report.error?.phase }).toEqual({
      code: dialogue.error?.code,
      phase: dialogue.error?.phase,
    });
    if (dialogue.mechanism) expect(report.mechanism).toBe(dialogue.mechanism);
  });
});
