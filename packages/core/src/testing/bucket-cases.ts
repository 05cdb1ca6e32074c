import { forEachLimit } from "../base/concurrency.ts";
import { isVarveError } from "../base/errors.ts";
import type { Bucket } from "../blob/bucket.ts";
import { type BlobStore, parseBlobId } from "../blob/store.ts";
import type { BlobStoreCase } from "./blob-store-cases.ts";
import { check, checkBytes, checkFails } from "./checks.ts";

/** What every bucket must do, beside what its stores must (`blobStoreCases` on one of its folders). */

export interface BucketCasesOptions {
  /** A bucket that may be written to; every case opens one and disposes it. */
  readonly open: () => Promise<Bucket>;
  /** Below which the cases write, and delete; ends with a slash. Default `zz-cases/`. */
  readonly folder?: string;
  /** Reads a URL, for buckets that give them. */
  readonly fetch?: (url: string) => Promise<Uint8Array>;
}

interface Bench {
  readonly bucket: Bucket;
  /** Of this case alone. */
  readonly folder: string;
  readonly fetch: BucketCasesOptions["fetch"];
}

const MANY = 40;
const BYTES = Uint8Array.of(1, 2, 3);
const FOLDERS = ["one/", "one/below/", "two/", "t w+o%é/", "one-more/"];

const CASES: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  async "folders gives the names right below, each once, and no blobs"({ bucket, folder }) {
    for (const name of ["", ...FOLDERS]) {
      await using store = bucket.store(folder + name);
      await store.put(parseBlobId("a"), [BYTES]);
      await store.put(parseBlobId("b"), [BYTES]);
    }
    check(same(await foldersOf(bucket, folder), ["one", "one-more", "t w+o%é", "two"]), "at top");
    check(same(await foldersOf(bucket, `${folder}one/`), ["below"]), "below a folder");
    check(same(await foldersOf(bucket, `${folder}one/below/`), []), "below the last");
    check(same(await foldersOf(bucket, `${folder}t w+o%é/`), []), "below odd letters");
  },
  async "a store has the blobs right below its folder only"({ bucket, folder }) {
    for (const [index, name] of ["", ...FOLDERS].entries()) {
      await bucket.store(folder + name).put(parseBlobId("a"), [Uint8Array.of(index)]);
    }
    await bucket.store(`${folder}one/below/`).put(parseBlobId("c"), [BYTES]);
    for (const [index, name] of ["", ...FOLDERS].entries()) {
      const store = bucket.store(folder + name);
      checkBytes(await store.get(parseBlobId("a")), Uint8Array.of(index), name);
      const ids = await idsOf(store);
      check(same(ids, name === "one/below/" ? ["a", "c"] : ["a"]), `${name} has ${ids.join()}`);
    }
  },
  async "a folder is there as long as it holds something"({ bucket, folder }) {
    check(same(await foldersOf(bucket, `${folder}none/`), []), "a folder without blobs is empty");
    const store = bucket.store(`${folder}one/below/`);
    await store.put(parseBlobId("a"), [BYTES]);
    check(same(await foldersOf(bucket, folder), ["one"]), "a folder that holds a folder");
    await store.delete(parseBlobId("a"));
    check(same(await foldersOf(bucket, folder), []), "no folder after its last blob");
  },
  async [`folders gives all of ${MANY}`]({ bucket, folder }) {
    const names = Array.from({ length: MANY }, (_, index) => `f${index}`);
    await forEachLimit(names, { limit: 16 }, async (name) => {
      await bucket.store(`${folder}${name}/`).put(parseBlobId("a"), []);
    });
    check(same(await foldersOf(bucket, folder), names.toSorted()), "all of them");
  },
  async "a disposed store leaves the bucket and other stores open"({ bucket, folder }) {
    const other = bucket.store(folder);
    await bucket.store(folder)[Symbol.asyncDispose]();
    await other.put(parseBlobId("a"), [BYTES]);
    await bucket.store(folder).stat(parseBlobId("a"));
  },
  async "what is no folder is invalid-argument"({ bucket, folder }) {
    for (const text of ["a", "/", "a//", "../", `${folder}../../x/`, "./", "/a/"]) {
      await checkFails(
        (async () => bucket.store(text))(),
        "invalid-argument",
        JSON.stringify(text),
      );
    }
  },
  async "a read URL gives the object, or is unsupported"({ bucket, folder, fetch }) {
    const name = `${folder}t w+o%é/a`;
    await bucket.store(`${folder}t w+o%é/`).put(parseBlobId("a"), [BYTES]);
    const asking = bucket.readUrl(name, { seconds: 60 });
    if (fetch === undefined) {
      await checkFails(asking, "unsupported", "read URL");
    } else {
      checkBytes(await fetch(await asking), BYTES, "what the URL gives");
    }
  },
  async "an upload is stored whole, however large"({ bucket, folder }) {
    const store = bucket.store(`${folder}one/`);
    for (const count of [0, 1, 5, UPLOAD_CHUNKS]) {
      await bucket.upload(`${folder}one/a`, chunks(count));
      const { size } = await store.stat(parseBlobId("a"));
      check(size === count * CHUNK_BYTES, `${count} chunks: ${size} bytes are stored`);
      for (let index = 0; index < count; index += 9) {
        const range = { offset: index * CHUNK_BYTES, length: CHUNK_BYTES };
        checkBytes(await store.get(parseBlobId("a"), { range }), chunk(index), `chunk ${index}`);
      }
    }
  },
  async "an upload whose bytes break off leaves what was there"({ bucket, folder }) {
    const store = bucket.store(folder);
    await store.put(parseBlobId("a"), [BYTES]);
    for (const count of [1, UPLOAD_CHUNKS]) {
      const reason = new Error("broken off");
      const outcome = await bucket.upload(`${folder}a`, chunks(count, reason)).then(
        () => undefined,
        (error: unknown) => error,
      );
      check(outcome === reason, `what the bytes threw, not ${String(outcome)}`);
      checkBytes(await store.get(parseBlobId("a")), BYTES, "what was there");
    }
    check(same(await idsOf(store), ["a"]), "nothing else is there");
    await checkFails(bucket.upload(`${folder}..`, chunks(1)), "invalid-argument", "no name");
  },
  async "an aborted call throws the reason"({ bucket, folder }) {
    const reason = new Error("stop");
    const outcome = await foldersOf(bucket, folder, AbortSignal.abort(reason)).then(
      () => undefined,
      (error: unknown) => error,
    );
    check(outcome === reason, "folders throws the reason");
  },
};

const CHUNK_BYTES = 1 << 20;
// More than providers' parts have.
const UPLOAD_CHUNKS = 19;

function chunk(index: number): Uint8Array {
  return new Uint8Array(CHUNK_BYTES).fill(index + 1);
}

async function* chunks(count: number, reason?: Error): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index++) {
    yield chunk(index);
  }
  if (reason !== undefined) {
    throw reason;
  }
}

/** The conformance cases; they may run at the same time, and leave nothing behind. */
export function bucketCases(options: BucketCasesOptions): readonly BlobStoreCase[] {
  return Object.entries(CASES).map(([name, run], index) => ({
    name,
    run: async () => {
      await using bucket = await options.open();
      const folder = `${options.folder ?? "zz-cases/"}${index}/`;
      await deleteAll(bucket, folder);
      try {
        await run({ bucket, folder, fetch: options.fetch });
      } finally {
        await deleteAll(bucket, folder);
      }
    },
  }));
}

async function deleteAll(bucket: Bucket, folder: string): Promise<void> {
  await forEachLimit(bucket.folders(folder), { limit: 16 }, async (name) => {
    await deleteAll(bucket, `${folder}${name}/`);
  });
  const store = bucket.store(folder);
  await forEachLimit(store.list(""), { limit: 16 }, async ({ id }) => {
    await store.delete(id).catch((error: unknown) => {
      if (!isVarveError(error, "access-denied")) {
        throw error;
      }
    });
  });
}

async function foldersOf(bucket: Bucket, prefix: string, signal?: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  for await (const name of bucket.folders(prefix, { signal })) {
    names.push(name);
  }
  return names.toSorted();
}

async function idsOf(store: BlobStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of store.list("")) {
    ids.push(id);
  }
  return ids.toSorted();
}

function same(actual: readonly string[], expected: readonly string[]): boolean {
  return JSON.stringify(actual) === JSON.stringify(expected);
}
