import { expect, test } from "vitest";
import type { KubeObject } from "../kube/kube-api.ts";
import { chooseForPodVolume, chooseForVolume, OPT_IN, OPT_OUT } from "./volume-choice.ts";

const podWith = (annotations: Record<string, string> = {}): KubeObject => ({
  metadata: { name: "p", namespace: "n", annotations },
});
const rules = (defaultVolumesToFsBackup: boolean) => ({
  spec: { defaultVolumesToFsBackup },
  policy: undefined,
});
const data = { name: "data", emptyDir: {} };
const pv: KubeObject = { metadata: { name: "pv" }, spec: { csi: { driver: "d" } } };

test("opt-out: everything is copied but what the pod names", () => {
  expect(chooseForPodVolume(rules(true), podWith(), data, {}).treatment).toBe("fs-backup");
  const out = podWith({ [OPT_OUT]: "other,data" });
  expect(chooseForPodVolume(rules(true), out, data, {})).toEqual({
    treatment: "snapshot",
    reason: "opted out due to annotation in pod p",
  });
});

test("opt-in: what the pod names is copied, split at commas and nothing else", () => {
  expect(chooseForPodVolume(rules(false), podWith(), data, {}).treatment).toBe("snapshot");
  const named = podWith({ [OPT_IN]: "a,data" });
  expect(chooseForPodVolume(rules(false), named, data, {}).treatment).toBe("fs-backup");
  const spaced = podWith({ [OPT_IN]: "a, data" });
  expect(chooseForPodVolume(rules(false), spaced, data, {}).treatment).toBe("snapshot");
});

test("kinds that hold no data of their own are never copied", () => {
  for (const kind of ["hostPath", "secret", "configMap", "projected", "downwardAPI"]) {
    const source = { name: "data", [kind]: {} };
    expect(chooseForPodVolume(rules(true), podWith(), source, {}).treatment, kind).toBe("none");
  }
});

test("a policy decides before annotations do", () => {
  const skip = { volumePolicies: [{ matches: () => true, action: "skip" as const }] };
  const policy = { ...skip, includeExclude: undefined };
  const ours = { ...rules(true), policy };
  expect(chooseForPodVolume(ours, podWith(), data, {}).treatment).toBe("skip");
  expect(chooseForVolume(ours, pv, undefined).treatment).toBe("skip");
});

test("a volume that no pod copies is for a snapshot, unless snapshots are off", () => {
  expect(chooseForVolume(rules(false), pv, undefined).treatment).toBe("snapshot");
  const off = { spec: { snapshotVolumes: false }, policy: undefined };
  expect(chooseForVolume(off, pv, undefined).treatment).toBe("none");
});
