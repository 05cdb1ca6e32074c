import { expect, test } from "vitest";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { parsePackTail } from "../content/pack-tail.ts";
import { deleteSnapshot } from "../snapshot/snapshots.ts";
import { parseManifestId } from "../manifest/manifest-store.ts";
import { runMaintenance } from "../maintenance/run.ts";
import { openRepository } from "../repository/open-repository.ts";
import { upload } from "../upload/upload.ts";
import {
  blobIds,
  createTestRepository,
  openTestRepository,
  PASSWORD,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { DAY_MS, type RollingReport, verifyRolling } from "./rolling.ts";

/** What no restore and no recovery needs, see docs/damage.md; and what opening with the password reads, below. */
const NOT_COVERED = /^(?:kopia\.(?:maintenance|blobcfg)|_log_|xe|xw|s)/;
const FLIPS_IN_BLOB = 16;

test("one flipped byte is named by the next run whose turn it is, wherever a restore or a recovery needs it", async () => {
  const { store, environment, repository } = await createTestRepository();
  const backUp = async (letter: string) => {
    const root = tree({ [letter]: { data: letter.repeat(5000), mtimeNs: 1n } });
    return await upload(repository, { source: SOURCE, root, policy: testPolicy() });
  };
  const { snapshot } = await backUp("a");
  await backUp("b");
  await runMaintenance(repository, { mode: "full" }); // a schedule, a copy of the format
  await deleteSnapshot(repository, parseManifestId(snapshot.id ?? ""));
  await repository.flush();
  environment.advance(DAY_MS);
  const run = async (): Promise<RollingReport> => {
    await using opened = await openTestRepository(store, environment);
    return await verifyRolling(opened, { withinDays: 1, verified: new Map() });
  };
  const whole = await run();
  expect(whole).toMatchObject({ damaged: [], damagedRoots: [] });
  expect(whole.verified.length).toBeGreaterThan(2);
  const contents = [...repository.contents.entries()];
  for (const id of await blobIds(store)) {
    const bytes = await store.get(id);
    const isNeeded = neededBytes(id, bytes, contents);
    for (let flip = 0; flip < FLIPS_IN_BLOB; flip++) {
      const at = Math.floor((flip / FLIPS_IN_BLOB) * bytes.length);
      if (isNeeded(at)) {
        await putFlipped(store, id, { bytes, at });
        const { damaged, damagedRoots } = await run();
        const named = [...damaged.map(({ pack }) => pack), ...damagedRoots.map(({ blob }) => blob)];
        expect({ id, at, named }).toEqual({ id, at, named: [id] });
      }
    }
    await putFlipped(store, id, { bytes, at: -1 });
  }
});

function neededBytes(
  id: BlobId,
  bytes: Uint8Array,
  contents: readonly { packBlobId: BlobId; packOffset: number; packedLength: number }[],
): (at: number) => boolean {
  if (!/^[pq]/.test(id)) {
    return () => !NOT_COVERED.test(id);
  }
  const { offset, length } = parsePackTail(bytes, { packLength: bytes.length });
  const isIn = (at: number, start: number, size: number) => at >= start && at < start + size;
  return (at) =>
    at >= offset + length ||
    isIn(at, offset, length) ||
    contents.some((info) => info.packBlobId === id && isIn(at, info.packOffset, info.packedLength));
}

/** Nothing is flipped below 0. */
async function putFlipped(
  store: BlobStore,
  id: BlobId,
  { bytes, at }: { bytes: Uint8Array; at: number },
): Promise<void> {
  const { mtimeMs } = await store.stat(id);
  const flipped = bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  await store.put(id, [flipped], { mtimeMs });
}

test("a flipped byte of kopia.blobcfg is named, too", async () => {
  const { store, environment } = await createTestRepository();
  const id = parseBlobId("kopia.blobcfg");
  await putFlipped(store, id, { bytes: await store.get(id), at: 10 });
  await using opened = await openRepository(store, { password: PASSWORD, environment });
  const { damagedRoots } = await verifyRolling(opened, { withinDays: 1, verified: new Map() });
  expect(damagedRoots).toMatchObject([{ blob: "kopia.blobcfg", code: "corrupt" }]);
});

test("a format blob that is gone is named while the repository is open", async () => {
  const { store, repository } = await createTestRepository();
  await store.delete(parseBlobId("kopia.repository"));
  const { damagedRoots } = await verifyRolling(repository, { withinDays: 1, verified: new Map() });
  expect(damagedRoots).toMatchObject([{ blob: "kopia.repository", code: "blob-not-found" }]);
});
