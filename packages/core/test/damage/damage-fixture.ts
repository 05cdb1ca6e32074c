import { utf8 } from "../../src/base/bytes.ts";
import { createMemoryStore } from "../../src/blob/memory-store.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../../src/blob/store.ts";
import { openCodecs } from "../../src/compression/registry.ts";
import { newSessionId, putSessionMarker } from "../../src/content/session.ts";
import { type Crypto, openCrypto } from "../../src/crypto/registry.ts";
import { cleanUpMarkers } from "../../src/epoch/cleanup-epochs.ts";
import { compactRange, compactSingleEpoch } from "../../src/epoch/compact-epochs.ts";
import { compactLegacyIndexes } from "../../src/epoch/compact-legacy.ts";
import { epochMarkerId, watermarkId } from "../../src/epoch/epoch-names.ts";
import type { RepositoryFormat } from "../../src/format/format.ts";
import { readFormat } from "../../src/format/format-store.ts";
import { sealBlob } from "../../src/format/sealed-blob.ts";
import { createSealer, type Sealer } from "../../src/format/sealer.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import { createRepository } from "../../src/repository/create-repository.ts";
import { openWithFormat } from "../../src/repository/open-repository.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { type SeededEnvironment, seededEnvironment } from "../../src/testing/seeded-environment.ts";
import { upload } from "../../src/upload/upload.ts";
import { blobIds, SOURCE, testPolicy, tree } from "../upload-fixture.ts";

/** Small repositories that have every kind of blob, each snapshot in packs of its own. */

export const PASSWORD = "correct horse";
export const SNAPSHOTS = 4;

const primitives = Promise.all([openCrypto(), openCodecs()]);
const keys = new Map<string, Promise<Uint8Array>>();

/** Derives each key once: it takes a quarter of a second. */
async function quickCrypto(): Promise<Crypto> {
  const [crypto] = await primitives;
  return {
    ...crypto,
    deriveKey: (name, password, salt) => {
      const key = `${name} ${password} ${salt.join()}`;
      const known = keys.get(key) ?? crypto.deriveKey(name, password, salt);
      keys.set(key, known);
      return known;
    },
  };
}

export async function openAnew(
  store: BlobStore,
  environment: SeededEnvironment,
): Promise<Repository> {
  const [, codecs] = await primitives;
  const crypto = await quickCrypto();
  const format = await readFormat(store, { password: PASSWORD, crypto });
  return openWithFormat(store, format, { password: PASSWORD, environment, crypto, codecs });
}

export interface Fixture {
  readonly store: BlobStore;
  readonly nowMs: number;
}

/** The source as it was for one of the snapshots. */
export function sourceTree(number: number): Parameters<typeof tree>[0] {
  const file = (name: string) => ({
    data: `${name} of snapshot ${number}`,
    mtimeNs: BigInt(number),
  });
  return { a: file("a"), sub: { children: { b: file("b") } } };
}

export async function backUp(repository: Repository, number: number): Promise<void> {
  const root = tree(sourceTree(number));
  await upload(repository, { source: SOURCE, root, policy: testPolicy() });
}

export async function copyOf(
  { store }: Fixture,
  environment: SeededEnvironment,
): Promise<BlobStore> {
  const copy = createMemoryStore({ environment });
  for (const id of await blobIds(store)) {
    await copy.put(id, [await store.get(id)]);
  }
  return copy;
}

interface MakeStep {
  readonly store: BlobStore;
  readonly format: RepositoryFormat;
  readonly environment: SeededEnvironment;
}

/** Between snapshots, `after` does what maintenance would do over the weeks. */
async function make(
  options: { version: number; seed: number },
  after: (step: MakeStep & { readonly number: number }) => Promise<void>,
): Promise<Fixture> {
  const environment = seededEnvironment({ seed: options.seed });
  const store = createMemoryStore({ environment });
  await createRepository(store, { password: PASSWORD, environment, version: options.version });
  const format = await readFormat(store, { password: PASSWORD, crypto: await quickCrypto() });
  for (let number = 1; number <= SNAPSHOTS; number++) {
    environment.advance(60_000);
    const repository = await openAnew(store, environment);
    await backUp(repository, number);
    await repository[Symbol.asyncDispose]();
    await after({ number, store, format, environment });
  }
  const repository = await openAnew(store, environment);
  await runMaintenance(repository, { mode: "quick" });
  await repository[Symbol.asyncDispose]();
  await leaveSessions({ store, format, environment });
  await store.put(parseBlobId("udmrepo.marker"), [utf8("of somebody else")]);
  return { store, nowMs: environment.nowMs() };
}

/** Clients that have died before they stored anything else. */
async function leaveSessions({ store, format, environment }: MakeStep): Promise<void> {
  const sealer = await sealerOf(format, environment);
  for (const username of ["one", "other"]) {
    const sessionId = newSessionId(environment);
    const owner = { username, hostname: "host" };
    await putSessionMarker(store, { sessionId, owner, sealer, environment });
  }
}

async function sealerOf(format: RepositoryFormat, environment: SeededEnvironment): Promise<Sealer> {
  const [crypto] = await primitives;
  return createSealer(format, { crypto, randomBytes: (size) => environment.randomBytes(size) });
}

export async function epochFixture(seed: number): Promise<Fixture> {
  return await make({ version: 3, seed }, async ({ number, store, format, environment }) => {
    const sealer = await sealerOf(format, environment);
    const epochs = { ...format.epochs, fullCheckpointFrequency: 1 };
    const options = { store, sealer, format: { ...format, epochs }, environment };
    const start = async (epoch: number) => {
      await store.put(epochMarkerId(epoch), [utf8("epoch-marker")]);
    };
    const replace = async (
      compaction: Promise<{ inputs: readonly { id: BlobId }[] } | undefined>,
    ) => {
      for (const { id } of (await compaction)?.inputs ?? []) {
        await store.delete(id); // as if months had passed
      }
    };
    if (number <= 2) {
      await start(number);
    }
    if (number === 2) {
      await start(3);
      await replace(compactSingleEpoch(options));
      await replace(compactSingleEpoch(options));
      await replace(compactRange(options)); // epochs 0 and 1
    }
    if (number === 3) {
      await start(4);
      await start(5);
      await replace(compactSingleEpoch(options)); // epoch 3
      await store.put(watermarkId(1000), [utf8("deletion-watermark")]);
      await cleanUpMarkers(options);
      for (const seq of [1, 2]) {
        const log = sealBlob({
          prefix: `_log_20300101000000_00aa_1_2_${seq}_`,
          plain: utf8(`log ${seq}`),
          sealer,
        });
        await store.put(log.id, [log.bytes]);
      }
    }
  });
}

export async function legacyFixture(seed: number): Promise<Fixture> {
  return await make({ version: 1, seed }, async ({ number, store, format, environment }) => {
    if (number !== 2) {
      return;
    }
    const sealer = await sealerOf(format, environment);
    const options = { store, sealer, format, environment };
    const done = await compactLegacyIndexes(options, { maxPackSize: 1e9, dropBeforeSeconds: 1 });
    for (const { id } of done?.inputs ?? []) {
      await store.delete(id);
    }
  });
}
