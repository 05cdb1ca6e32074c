import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import { parseObjectId } from "../object/object-id.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openRepository } from "../repository/open-repository.ts";
import type { Repository } from "../repository/repository.ts";
import { formatSource, listSnapshots, saveSnapshot } from "../snapshot/snapshots.ts";
import { type SeededEnvironment, seededEnvironment } from "../testing/seeded-environment.ts";
import { DEFAULT_POLICY } from "./default-policy.ts";
import { deletePolicy, effectivePolicy, getPolicy, listPolicies, setPolicy } from "./policies.ts";
import { GLOBAL_TARGET, type PolicyTarget, formatTarget, policyLabels } from "./policy-target.ts";
import { loadPolicyTree } from "./policy-tree.ts";
import { applyRetention } from "./retention.ts";

const source = { host: "h", userName: "u", path: "/p" };
const target: PolicyTarget = { type: "path", ...source };
let repository: Repository;
let environment: SeededEnvironment;

beforeAll(async () => {
  environment = seededEnvironment({ seed: 1 });
  const store = createMemoryStore({ environment });
  await createRepository(store, {
    password: "p",
    environment,
    keyDerivation: "pbkdf2-sha256-600000",
  });
  repository = await openRepository(store, { password: "p", environment });
});

// One repository for all: making its keys is the slow part.
afterEach(async () => {
  for (const type of ["policy", "snapshot"]) {
    for (const { id } of await repository.manifests.find({ type })) {
      await repository.manifests.delete(id);
    }
  }
});

test("a policy is set, replaced and deleted", async () => {
  expect(await getPolicy(repository, target)).toBeUndefined();
  await setPolicy(repository, target, { retention: { keepLatest: 1 } });
  await setPolicy(repository, target, { retention: { keepLatest: 2 } });
  expect(await getPolicy(repository, target)).toEqual({ retention: { keepLatest: 2 } });
  expect(await repository.manifests.find(policyLabels(target))).toHaveLength(1);
  expect(await deletePolicy(repository, target)).toBe(true);
  expect(await deletePolicy(repository, target)).toBe(false);
  expect(await getPolicy(repository, target)).toBeUndefined();
});

test("of two for one target the later counts", async () => {
  await repository.manifests.put(policyLabels(target), { files: { maxFileSize: 1 } });
  environment.advance(1000);
  await repository.manifests.put(policyLabels(target), { files: { maxFileSize: 2 } });
  expect(await getPolicy(repository, target)).toEqual({ files: { maxFileSize: 2 } });
  expect((await listPolicies(repository)).policies).toHaveLength(1);
  expect((await effectivePolicy(repository, target)).policy.files?.maxFileSize).toBe(2);
});

test("what is in force comes along the chain", async () => {
  await setPolicy(repository, GLOBAL_TARGET, { retention: { keepLatest: 1, keepDaily: 1 } });
  await setPolicy(repository, { type: "host", host: "h" }, { retention: { keepDaily: 2 } });
  await setPolicy(
    repository,
    { type: "user", host: "h", userName: "u" },
    { retention: { keepWeekly: 3 } },
  );
  await setPolicy(repository, { ...target, path: "/" }, { retention: { keepMonthly: 4 } });
  await setPolicy(repository, { ...target, userName: "v" }, { retention: { keepAnnual: 9 } });
  const { policy, origins } = await effectivePolicy(repository, target);
  expect(policy.retention).toEqual({
    ...DEFAULT_POLICY.retention,
    keepLatest: 1,
    keepDaily: 2,
    keepWeekly: 3,
    keepMonthly: 4,
  });
  expect(origins.get("retention.keepMonthly")).toEqual([{ ...target, path: "/" }]);
  expect((await loadPolicyTree(repository, source)).effective).toEqual(policy);
});

test.each([
  ["a final slash", { ...target, path: "/p/" }, {}],
  ["manual and a schedule", target, { scheduling: { manual: true, runMissed: true } }],
  ["no cron expression", target, { scheduling: { cron: ["often"] } }],
  ["maxParallelSnapshots of a path", target, { upload: { maxParallelSnapshots: 2 } }],
])("%s is refused", async (_, where, policy) => {
  await expect(setPolicy(repository, where, policy)).rejects.toMatchObject({
    code: "invalid-argument",
  });
});

test("Kopia's other policies are taken: manual alone, a root, maxParallelSnapshots of a host", async () => {
  await setPolicy(repository, { ...target, path: "/" }, { scheduling: { manual: true } });
  await setPolicy(repository, { type: "host", host: "h" }, { upload: { maxParallelSnapshots: 2 } });
  expect((await listPolicies(repository)).policies.map((one) => formatTarget(one.target))).toEqual([
    "@h",
    "u@h:/",
  ]);
});

describe("a damaged policy", () => {
  beforeEach(async () => {
    await repository.manifests.put(policyLabels({ ...target, path: "/p/q" }), { files: 7 });
  });

  test("is listed beside the others", async () => {
    await setPolicy(repository, GLOBAL_TARGET, {});
    const { policies, damaged } = await listPolicies(repository);
    expect(policies).toHaveLength(1);
    expect(damaged).toMatchObject([{ target: { path: "/p/q" }, error: { code: "corrupt" } }]);
  });

  test("stops a backup that it belongs to, and no other", async () => {
    for (const path of ["/p", "/p/q", "/p/q/r"]) {
      await expect(loadPolicyTree(repository, { ...source, path })).rejects.toMatchObject({
        code: "corrupt",
      });
    }
    expect((await loadPolicyTree(repository, { ...source, path: "/other" })).effective).toEqual(
      DEFAULT_POLICY,
    );
  });
});

function starts(list: readonly { readonly startTimeNs: bigint }[]): bigint[] {
  return list.map((one) => one.startTimeNs / 1_000_000_000n);
}

test("applyRetention deletes what has neither reason nor pin, of that source alone", async () => {
  const stats = {
    totalSize: 0,
    excludedTotalSize: 0,
    fileCount: 0,
    cachedFiles: 0,
    nonCachedFiles: 0,
    dirCount: 0,
    excludedFileCount: 0,
    excludedDirCount: 0,
    ignoredErrorCount: 0,
    errorCount: 0,
  };
  const object = parseObjectId("kaa");
  const root = {
    name: "p",
    type: "directory" as const,
    mode: 0o755,
    sizeBytes: 0,
    mtimeNs: 0n,
    uid: 0,
    gid: 0,
    object,
  };
  const save = async (second: bigint, more: { pins?: string[]; source?: typeof source } = {}) => {
    const startTimeNs = second * 1_000_000_000n;
    await saveSnapshot(repository, {
      source,
      description: "",
      startTimeNs,
      endTimeNs: startTimeNs,
      stats,
      root,
      tags: {},
      pins: [],
      ...more,
    });
  };
  await save(1n);
  await save(2n, { pins: ["keep"] });
  await save(3n);
  await save(0n, { source: { ...source, path: "/other" } });
  await repository.manifests.put(
    { type: "snapshot", hostname: "h", username: "u", path: "/p" },
    {},
  );
  const options = { source, policy: { retention: { keepLatest: 1 } } };
  expect(starts(await applyRetention(repository, { ...options, dryRun: true }))).toEqual([1n]);
  expect(starts((await listSnapshots(repository)).snapshots)).toEqual([0n, 1n, 2n, 3n]);
  expect(starts(await applyRetention(repository, options))).toEqual([1n]);
  const left = await listSnapshots(repository);
  expect(left.snapshots.map((one) => formatSource(one.source))).toEqual([
    "u@h:/other",
    "u@h:/p",
    "u@h:/p",
  ]);
  expect(left.damaged).toHaveLength(1);
});
