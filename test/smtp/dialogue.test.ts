import { describe, it } from "vitest";
import { dialogues, expectReport } from "../support/dialogue.ts";
import { playPure, type Split } from "../support/player.ts";

const splits: readonly Split[] = ["whole", "line", "octet"];
const files = dialogues().map((dialogue) => [dialogue.file, dialogue] as const);

describe.each(files)("%s", (_, dialogue) => {
  it.each(splits)(`${dialogue.title} (server heard by %s)`, (split) => {
    expectReport(playPure(dialogue, split), dialogue);
  });
});
