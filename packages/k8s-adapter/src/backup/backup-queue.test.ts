import { expect, test } from "vitest";
import type { Backup, BackupPhase } from "../velero/resources.ts";
import { queueChanges } from "./backup-queue.ts";

const backup = (
  name: string,
  phase: BackupPhase | undefined,
  namespaces: string[],
  queuePosition = 0,
): Backup => ({
  metadata: { name, creationTimestamp: "2026-01-02T03:04:05Z" },
  spec: { includedNamespaces: namespaces },
  status: { ...(phase === undefined ? {} : { phase }), queuePosition },
});

const changes = (concurrent: number, ...backups: Backup[]): string[] =>
  queueChanges(backups, {
    concurrent,
    namespacesOf: ({ spec }) => new Set(spec.includedNamespaces ?? []),
  }).map(
    ({ backup: { metadata }, position, start }) => `${metadata.name}:${start ? "start" : position}`,
  );

test("one at a time, in the order of their positions; new ones come last", () => {
  const waiting = [backup("new", undefined, ["c"]), backup("q2", "Queued", ["b"], 2)];
  expect(changes(1, ...waiting, backup("q1", "Queued", ["a"], 1))).toEqual([
    "q1:start",
    "q2:1",
    "new:2",
  ]);
  expect(changes(1, backup("r", "InProgress", ["z"]), ...waiting)).toEqual(["q2:1", "new:2"]);
});

test("backups that share a namespace with an earlier one wait; others may start", () => {
  const first = backup("first", "Queued", ["a"], 1);
  const same = backup("same", "Queued", ["a", "b"], 2);
  const behind = backup("behind", "Queued", ["b"], 3);
  const apart = backup("apart", "Queued", ["c"], 4);
  expect(changes(3, first, same, behind, apart)).toEqual([
    "first:start",
    "same:1",
    "behind:2",
    "apart:start",
  ]);
});

test("what stands right is left alone", () => {
  expect(changes(1, backup("r", "ReadyToStart", ["a"]), backup("q", "Queued", ["b"], 1))).toEqual(
    [],
  );
});
