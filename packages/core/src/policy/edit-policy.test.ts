import { describe, expect, test } from "vitest";
import { openCodecs } from "../compression/registry.ts";
import {
  checkPolicyNames,
  policyMember,
  unknownPolicyMembers,
  withPolicyMember,
} from "./edit-policy.ts";
import type { Policy } from "./policy.ts";
import { policyFromJson, policyToJson } from "./policy-json.ts";

const codecs = await openCodecs();

describe("one member by its name", () => {
  const policy: Policy = { retention: { keepLatest: 3, keepDaily: 0 }, noParent: true };

  test("is read at any depth", () => {
    expect(policyMember(policy, "retention.keepDaily")).toBe(0);
    expect(policyMember(policy, "noParent")).toBe(true);
    expect(policyMember(policy, "osSnapshots.volumeShadowCopy.enable")).toBeUndefined();
  });

  test("is set beside the others, also where its section is missing", () => {
    const changed = withPolicyMember(policy, "osSnapshots.volumeShadowCopy.enable", 2);
    expect(policyToJson(changed)).toEqual({
      ...policy,
      osSnapshots: { volumeShadowCopy: { enable: 2 } },
    });
    expect(policy).toEqual({ retention: { keepLatest: 3, keepDaily: 0 }, noParent: true });
  });

  test("is cleared, and the section with its last member", () => {
    const once = withPolicyMember(policy, "retention.keepLatest", undefined);
    expect(policyToJson(once)).toEqual({ retention: { keepDaily: 0 }, noParent: true });
    const twice = withPolicyMember(once, "retention.keepDaily", undefined);
    expect(policyToJson(twice)).toEqual({ noParent: true });
  });

  test("must exist and have the right type", () => {
    const invalid = expect.objectContaining({ code: "invalid-argument" });
    for (const [name, value] of [
      ["retention.keepForever", 1],
      ["retention", {}],
      ["retention.keepLatest", "3"],
      ["files.ignore", [1]],
      ["scheduling.timeOfDay", [{ hour: 25, min: 0 }]],
      ["actions.beforeFolder", "echo"],
    ] as const) {
      expect(() => withPolicyMember(policy, name, value), name).toThrow(invalid);
    }
  });
});

test("members that varve does not know are named", () => {
  const policy = policyFromJson(
    { retention: { keepLatest: 1, keepForever: 2 }, novel: { deep: 1 }, files: {} },
    "policy",
  );
  expect(unknownPolicyMembers(policy)).toEqual(["retention.keepForever", "novel"]);
});

describe("names of algorithms", () => {
  test.each<[string, Policy]>([
    ["none at all", {}],
    ["none", { compression: { compressorName: "none" } }],
    ["an empty name", { compression: { compressorName: "" }, splitter: { algorithm: "" } }],
    ["zstd", { metadataCompression: { compressorName: "zstd-better-compression" } }],
    ["FastCDC", { splitter: { algorithm: "FASTCDC-1M" } }],
    ["a splitter of Kopia", { splitter: { algorithm: "DYNAMIC" } }],
  ])("%s is fine", (_what, policy) => {
    expect(() => checkPolicyNames(policy, codecs)).not.toThrow();
  });

  test.each<[string, Policy]>([
    ["an unknown compression", { compression: { compressorName: "brotli" } }],
    ["one of directories", { metadataCompression: { compressorName: "brotli" } }],
    ["one that can only be read", { compression: { compressorName: "lz4" } }],
    ["an unknown splitter", { splitter: { algorithm: "FASTCDC-3M" } }],
  ])("%s is refused, with those that are known", (_what, policy) => {
    expect(() => checkPolicyNames(policy, codecs)).toThrow(
      expect.objectContaining({
        code: "invalid-argument",
        message: expect.stringMatching(/zstd|FASTCDC-4M/) as string,
      }),
    );
  });
});
