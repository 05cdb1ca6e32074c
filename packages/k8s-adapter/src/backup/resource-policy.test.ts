import fc from "fast-check";
import { VarveError } from "@varve/core";
import { expect, test } from "vitest";
import { parseResourcePolicy, policyAction } from "./resource-policy.ts";

const policyOf = (text: string) =>
  parseResourcePolicy({ metadata: { name: "p" }, data: { "policy.yaml": text } });

const POLICY = `
version: v1
volumePolicies:
- conditions: {volumeTypes: [emptyDir]}
  action: {type: skip}
- conditions: {capacity: "1Gi,", storageClass: [fast]}
  action: {type: snapshot}
- conditions: {nfs: {server: nas}}
  action: {type: skip}
- conditions: {pvcLabels: {keep: "no"}, pvcPhase: [Bound]}
  action: {type: skip}
- conditions: {csi: {}}
  action: {type: fs-backup}
`;

test("the first policy whose conditions all hold decides", () => {
  const policy = policyOf(POLICY);
  const GI = 2 ** 30;
  expect(policyAction(policy, { volumeType: "emptyDir" })).toBe("skip");
  expect(policyAction(policy, { capacityBytes: GI, storageClass: "fast" })).toBe("snapshot");
  expect(policyAction(policy, { capacityBytes: GI - 1, storageClass: "fast" })).toBeUndefined();
  expect(policyAction(policy, { nfs: { server: "nas", path: "/a" } })).toBe("skip");
  expect(policyAction(policy, { pvcLabels: { keep: "no" }, pvcPhase: "Bound" })).toBe("skip");
  expect(policyAction(policy, { pvcLabels: { keep: "no" }, pvcPhase: "Lost" })).toBeUndefined();
  expect(policyAction(policy, { csi: { driver: "d" } })).toBe("fs-backup");
  expect(policyAction(undefined, {})).toBeUndefined();
});

test("a typing mistake is an error, not a policy that matches too much", () => {
  const bad = [
    "version: v2",
    "version: v1\nvolumePolicy: []",
    "version: v1\nvolumePolicies: [{conditions: {storageclass: [a]}, action: {type: skip}}]",
    "version: v1\nvolumePolicies: [{conditions: {}, action: {type: drop}}]",
    'version: v1\nvolumePolicies: [{conditions: {capacity: "5Gi"}, action: {type: skip}}]',
    'version: v1\nvolumePolicies: [{conditions: {capacity: "5Gi,1Gi"}, action: {type: skip}}]',
    "a: &a [*a]",
    "[",
  ];
  for (const text of bad) {
    expect(() => policyOf(text), text).toThrow(VarveError);
  }
  expect(() => parseResourcePolicy({ metadata: { name: "p" }, data: { a: "", b: "" } })).toThrow(
    "exactly one key",
  );
});

test("any text is a policy or an error of ours", () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(POLICY.length), (text, at) => {
      for (const each of [text, POLICY.slice(0, at) + text + POLICY.slice(at)]) {
        try {
          policyOf(each);
        } catch (error) {
          expect(error).toBeInstanceOf(VarveError);
        }
      }
    }),
    { seed: 1, numRuns: 50 },
  );
});
