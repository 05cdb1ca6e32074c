import { concatBytes } from "../base/bytes.ts";
import type { BlobStore } from "../blob/store.ts";
import { check, checkBytes, checkFails, type StoreCheck } from "./checks.ts";

const TEN = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9);
const LONG = "-0123456789abcdef0123456789abcdef-s0123456789abcdef147";

/** What put, get, stat and delete promise without options. */
export const READ_WRITE_CASES: readonly StoreCheck[] = [
  {
    name: "a blob that was put is read back whole, and stat tells its size",
    async check(store, id) {
      const put = await store.put(id("a"), [TEN], { exactTime: true });
      check(put.id === id("a") && put.size === 10, "put tells id and size");
      checkBytes(await store.get(id("a")), TEN, "get");
      const info = await store.stat(id("a"));
      check(info.id === id("a") && info.size === 10, "stat tells id and size");
      check(info.mtimeMs === put.mtimeMs, "stat and put tell the same time");
    },
  },
  {
    name: "short and long ids are different names for different blobs",
    async check(store, id) {
      const names = ["a", "a.b_c-D", "-0123456789abcde", LONG, `${LONG}x`, "p", "p.f"];
      for (const [index, name] of names.entries()) {
        await store.put(id(name), [Uint8Array.of(index)]);
      }
      for (const [index, name] of names.entries()) {
        checkBytes(await store.get(id(name)), Uint8Array.of(index), `get ${name}`);
      }
    },
  },
  {
    name: "a put replaces, also with fewer bytes",
    async check(store, id) {
      await store.put(id(LONG), [new Uint8Array(5000).fill(1)]);
      await store.put(id(LONG), [TEN]);
      checkBytes(await store.get(id(LONG)), TEN, "get after replace");
      check((await store.stat(id(LONG))).size === 10, "stat after replace");
    },
  },
  {
    name: "a put joins its parts, empty ones included",
    async check(store, id) {
      const parts = Array.from({ length: 2000 }, (_, index) =>
        new Uint8Array(index % 7).fill(index),
      );
      await store.put(id(LONG), parts);
      checkBytes(await store.get(id(LONG)), concatBytes(parts), "get");
    },
  },
  {
    name: "an empty blob is a blob",
    async check(store, id) {
      await store.put(id("no-parts"), []);
      await store.put(id("no-bytes"), [new Uint8Array(0)]);
      for (const name of ["no-parts", "no-bytes"]) {
        check((await store.get(id(name))).length === 0, `get ${name}`);
        check((await store.stat(id(name))).size === 0, `stat ${name}`);
      }
    },
  },
  {
    name: "a blob of 8 MiB is read back whole and in part",
    async check(store, id) {
      const bytes = new Uint8Array(8 * 1024 * 1024);
      for (let index = 0; index < bytes.length; index++) {
        bytes[index] = index ^ (index >>> 8) ^ (index >>> 16);
      }
      await store.put(id(LONG), [bytes.subarray(0, 3_000_001), bytes.subarray(3_000_001)]);
      checkBytes(await store.get(id(LONG)), bytes, "get");
      const range = { offset: 2_999_000, length: 4_000_000 };
      const part = bytes.subarray(2_999_000, 6_999_000);
      checkBytes(await store.get(id(LONG), { range }), part, "get of a range");
      for (const into of memories(part.length)) {
        const what = `get of a range with memory of ${into.length} bytes`;
        checkBytes(await store.get(id(LONG), { range, into }), part, what);
      }
    },
  },
  {
    name: "a range gives exactly its bytes",
    async check(store, id) {
      await store.put(id("r"), [TEN]);
      for (const [offset, length] of [
        [0, 10],
        [1, 9],
        [0, 1],
        [2, 1],
        [5, 0],
        [5, 5],
        [9, 1],
        [10, 0],
      ] as const) {
        const part = TEN.subarray(offset, offset + length);
        const what = `${length} bytes at ${offset}`;
        checkBytes(await store.get(id("r"), { range: { offset, length } }), part, what);
      }
    },
  },
  {
    name: "a range that does not lie in the blob is range-invalid",
    async check(store, id) {
      await store.put(id("r"), [TEN]);
      await store.put(id("empty"), []);
      for (const [offset, length] of [
        [0, 11],
        [1, 10],
        [10, 1],
        [11, 0],
        [1_000_000, 1],
        [-1, 2],
        [0, -1],
        [0.5, 1],
      ] as const) {
        const what = `${length} bytes at ${offset} of 10`;
        const get = store.get(id("r"), { range: { offset, length } });
        await checkFails(get, "range-invalid", what);
      }
      const get = store.get(id("empty"), { range: { offset: 0, length: 1 } });
      await checkFails(get, "range-invalid", "1 byte of an empty blob");
    },
  },
  {
    name: "a missing blob is blob-not-found, also for no bytes of it",
    async check(store, id) {
      for (const name of ["m", LONG]) {
        await checkFails(store.get(id(name)), "blob-not-found", "get");
        for (const length of [0, 1]) {
          const get = store.get(id(name), { range: { offset: 0, length } });
          await checkFails(get, "blob-not-found", `get of ${length} bytes`);
        }
        await checkFails(store.stat(id(name)), "blob-not-found", "stat");
      }
    },
  },
  {
    name: "a deleted blob is gone, and deleting it again is success",
    async check(store, id) {
      await store.delete(id("never-there"));
      for (const name of ["d", LONG]) {
        await store.put(id(name), [TEN]);
        await store.delete(id(name));
        await checkFails(store.get(id(name)), "blob-not-found", "get after delete");
        await checkFails(store.stat(id(name)), "blob-not-found", "stat after delete");
        for await (const info of store.list(id(name))) {
          check(false, `list gives ${info.id} after delete`);
        }
        await store.delete(id(name));
        await store.put(id(name), [TEN]);
        checkBytes(await store.get(id(name)), TEN, "get after delete and put");
      }
    },
  },
  {
    name: "bytes given to put and got from get belong to the caller",
    async check(store, id) {
      const given = TEN.slice();
      await store.put(id("b"), [given]);
      checkBytes(given, TEN, "put changed its argument");
      given.fill(255);
      const got = await store.get(id("b"));
      checkBytes(got, TEN, "a change after put reached the store");
      got.fill(255);
      const part = await store.get(id("b"), { range: { offset: 0, length: 10 } });
      checkBytes(part, TEN, "a change of what get gave reached the store");
      part.fill(255);
      checkBytes(await store.get(id("b")), TEN, "a change of a range reached the store");
    },
  },
  {
    name: "readers see one whole version while a blob is replaced",
    async check(store, id) {
      const versions = [1, 2, 3].map((fill) => new Uint8Array(fill * 100_000).fill(fill));
      await store.put(id(LONG), versions.slice(0, 1));
      const writing = { isOver: false };
      const writeAll = async (): Promise<void> => {
        for (let round = 0; round < 12; round++) {
          await store.put(id(LONG), versions.slice(round % 3, (round % 3) + 1));
        }
      };
      const readAll = async (): Promise<void> => {
        while (!writing.isOver) {
          const bytes = await store.get(id(LONG));
          const version = versions[(bytes[0] ?? 0) - 1] ?? new Uint8Array(0);
          checkBytes(bytes, version, "get during replace");
        }
      };
      const writer = writeAll().finally(() => {
        writing.isOver = true;
      });
      await Promise.all([writer, readAll(), readAll()]);
    },
  },
  {
    name: "many puts and deletes at once do not disturb one another",
    async check(store, id) {
      const names = Array.from({ length: 64 }, (_, index) => `${index % 8}${LONG}${index}`);
      await Promise.all(names.map((name, index) => store.put(id(name), [Uint8Array.of(index)])));
      await Promise.all(
        names.filter((_, index) => index % 2 === 1).map((name) => store.delete(id(name))),
      );
      for (const [index, name] of names.entries()) {
        await checkIsByte(store, id(name), index % 2 === 0 ? index : undefined);
      }
    },
  },
];

async function checkIsByte(
  store: BlobStore,
  id: Parameters<BlobStore["get"]>[0],
  byte: number | undefined,
): Promise<void> {
  if (byte === undefined) {
    await checkFails(store.get(id), "blob-not-found", `get ${id}`);
  } else {
    checkBytes(await store.get(id), Uint8Array.of(byte), `get ${id}`);
  }
}

/** Too short, just long enough, and shared memory where the host has it. */
function memories(length: number): Uint8Array[] {
  const own = [new Uint8Array(length - 1), new Uint8Array(length)];
  return typeof SharedArrayBuffer === "undefined"
    ? own
    : [...own, new Uint8Array(new SharedArrayBuffer(length + 3), 3)];
}
