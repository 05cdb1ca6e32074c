import { expect, test } from "vitest";
import {
  createTestRepository,
  directoryOf,
  fileWith,
  SOURCE,
  testPolicy,
} from "../../test/upload-fixture.ts";
import type { ActionCommand } from "../policy/policy.ts";
import type { SourceEntry } from "../source/source-entry.ts";
import type { ActionRunner } from "./actions.ts";
import { upload } from "./upload.ts";

const command = (mode: string): ActionCommand => ({ path: "run", mode });
const policy = testPolicy({
  actions: {
    beforeSnapshotRoot: command("essential"),
    beforeFolder: command("essential"),
    afterFolder: command("optional"),
    afterSnapshotRoot: command("optional"),
  },
});

/** Notes what it is asked for; `fail` says which fail. */
function notingRunner(fail: readonly string[] = []): { runner: ActionRunner; notes: string[] } {
  const notes: string[] = [];
  let pairs = 0;
  const runner: ActionRunner = {
    begin: () => {
      const pair = pairs++;
      return {
        run: async (kind) => {
          notes.push(`${pair} ${kind}`);
          if (fail.includes(kind)) {
            throw new Error("no");
          }
          return {};
        },
        [Symbol.asyncDispose]: async () => void notes.push(`${pair} done`),
      };
    },
    open: async () => root(),
  };
  return { runner, notes };
}

/** With a path, as only what is on this machine has commands; files are read by other means. */
function root(during: () => void = () => {}): SourceEntry {
  return { ...directoryOf("data", [fileWith("a", "1", { before: during })]), path: "/data" };
}

const ALL = ["0 before-snapshot-root", "1 before-folder", "1 after-folder", "1 done"];

test("commands are bracketed, the innermost first", async () => {
  const { repository } = await createTestRepository();
  const { runner, notes } = notingRunner();
  await upload(repository, { source: SOURCE, root: root(), policy, actions: runner });
  expect(notes).toEqual([...ALL, "0 after-snapshot-root", "0 done"]);
});

test("the commands after are run when the upload is lost, too", async () => {
  const { repository } = await createTestRepository();
  const { runner, notes } = notingRunner(["after-folder"]);
  const lost = new AbortController();
  const options = { source: SOURCE, root: root(() => lost.abort("lost")), policy };
  await expect(
    upload(repository, { ...options, actions: runner, signal: lost.signal }),
  ).rejects.toBe("lost");
  expect(notes).toEqual([...ALL, "0 after-snapshot-root", "0 done"]);
});

test("an essential command that fails has no command after it, and no snapshot", async () => {
  const { repository } = await createTestRepository();
  for (const [kind, noted] of [
    ["before-snapshot-root", ["0 before-snapshot-root", "0 done"]],
    ["before-folder", [...ALL.slice(0, 2), "1 done", "0 after-snapshot-root", "0 done"]],
  ] as const) {
    const { runner, notes } = notingRunner([kind]);
    const options = { source: SOURCE, root: root(), policy, actions: runner };
    await expect(upload(repository, options)).rejects.toMatchObject({ code: "action-failed" });
    expect(notes).toEqual(noted);
  }
});
