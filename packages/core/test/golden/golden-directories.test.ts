import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { concatBytes, fromUtf8 } from "../../src/base/bytes.ts";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import type { ObjectId } from "../../src/object/object-id.ts";
import { DEFAULT_POLICY } from "../../src/policy/default-policy.ts";
import { effectivePolicy, listPolicies } from "../../src/policy/policies.ts";
import { policyToJson } from "../../src/policy/policy-json.ts";
import { openRepository } from "../../src/repository/open-repository.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { encodeDirectory, parseDirectory } from "../../src/snapshot/directory.ts";
import { snapshotToJson } from "../../src/snapshot/snapshot-json.ts";
import { listSnapshots } from "../../src/snapshot/snapshots.ts";
import { buildSummary } from "../../src/snapshot/summary.ts";

/** Every record that stock Kopia wrote is what we would have written for the same entries. */

const REPOSITORIES = [
  ["v3-default", "small 1", 1],
  ["v3-blake3-chacha-zstd", "small 2", 1],
  ["v1-hmac-pgzip", "small 3", 1],
  ["v2-blake2b256-s2", "small 4", 1],
  ["v3-ecc-deflate", "small 5", 1],
  ["v3-pbkdf2-history", "small 6", 3],
] as const;

async function openFixture(folder: string, password: string): Promise<Repository> {
  const path = fileURLToPath(new URL(`fixtures/${folder}`, import.meta.url));
  return openRepository(await openFileSystemStore(path, { readOnly: true }), {
    password,
    readOnly: true,
  });
}

async function readObject(repository: Repository, id: ObjectId): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of (await repository.objects.open(id)).stream()) {
    parts.push(part);
  }
  return concatBytes(parts);
}

describe.each(REPOSITORIES)("%s", (folder, password, count) => {
  test("snapshots, directories and policies encode to what is stored", async () => {
    const repository = await openFixture(folder, password);
    const { snapshots, damaged } = await listSnapshots(repository);
    expect(damaged).toEqual([]);
    expect(snapshots).toHaveLength(count);
    let directories = 0;
    for (const snapshot of snapshots) {
      const { payload } = await repository.manifests.get(snapshot.id);
      expect(JSON.stringify(snapshotToJson(snapshot))).toBe(JSON.stringify(payload));
      const pending = [snapshot.root];
      for (let entry = pending.pop(); entry !== undefined; entry = pending.pop()) {
        const stored = await readObject(repository, entry.object);
        const record = parseDirectory(stored, entry.name);
        expect(record.damaged).toEqual([]);
        expect(fromUtf8(encodeDirectory(record))).toBe(fromUtf8(stored));
        expect(
          buildSummary({ entries: record.entries, mtimeNs: record.summary.maxTimeNs }),
        ).toEqual(record.summary);
        expect(entry.summary).toEqual(record.summary);
        pending.push(...record.entries.filter(({ type }) => type === "directory"));
        directories++;
      }
    }
    expect(directories).toBeGreaterThan(count);
  });

  test("the global policy is understood", async () => {
    const repository = await openFixture(folder, password);
    const list = await listPolicies(repository);
    expect(list.damaged).toEqual([]);
    const [global] = list.policies;
    expect(global?.target).toEqual({ type: "global" });
    const { policy, origins } = await effectivePolicy(repository, {
      type: "path",
      host: "h",
      userName: "u",
      path: "/x",
    });
    expect(policyToJson(policy)).toEqual({
      ...DEFAULT_POLICY,
      ...policyToJson(global?.policy ?? {}),
    });
    expect(origins.get("retention.keepLatest")).toEqual([{ type: "global" }]);
  });
});
