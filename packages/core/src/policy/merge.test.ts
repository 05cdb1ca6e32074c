import { describe, expect, test } from "vitest";
import { DEFAULT_POLICY, kopiaGlobalPolicyPayload } from "./default-policy.ts";
import { type DefinedPolicy, type EffectivePolicy, mergePolicies } from "./merge.ts";
import { POLICY_FIELDS, memberAt, nested } from "./policy-fields.ts";
import type { Policy } from "./policy.ts";
import { GLOBAL_TARGET, type PolicyTarget } from "./policy-target.ts";
import { policyTree } from "./policy-tree.ts";

const path: PolicyTarget = { type: "path", host: "h", userName: "u", path: "/p" };
const host: PolicyTarget = { type: "host", host: "h" };

function merged(own: object | undefined, ...inherited: readonly object[]): EffectivePolicy {
  const targets = [host, GLOBAL_TARGET];
  return mergePolicies({
    own: own === undefined ? undefined : { target: path, policy: own },
    inherited: inherited.map((policy, index) => ({ target: targets[index] ?? host, policy })),
  });
}

/** Behaviour §2.2, a row each: member, default, own value, inherited value, what is in force. */
const ROWS: readonly (readonly [string, unknown, unknown, unknown, unknown])[] = [
  ["retention.keepLatest", 10, 0, 5, 0],
  ["retention.keepHourly", 48, 0, 5, 0],
  ["retention.keepDaily", 7, 0, 5, 0],
  ["retention.keepWeekly", 4, 0, 5, 0],
  ["retention.keepMonthly", 24, 0, 5, 0],
  ["retention.keepAnnual", 3, 0, 5, 0],
  ["retention.ignoreIdenticalSnapshots", false, false, true, false],
  ["files.ignore", undefined, ["b"], ["a"], ["b"]],
  ["files.ignore", undefined, [], ["a"], ["a"]],
  ["files.noParentIgnore", undefined, false, true, true],
  ["files.ignoreDotFiles", [".kopiaignore"], [".x"], [".y"], [".x"]],
  ["files.ignoreDotFiles", [".kopiaignore"], [], [".y"], [".y"]],
  ["files.noParentDotFiles", undefined, false, true, true],
  ["files.ignoreCacheDirs", undefined, false, true, false],
  ["files.maxFileSize", undefined, 0, 5, 5],
  ["files.oneFileSystem", undefined, false, true, false],
  ["errorHandling.ignoreFileErrors", false, false, true, false],
  ["errorHandling.ignoreDirectoryErrors", false, false, true, false],
  ["errorHandling.ignoreUnknownTypes", true, false, true, false],
  ["scheduling.intervalSeconds", undefined, 0, 60, 60],
  [
    "scheduling.timeOfDay",
    undefined,
    [{ hour: 10, min: 5 }],
    [
      { hour: 9, min: 0 },
      { hour: 10, min: 5 },
    ],
    [
      { hour: 9, min: 0 },
      { hour: 10, min: 5 },
    ],
  ],
  ["scheduling.noParentTimeOfDay", undefined, false, true, true],
  ["scheduling.manual", undefined, false, true, true],
  ["scheduling.cron", undefined, [], ["0 3 * * *"], ["0 3 * * *"]],
  ["scheduling.runMissed", true, false, true, false],
  ["compression.compressorName", "none", "", "zstd", "zstd"],
  ["compression.onlyCompress", undefined, [".b"], [".c", ".a"], [".a", ".b", ".c"]],
  ["compression.noParentOnlyCompress", undefined, false, true, true],
  ["compression.neverCompress", undefined, [".b"], [".c", ".a"], [".a", ".b", ".c"]],
  ["compression.noParentNeverCompress", undefined, false, true, true],
  ["compression.minSize", undefined, 0, 5, 5],
  ["compression.maxSize", undefined, 0, 5, 5],
  ["metadataCompression.compressorName", "zstd-fastest", "none", "gzip", "none"],
  ["splitter.algorithm", undefined, "", "FIXED-1M", "FIXED-1M"],
  ["actions.beforeFolder", undefined, undefined, { path: "a" }, undefined],
  ["actions.beforeFolder", undefined, { path: "b" }, { path: "a" }, { path: "b" }],
  ["actions.afterFolder", undefined, undefined, { path: "a" }, undefined],
  ["actions.beforeSnapshotRoot", undefined, undefined, { path: "a" }, { path: "a" }],
  ["actions.afterSnapshotRoot", undefined, { path: "b" }, { path: "a" }, { path: "b" }],
  ["osSnapshots.volumeShadowCopy.enable", 0, 0, 2, 0],
  ["logging.directories.snapshotted", 5, 0, 7, 0],
  ["logging.directories.ignored", 5, 0, 7, 0],
  ["logging.entries.snapshotted", 0, 1, 7, 1],
  ["logging.entries.ignored", 5, 0, 7, 0],
  ["logging.entries.cacheHit", 0, 1, 7, 1],
  ["logging.entries.cacheMiss", 0, 1, 7, 1],
  ["upload.maxParallelSnapshots", 1, undefined, 7, 7],
  ["upload.maxParallelFileReads", undefined, 0, 7, 0],
  ["upload.parallelUploadAboveSize", 2_147_483_648, -1, 7, -1],
];

describe("the inheritance table", () => {
  test("has a row for every member", () => {
    const rows = new Set(ROWS.map(([name]) => name));
    expect(
      POLICY_FIELDS.map((field) => field.path.join(".")).filter((name) => !rows.has(name)),
    ).toEqual(["noParent"]);
  });

  test.each(ROWS)(
    "%s: default %j; own %j over inherited %j gives %j",
    (name, byDefault, own, inherited, expected) => {
      const at = name.split(".");
      const policy = (value: unknown): object => nested([[at, value]]);
      expect(memberAt(merged(undefined).policy, at)).toEqual(byDefault);
      expect(memberAt(merged(policy(own), policy(inherited)).policy, at)).toEqual(expected);
    },
  );
});

describe("mergePolicies", () => {
  test("tells who gave each value, several for a union", () => {
    const { origins } = merged(
      { retention: { keepLatest: 1 }, compression: { neverCompress: [".b"] } },
      { compression: { neverCompress: [".a"], compressorName: "zstd" } },
    );
    expect(origins.get("retention.keepLatest")).toEqual([path]);
    expect(origins.get("retention.keepDaily")).toEqual(["default"]);
    expect(origins.get("compression.compressorName")).toEqual([host]);
    expect(origins.get("compression.neverCompress")).toEqual([path, host]);
    expect(origins.has("files.ignore")).toBe(false);
  });

  test.each([
    ["scheduling", "timeOfDay", "noParentTimeOfDay", [{ hour: 1, min: 0 }], [{ hour: 2, min: 0 }]],
    ["compression", "onlyCompress", "noParentOnlyCompress", [".a"], [".b"]],
    ["compression", "neverCompress", "noParentNeverCompress", [".a"], [".b"]],
  ])("%s.%s: the union ends with the level that sets %s", (section, name, flag, own, inherited) => {
    const { policy } = merged(
      { [section]: { [name]: own, [flag]: true } },
      { [section]: { [name]: inherited } },
    );
    expect(memberAt(policy, [section, name])).toEqual(own);
  });

  test("noParent ends the chain and the defaults with it", () => {
    const action = { path: "x" };
    const own = { noParent: true, retention: { keepDaily: 2 }, actions: { beforeFolder: action } };
    const { policy, origins } = merged(own, { compression: { compressorName: "zstd" } });
    expect(policy).toEqual(own);
    expect([...origins.keys()].sort()).toEqual([
      "actions.beforeFolder",
      "noParent",
      "retention.keepDaily",
    ]);
    expect(merged({}, { noParent: true }, { retention: { keepLatest: 1 } }).policy).toEqual({});
  });

  test("without policies the defaults hold, which are what Kopia stores", () => {
    expect(merged(undefined).policy).toEqual(DEFAULT_POLICY);
    expect(kopiaGlobalPolicyPayload()).toEqual(DEFAULT_POLICY);
    expect(kopiaGlobalPolicyPayload({ splitter: "FASTCDC-4M" })).toEqual({
      ...DEFAULT_POLICY,
      splitter: { algorithm: "FASTCDC-4M" },
    });
  });
});

function at(where: string, policy: Policy, user = "u"): DefinedPolicy {
  return { target: { type: "path", host: "h", userName: user, path: where }, policy };
}

describe("policyTree", () => {
  const source = { host: "h", userName: "u", path: "/p" };
  const tree = policyTree(source, [
    { target: GLOBAL_TARGET, policy: { compression: { compressorName: "gzip" } } },
    at("/", { compression: { compressorName: "zstd" }, files: { maxFileSize: 9 } }),
    at("/p", { actions: { beforeFolder: { path: "x" } } }),
    at("/p/a/b", { files: { ignore: ["*.o"] } }),
    at("/p/a/b/c", { noParent: true }),
    at("/pa", { files: { maxFileSize: 1 } }),
    at("/p", { files: { maxFileSize: 2 } }, "other"),
  ]);

  test("the root inherits paths above before host and global", () => {
    expect(tree.effective.compression?.compressorName).toBe("zstd");
    expect(tree.effective.files).toEqual({ maxFileSize: 9, ignoreDotFiles: [".kopiaignore"] });
    expect(tree.defined).toEqual({ actions: { beforeFolder: { path: "x" } } });
  });

  test("a policy below is merged with what it inherits, unlike Kopia's", () => {
    const below = tree.child("a").child("b");
    expect(below.defined).toEqual({ files: { ignore: ["*.o"] } });
    expect(below.effective.compression?.compressorName).toBe("zstd");
    expect(below.effective.files).toEqual({
      ignore: ["*.o"],
      maxFileSize: 9,
      ignoreDotFiles: [".kopiaignore"],
    });
    expect(below.child("d").effective).toEqual(below.effective);
    expect(below.child("d").defined).toBeUndefined();
    expect(below.child("c").effective).toEqual({ noParent: true });
  });

  test("folder actions stay where they are defined", () => {
    expect(tree.effective.actions?.beforeFolder).toEqual({ path: "x" });
    expect(tree.child("a").effective.actions?.beforeFolder).toBeUndefined();
    expect(tree.child("z").effective.actions?.beforeFolder).toBeUndefined();
  });

  test("one node serves all directories without policies of their own", () => {
    expect(tree.child("z")).toBe(tree.child("y"));
    expect(tree.child("z").child("x")).toBe(tree.child("y"));
  });
});
