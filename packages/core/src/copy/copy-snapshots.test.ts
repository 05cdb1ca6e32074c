import { expect, test } from "vitest";
import { assert } from "../base/errors.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { openCrypto } from "../crypto/registry.ts";
import type { CreateFormatOptions } from "../format/format-blob.ts";
import { readFormat } from "../format/format-store.ts";
import { parseObjectId } from "../object/object-id.ts";
import { setPolicy, getPolicy } from "../policy/policies.ts";
import { GLOBAL_TARGET } from "../policy/policy-target.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openWithFormat } from "../repository/open-repository.ts";
import type { Repository } from "../repository/repository.ts";
import { findEntry, readDirectory } from "../snapshot/read-directory.ts";
import { listSnapshots, type SavedSnapshot } from "../snapshot/snapshots.ts";
import type { MemoryNode } from "../source/memory-source.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { upload } from "../upload/upload.ts";
import { verify } from "../verify/verify.ts";
import {
  blobIds,
  createTestRepository,
  SOURCE,
  storedTree,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { type CopyProgress, copySnapshots } from "./copy-snapshots.ts";

const START_MS = Date.UTC(2031, 0, 1);
const primitives = Promise.all([openCrypto(), openCodecs()]);

/** Repositories of one format: the key is derived once. */
function makeTarget(): ReturnType<typeof targetsOf> {
  common ??= targetsOf({});
  return common;
}

let common: ReturnType<typeof targetsOf> | undefined;

async function targetsOf(options: Partial<CreateFormatOptions>) {
  const environment = seededEnvironment({ seed: 9, startMs: START_MS });
  const template = createMemoryStore({ environment });
  await createRepository(template, { ...options, password: "target", environment });
  const [crypto, codecs] = await primitives;
  const format = await readFormat(template, { password: "target", crypto });
  const fresh = async (): Promise<BlobStore> => {
    const store = createMemoryStore({ environment });
    for (const id of await blobIds(template)) {
      await store.put(id, [await template.get(id)]);
    }
    return store;
  };
  const open = (store: BlobStore): Promise<Repository> =>
    openWithFormat(store, format, { password: "target", environment, crypto, codecs });
  return { environment, fresh, open };
}

const NODES: Readonly<Record<string, MemoryNode>> = {
  same: { data: "same".repeat(1000), mtimeNs: 1n, mode: 0o600, uid: 7 },
  copy: { data: "same".repeat(1000), mtimeNs: 2n },
  link: { target: "same" },
  empty: { data: "" },
  deep: { children: { er: { children: { file: { data: "deep".repeat(30) } } } }, mtimeNs: 5n },
};

async function makeSource() {
  const { environment, repository } = await createTestRepository();
  const options = { source: SOURCE, policy: testPolicy() };
  await upload(repository, {
    ...options,
    root: tree({ ...NODES, big: { data: "0123456789".repeat(300_000), mtimeNs: 3n } }),
    description: "the first",
    tags: { colour: "red" },
    bareTags: { velero: "yes" },
    pins: ["keep", "always"],
  });
  environment.advance(60_000);
  // The same size and times as before, and other bytes.
  const root = tree({
    ...NODES,
    same: { data: "SAME".repeat(1000), mtimeNs: 1n, mode: 0o600, uid: 7 },
  });
  await upload(repository, { ...options, root, forceHashPercent: 100 });
  return repository;
}

/** All that a copy must keep: not ids of objects, which depend on the format. */
async function contentOf(repository: Repository): Promise<unknown[]> {
  const { snapshots } = await listSnapshots(repository, { incomplete: false });
  return Promise.all(
    snapshots.map(async (snapshot) => {
      const { id: _id, root, ...rest } = snapshot;
      const metas = await metasOf(repository, snapshot);
      return { ...rest, files: await storedTree(repository, root), metas };
    }),
  );
}

async function metasOf(repository: Repository, { root }: SavedSnapshot): Promise<unknown[]> {
  const { entries, summary } = await readDirectory(repository, root.object);
  return [...entries, root].map(({ object: _object, ...meta }) => meta).concat(summary as never);
}

test.each([
  ["the same algorithms and another key", {}],
  [
    "another hash, cipher and cut",
    { hash: "HMAC-SHA256", encryption: "CHACHA20-POLY1305-HMAC-SHA256", splitter: "FIXED-1M" },
  ],
  ["format version 1", { version: 1 }],
])("a copy into %s is equal, and the next run copies nothing", async (_name, options) => {
  const source = await makeSource();
  const { fresh, open } = await targetsOf(options);
  const store = await fresh();
  await using target = await open(store);
  const report = await copySnapshots(source, target);
  expect(report).toMatchObject({ present: [], failed: [], policies: 0 });
  expect(report.copied).toHaveLength(2);
  const expected = await contentOf(source);
  await using other = await open(store);
  expect(await contentOf(other)).toEqual(expected);
  expect((await verify(other)).damaged).toEqual([]);
  const before = await blobIds(store);
  const again = await copySnapshots(source, other);
  expect(again).toMatchObject({ copied: [], failed: [], files: 0, bytes: 0 });
  expect(again.present).toHaveLength(2);
  expect(await blobIds(store)).toEqual(before);
});

test("what an earlier run has copied is not read again", async () => {
  const source = await makeSource();
  const { fresh, open } = await makeTarget();
  const store = await fresh();
  const { snapshots } = await listSnapshots(source);
  const ids = snapshots.map(({ id }) => id);
  await using first = await open(store);
  await copySnapshots(source, first, { snapshots: ids.slice(0, 1) });
  await using second = await open(store);
  const report = await copySnapshots(source, second);
  expect(report.present.map(({ id }) => id)).toEqual(ids.slice(0, 1));
  expect(report.files).toBe(1); // the one with other bytes under the same name, size and times
  expect(await contentOf(second)).toEqual(await contentOf(source));
});

test("killed at any write, it goes on to the same end", async () => {
  const source = await makeSource();
  const expected = await contentOf(source);
  const { environment, fresh, open } = await makeTarget();
  const checkpointIntervalMs = 10;
  const onProgress = (): void => environment.advance(2);
  let writes = Number.POSITIVE_INFINITY;
  for (let dies = 1; dies <= writes; dies++) {
    const store = await fresh();
    const faulty = faultyStore(store, {
      write: ({ number }) =>
        number === dies
          ? { outcome: dies % 2 === 0 ? "lost" : "half-acknowledged", crash: true }
          : undefined,
    });
    try {
      await using target = await open(faulty);
      await copySnapshots(source, target, { checkpointIntervalMs, onProgress });
      writes = faulty.writes;
    } catch {
      // it has died
    }
    await using target = await open(store);
    expect((await verify(target)).damaged).toEqual([]);
    await copySnapshots(source, target, { checkpointIntervalMs, onProgress });
    expect(await contentOf(target)).toEqual(expected);
    const { snapshots } = await listSnapshots(target);
    expect(snapshots.map(({ incomplete }) => incomplete)).toEqual([undefined, undefined]);
  }
  expect(writes).toBeGreaterThan(10);
});

test("from a checkpoint, only what it lacks is read", async () => {
  const source = await makeSource();
  const snapshots = (await listSnapshots(source)).snapshots.slice(0, 1).map(({ id }) => id);
  const { environment, fresh, open } = await makeTarget();
  const options = {
    snapshots,
    checkpointIntervalMs: 1,
    onProgress: (): void => environment.advance(2),
  };
  const whole = faultyStore(await fresh());
  await using first = await open(whole);
  await copySnapshots(source, first, options);
  const store = await fresh();
  const dying = faultyStore(store, {
    // The pack of the last commit.
    write: ({ number }) =>
      number === whole.writes - 2 ? { outcome: "lost", crash: true } : undefined,
  });
  await using second = await open(dying);
  await expect(copySnapshots(source, second, options)).rejects.toThrow("injected");
  await using third = await open(store);
  const { snapshots: unfinished } = await listSnapshots(third);
  expect(unfinished.map(({ incomplete, pins }) => ({ incomplete, pins }))).toEqual([
    { incomplete: "checkpoint", pins: [] },
  ]);
  const { files } = await copySnapshots(source, third);
  expect(files).toBeLessThanOrEqual(2); // one is new in the second snapshot
  expect(await contentOf(third)).toEqual(await contentOf(source));
});

test("a snapshot with damage is named and left out, others are copied", async () => {
  const source = await makeSource();
  const [first, second] = (await listSnapshots(source)).snapshots;
  assert(first !== undefined, "there are two snapshots");
  const big = await findEntry(source, first.root, "big");
  const missing = parseObjectId("00".repeat(16));
  const damaged: Repository = {
    ...source,
    objects: {
      ...source.objects,
      open: (id, options) => source.objects.open(id === big.object ? missing : id, options),
    },
    refresh: (options) => source.refresh(options),
    flush: (options) => source.flush(options),
    [Symbol.asyncDispose]: async () => {},
  };
  const { fresh, open } = await makeTarget();
  await using target = await open(await fresh());
  const report = await copySnapshots(damaged, target);
  expect(report.failed.map(({ snapshot, message }) => [snapshot.id, message])).toEqual([
    [first.id, expect.stringContaining('"big"')],
  ]);
  expect(report.copied.map(({ from }) => from)).toEqual([second?.id]);
});

test("policies are copied when asked for, and those that are there stay unless told otherwise", async () => {
  const source = await makeSource();
  const place = { type: "path", ...SOURCE } as const;
  await setPolicy(source, place, { retention: { keepLatest: 3 } });
  await setPolicy(source, GLOBAL_TARGET, { retention: { keepLatest: 9 } });
  const { fresh, open } = await makeTarget();
  await using target = await open(await fresh());
  const ids = (await listSnapshots(source)).snapshots.map(({ id }) => id);
  await copySnapshots(source, target, { snapshots: ids });
  expect(await getPolicy(target, place)).toBeUndefined();
  await copySnapshots(source, target, { snapshots: ids, policies: "missing" });
  expect(await getPolicy(target, place)).toMatchObject({ retention: { keepLatest: 3 } });
  expect((await getPolicy(target, GLOBAL_TARGET))?.retention?.keepLatest).not.toBe(9);
  await setPolicy(target, place, { retention: { keepLatest: 4 } });
  expect(await copySnapshots(source, target, { policies: "missing" })).toMatchObject({
    policies: 1,
  });
  expect(await getPolicy(target, place)).toMatchObject({ retention: { keepLatest: 4 } });
  await copySnapshots(source, target, { policies: "overwrite" });
  expect(await getPolicy(target, place)).toMatchObject({ retention: { keepLatest: 3 } });
});

test("several sources are copied at the same time, no more than was asked for, each in order", async () => {
  const source = await makeSource();
  for (const path of ["/a", "/b", "/c", "/b"]) {
    const root = tree({
      ...NODES,
      own: { data: path.repeat(2000) },
      more: { data: path.repeat(3000) },
    });
    await source.environment.sleep(1000);
    await upload(source, { source: { ...SOURCE, path }, policy: testPolicy(), root });
  }
  const { fresh, open } = await makeTarget();
  await using target = await open(await fresh());
  const heard: string[] = [];
  const onProgress = ({ snapshot }: CopyProgress): number => heard.push(snapshot.source.path);
  const report = await copySnapshots(source, target, { parallel: 2, onProgress });
  expect(report.copied).toHaveLength(6);
  expect(await contentOf(target)).toEqual(await contentOf(source));
  const inHand = heard.map(
    (_, now) =>
      new Set(heard.filter((path) => heard.indexOf(path) <= now && heard.lastIndexOf(path) >= now))
        .size,
  );
  expect(Math.max(...inHand)).toBe(2);
  const starts = report.copied.map(({ snapshot: { source: from, startTimeNs } }) => ({
    path: from.path,
    startTimeNs,
  }));
  for (const path of new Set(heard)) {
    const ofOne = starts.filter((start) => start.path === path).map((start) => start.startTimeNs);
    expect(ofOne).toEqual(ofOne.toSorted((a, b) => Number(a - b)));
  }
});

test("what ends the copy of one source ends those beside it, and the next run goes on", async () => {
  const source = await makeSource();
  await source.environment.sleep(1000);
  await upload(source, {
    source: { ...SOURCE, path: "/beside" },
    policy: testPolicy(),
    root: tree(
      Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`f${n}`, { data: `${n}` }])),
    ),
  });
  const { fresh, open } = await makeTarget();
  const store = await fresh();
  const full = faultyStore(store, { write: () => ({ outcome: "lost", crash: true }) });
  await using first = await open(full);
  await expect(copySnapshots(source, first, { parallel: 2 })).rejects.toThrow("injected");
  await using second = await open(store);
  await copySnapshots(source, second, { parallel: 2 });
  expect(await contentOf(second)).toEqual(await contentOf(source));
  await expect(copySnapshots(source, second, { parallel: 0 })).rejects.toMatchObject({
    code: "invalid-argument",
  });
});
