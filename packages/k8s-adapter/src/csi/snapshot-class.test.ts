import { expect, test } from "vitest";
import { CLASS_LABEL, chooseSnapshotClass, type SnapshotClass } from "./snapshot-class.ts";

const volumeClass = (
  name: string,
  more: Partial<SnapshotClass["metadata"]> = {},
  driver = "d",
) => ({
  metadata: { name, ...more },
  driver,
});
const labelled = volumeClass("labelled", { labels: { [CLASS_LABEL]: "false" } });
const byDefault = volumeClass("default", {
  annotations: { "snapshot.storage.kubernetes.io/is-default-class": "true" },
});
const other = volumeClass("other");
const foreign = volumeClass("foreign", { labels: { [CLASS_LABEL]: "true" } }, "e");
const all = [foreign, other, byDefault, labelled];

const choose = (
  classes: readonly SnapshotClass[],
  {
    claim = {},
    backup = {},
    driver = "d",
  }: { claim?: Record<string, string>; backup?: Record<string, string>; driver?: string } = {},
): string =>
  chooseSnapshotClass(classes, {
    driver,
    claim: { metadata: { name: "c", annotations: claim } },
    backup: { metadata: { name: "b", annotations: backup } },
  }).metadata.name;

test("claim 20: a class that carries the label, whatever its value, before the default one, before the only one", () => {
  expect(choose(all)).toBe("labelled");
  expect(choose([foreign, other, byDefault])).toBe("default");
  expect(choose([foreign, other])).toBe("other");
});

test("the claim's annotation, then the backup's, name a class; one of another driver is not taken", () => {
  const backup = { [`${CLASS_LABEL}_d`]: "default" };
  expect(choose(all, { claim: { [CLASS_LABEL]: "other" }, backup })).toBe("other");
  expect(choose(all, { claim: { [CLASS_LABEL]: "foreign" }, backup })).toBe("default");
  expect(choose(all, { backup: { [`${CLASS_LABEL}_d`]: "foreign" } })).toBe("labelled");
  const upper = [volumeClass("u", {}, "D"), volumeClass("v", {}, "D")];
  expect(choose(upper, { backup: { [`${CLASS_LABEL}_d`]: "v" }, driver: "D" })).toBe("v");
});

test("claim 11: without a class for the driver, or with several and no choice, there is an error", () => {
  expect(() => choose([foreign])).toThrowError("no VolumeSnapshotClass for driver d");
  expect(() => choose([other, volumeClass("another")])).toThrowError("there is 2");
});
