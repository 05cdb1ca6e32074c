import { expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import type { BlobStore } from "../blob/store.ts";
import { openCodecs } from "../compression/registry.ts";
import { type OpenContentStore, openContentStore } from "../content/open-content-store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createIndexBlobs } from "../epoch/index-blobs.ts";
import { createFormat } from "../format/format-blob.ts";
import { createSealer } from "../format/sealer.ts";
import { faultyStore } from "../testing/faulty-store.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { type ManifestStore, parseManifestId } from "./manifest-store.ts";
import { openManifestStore } from "./open-manifest-store.ts";

const crypto = await openCrypto();
const codecs = await openCodecs();
const environment = seededEnvironment({ seed: 3 });
const format = await createFormat(
  { password: "pw", keyDerivation: "pbkdf2-sha256-600000" },
  { crypto, environment },
);
const sealer = createSealer(format, {
  crypto,
  randomBytes: (size) => environment.randomBytes(size),
});
const owner = { username: "me", hostname: "here" };

interface Opened {
  readonly contents: OpenContentStore;
  readonly manifests: ManifestStore;
  flush(): Promise<void>;
}

async function open(store: BlobStore, options: { readOnly?: boolean } = {}): Promise<Opened> {
  const { readOnly = false } = options;
  const indexBlobs = createIndexBlobs({ store, sealer, format, environment });
  const wired = { store, format, crypto, sealer, codecs, indexBlobs, environment, owner };
  const contents = await openContentStore({ ...wired, readOnly });
  const manifests = openManifestStore({ contents, codecs, environment, readOnly });
  const flush = async (): Promise<void> => {
    await manifests.flush();
    await contents.flush();
  };
  return { contents, manifests, flush };
}

const contentCount = ({ contents }: Opened): number =>
  [...contents.entries({ prefix: "m" })].length;

test("what is put is found by its labels, in the order of modification, pending or not", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  const a = await one.manifests.put({ type: "t", name: "a" }, { value: 1 });
  await one.flush();
  const b = await one.manifests.put({ type: "t", name: "b" }, { value: 2 });
  const ids = async (labels: Record<string, string>): Promise<string[]> =>
    (await one.manifests.find(labels)).map(({ id }) => id);
  expect(await ids({ type: "t" })).toEqual([a, b]);
  expect(await ids({ type: "t", name: "b" })).toEqual([b]);
  expect(await ids({ type: "other" })).toEqual([]);
  expect((await one.manifests.get(b)).payload).toEqual({ value: 2 });
  await one.flush();
  const other = await open(store, { readOnly: true });
  expect((await other.manifests.find({})).map(({ id }) => id)).toEqual([a, b]);
  expect(await other.manifests.get(a)).toMatchObject({ labels: { type: "t", name: "a" } });
});

test("a deleted manifest is gone here at once and for others after the flush", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  const id = await one.manifests.put({ type: "t" }, {});
  const never = await one.manifests.put({ type: "t" }, {});
  await one.manifests.delete(never);
  await one.flush();
  await one.manifests.delete(id);
  await one.manifests.delete(parseManifestId("unknown"));
  await expect(one.manifests.get(id)).rejects.toMatchObject({ code: "manifest-not-found" });
  expect(await (await open(store)).manifests.find({})).toHaveLength(1);
  await one.flush();
  expect(await (await open(store)).manifests.find({})).toEqual([]);
});

test("a manifest needs a type and a payload", async () => {
  const { manifests } = await open(createMemoryStore());
  const invalid = { code: "invalid-argument" };
  await expect(manifests.put({}, {})).rejects.toMatchObject(invalid);
  await expect(manifests.put({ type: "t" }, undefined)).rejects.toMatchObject(invalid);
});

test("sixteen contents are merged into one, all in one flush, and tombstones disappear", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  const ids: string[] = [];
  for (let count = 0; count < 15; count++) {
    ids.push(await one.manifests.put({ type: "t" }, { count }));
    await one.flush();
  }
  await one.manifests.delete(parseManifestId(ids[3] ?? ""));
  await one.flush();
  expect(contentCount(one)).toBe(16);
  ids.push(await one.manifests.put({ type: "t" }, { count: 15 }));
  await one.flush();
  expect(contentCount(one)).toBe(1);
  ids.splice(3, 1);
  for (const opened of [one, await open(store)]) {
    expect(contentCount(opened)).toBe(1);
    expect((await opened.manifests.find({})).map(({ id }) => id)).toEqual(ids);
  }
  const [content] = one.contents.entries({ prefix: "m" });
  const bytes = await one.contents.read(
    content?.id ?? (await one.contents.write(utf8(""), { prefix: "" })),
  );
  const text = new TextDecoder().decode(codecs.byName("gzip").decompress(bytes, 100_000));
  expect(text).not.toContain("deleted");
});

test("merging that gives the bytes of one of the merged keeps it", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  const id = await one.manifests.put({ type: "t" }, { kept: true });
  await one.flush();
  for (let count = 0; count < 8; count++) {
    const gone = await one.manifests.put({ type: "t" }, { count });
    await one.flush();
    await one.manifests.delete(gone);
    await one.flush();
  }
  await one.flush();
  const other = await open(store);
  expect((await other.manifests.find({})).map((info) => info.id)).toEqual([id]);
  expect(contentCount(other)).toBe(1);
});

test("a content that cannot be parsed hides nothing else, and is never merged away", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  const bad = await one.contents.write(utf8("no gzip"), { prefix: "m" });
  const ids: string[] = [];
  for (let count = 0; count < 18; count++) {
    ids.push(await one.manifests.put({ type: "t" }, { count }));
    await one.flush();
  }
  const other = await open(store);
  expect(other.manifests.damaged).toEqual([]);
  expect((await other.manifests.find({})).map(({ id }) => id)).toEqual(ids);
  expect(other.manifests.damaged).toMatchObject([{ contentId: bad }]);
  expect(environment.events.at(-1)).toMatchObject({ level: "warning" });
  expect(contentCount(other)).toBe(19);
});

test("what is pending is written even when there is much to merge and nothing can be read", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  for (let count = 0; count < 16; count++) {
    await one.manifests.put({ type: "t" }, { count });
    await one.flush();
  }
  const other = await open({
    ...faultyStore(store),
    get: async (id, options) => {
      if (id.startsWith("q")) {
        throw new Error("no answer");
      }
      return await store.get(id, options);
    },
  });
  await other.manifests.put({ type: "t" }, { count: 16 });
  await other.flush();
  expect(await (await open(store)).manifests.find({})).toHaveLength(17);
});

test("a storage that does not answer is an error, not a damage", async () => {
  const store = createMemoryStore();
  const one = await open(store);
  await one.manifests.put({ type: "t" }, {});
  await one.flush();
  let refuses = false;
  const failing: BlobStore = {
    ...faultyStore(store),
    get: async (id, options) => {
      if (refuses && id.startsWith("q")) {
        throw new Error("no answer");
      }
      return await store.get(id, options);
    },
  };
  const other = await open(failing, { readOnly: true });
  refuses = true;
  await expect(other.manifests.find({})).rejects.toThrow("no answer");
  refuses = false;
  expect(await other.manifests.find({})).toHaveLength(1);
});

test("refresh shows what others have put, and pending changes stay", async () => {
  const store = createMemoryStore();
  const [one, other] = [await open(store), await open(store)];
  const pending = await one.manifests.put({ type: "t" }, {});
  expect(await one.manifests.find({})).toHaveLength(1);
  const foreign = await other.manifests.put({ type: "t" }, {});
  await other.flush();
  await one.contents.refresh();
  await one.manifests.refresh();
  expect((await one.manifests.find({})).map(({ id }) => id).toSorted()).toEqual(
    [pending, foreign].toSorted(),
  );
  expect((await one.manifests.find({}))[0]?.modifiedNs).toBeGreaterThan(0n);
});
