import { mkdtemp, rm } from "node:fs/promises";
import { batchOf } from "../content/sealed-batch.ts";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { concatBytes, equalBytes, utf8 } from "../base/bytes.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import type { ObjectId } from "../object/object-id.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { createRepository, type CreateRepositoryOptions } from "./create-repository.ts";
import { openRepository } from "./open-repository.ts";
import type { Repository } from "./repository.ts";

const password = "correct horse";
// Cheaper than scrypt; the keys themselves are tested with the format.
const keyDerivation = "pbkdf2-sha256-600000";
const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "varve-repository-"));
  folders.push(folder);
  return folder;
}

const NOISE = seededEnvironment({ seed: 5 }).randomBytes(1_300_000);
const OBJECTS: readonly { name: string; data: Uint8Array; prefix: string; codec?: string }[] = [
  { name: "empty", data: new Uint8Array(0), prefix: "" },
  { name: "small", data: utf8("hello"), prefix: "" },
  { name: "noise", data: NOISE, prefix: "" },
  { name: "noise with a compressor", data: NOISE, prefix: "", codec: "zstd" },
  { name: "zeros", data: new Uint8Array(3_000_000), prefix: "", codec: "zstd-fastest" },
  { name: "text", data: utf8("word ".repeat(200_000)), prefix: "", codec: "gzip" },
  { name: "directory", data: utf8('{"stream":"kopia:directory"}'), prefix: "k", codec: "zstd" },
];

async function* inParts(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < data.length; offset += 300_001) {
    yield data.subarray(offset, offset + 300_001);
  }
}

interface Written {
  readonly name: string;
  readonly data: Uint8Array;
  readonly id: ObjectId;
}

async function writeAll(repository: Repository): Promise<Written[]> {
  const written: Written[] = [];
  const metadataCodec = repository.codecs.byName("zstd-fastest");
  for (const { name, data, prefix, codec } of OBJECTS) {
    const { id, size } = await repository.objects.write(inParts(data), {
      prefix,
      codec: codec === undefined ? undefined : repository.codecs.byName(codec),
      metadataCodec,
    });
    expect(size).toBe(data.length);
    written.push({ name, data, id });
  }
  return written;
}

async function readAll(repository: Repository, written: readonly Written[]): Promise<void> {
  for (const { name, data, id } of written) {
    const reader = await repository.objects.open(id);
    expect(reader.size, name).toBe(data.length);
    const parts: Uint8Array[] = [];
    for await (const part of reader.stream()) {
      parts.push(part);
    }
    expect(equalBytes(concatBytes(parts), data), name).toBe(true);
    const range = { offset: Math.floor(data.length / 3), length: Math.floor(data.length / 2) };
    const expected = data.subarray(range.offset, range.offset + range.length);
    expect(equalBytes(await reader.read(range), expected), name).toBe(true);
  }
}

const stores: readonly [string, () => Promise<BlobStore>][] = [
  ["memory", async () => createMemoryStore()],
  ["file system", async () => openFileSystemStore(await temporaryFolder(), { create: true })],
];
const ecc = (overheadPercent: number) => ({ algorithm: "REED-SOLOMON-CRC32", overheadPercent });
const formats: readonly Partial<CreateRepositoryOptions>[] = [
  { version: 1 },
  { version: 2 },
  { version: 2, ecc: ecc(2) },
  { version: 3 },
  { version: 3, ecc: ecc(20), encryption: "CHACHA20-POLY1305-HMAC-SHA256" },
];

for (const [storeName, openStore] of stores) {
  test.each(formats)(`what is written to ${storeName} is read again: %o`, async (format) => {
    const store = await openStore();
    const splitter = "FIXED-128K";
    const labels = { type: "policy", policyType: "global" };
    const initialManifests = [{ labels, payload: { retention: { keepLatest: 3 } } }];
    await createRepository(store, {
      ...format,
      password,
      keyDerivation,
      splitter,
      initialManifests,
    });
    let written: Written[];
    {
      await using repository = await openRepository(store, { password });
      written = await writeAll(repository);
      await readAll(repository, written);
      await repository.flush();
      await readAll(repository, written);
    }
    await using repository = await openRepository(store, { password, readOnly: true });
    await readAll(repository, written);
    expect(repository.format).toMatchObject(format);
    const [policy] = await repository.manifests.find(labels);
    expect(policy && (await repository.manifests.get(policy.id)).payload).toEqual({
      retention: { keepLatest: 3 },
    });
    const [maintenance] = await repository.manifests.find({ type: "maintenance" });
    expect(maintenance && (await repository.manifests.get(maintenance.id)).payload).toMatchObject({
      owner: "varve@localhost",
    });
    expect(written[4]?.id).toMatch(/^Ix/);
    expect(written[1]?.id).toMatch(/^[0-9a-f]{32}$/);
    await store[Symbol.asyncDispose]();
  });
}

async function newRepository(): Promise<BlobStore> {
  const store = createMemoryStore();
  await createRepository(store, { password, keyDerivation });
  return store;
}

async function blobIds(store: BlobStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list("")) {
    ids.push(id);
  }
  return ids.sort();
}

test("writing the same again adds nothing", async () => {
  const store = await newRepository();
  {
    await using repository = await openRepository(store, { password });
    await writeAll(repository);
    await repository.flush();
  }
  const before = await blobIds(store);
  await using repository = await openRepository(store, { password });
  await writeAll(repository);
  await repository.flush();
  expect(await blobIds(store)).toEqual(before);
  expect(repository.contents.stats.newContents).toBe(0);
});

test("in a repository of version 1 data is compressed at object level, and only data", async () => {
  const store = createMemoryStore();
  await createRepository(store, { password, keyDerivation, version: 1 });
  await using repository = await openRepository(store, { password });
  const codec = repository.codecs.byName("zstd");
  const text = utf8("word ".repeat(1000));
  const options = { codec, metadataCodec: codec };
  const { id } = await repository.objects.write(inParts(text), options);
  expect(id).toMatch(/^Z[0-9a-f]{32}$/);
  const directory = await repository.objects.write(inParts(text), { ...options, prefix: "k" });
  expect(directory.id).toMatch(/^k[0-9a-f]{32}$/);
  const reader = await repository.objects.open(id);
  expect([reader.size, await reader.read({ offset: 5, length: 4 })]).toEqual([5000, utf8("word")]);
});

test("what was not flushed is discarded, and closing twice is once", async () => {
  const store = await newRepository();
  const repository = await openRepository(store, { password });
  const { id } = await repository.objects.write(inParts(NOISE));
  await repository[Symbol.asyncDispose]();
  await repository[Symbol.asyncDispose]();
  await expect(repository.flush()).rejects.toThrow("closed");
  await using reopened = await openRepository(store, { password });
  await expect(reopened.objects.open(id)).rejects.toMatchObject({ code: "content-not-found" });
});

test("a repository that was opened read-only refuses writes", async () => {
  const store = await newRepository();
  await using repository = await openRepository(store, { password, readOnly: true });
  const readOnly = { code: "read-only" };
  await expect(repository.objects.write(inParts(NOISE))).rejects.toMatchObject(readOnly);
  await expect(repository.manifests.put({ type: "x" }, {})).rejects.toMatchObject(readOnly);
  await expect(repository.contents.append(batchOf([]))).rejects.toMatchObject(readOnly);
  expect(() => repository.contents.claim([])).toThrow(expect.objectContaining(readOnly));
  expect(() => repository.contents.remove([])).toThrow(expect.objectContaining(readOnly));
  await repository.flush();
});

test("opening says what is wrong", async () => {
  const store = await newRepository();
  await expect(openRepository(createMemoryStore(), { password })).rejects.toMatchObject({
    code: "not-a-repository",
  });
  await expect(openRepository(store, { password: "other" })).rejects.toMatchObject({
    code: "wrong-password",
  });
  await expect(createRepository(store, { password })).rejects.toMatchObject({
    code: "repository-exists",
  });
});

test("a policy's splitter is used, and the repository's own for names that are unknown", async () => {
  const store = await newRepository();
  await using repository = await openRepository(store, { password });
  const names = ["FASTCDC-4M", "FIXED-1M", "none of ours", "", undefined];
  expect(names.map((name) => repository.splitter(name).name)).toEqual([
    "FASTCDC-4M",
    "FIXED-1M",
    "DYNAMIC-4M-BUZHASH",
    "DYNAMIC-4M-BUZHASH",
    "DYNAMIC-4M-BUZHASH",
  ]);
});

test("refresh shows what another client has committed", async () => {
  const store = await newRepository();
  await using reader = await openRepository(store, { password, readOnly: true });
  await using writer = await openRepository(store, { password });
  const { id } = await writer.objects.write(inParts(NOISE));
  await writer.manifests.put({ type: "snapshot" }, { id });
  await writer.flush();
  expect(await reader.manifests.find({ type: "snapshot" })).toEqual([]);
  await reader.refresh();
  expect(await reader.manifests.find({ type: "snapshot" })).toHaveLength(1);
  expect((await reader.objects.open(id)).size).toBe(NOISE.length);
});
