import { forEachLimit } from "../base/concurrency.ts";
import type { BlobInfo, BlobStore } from "../blob/store.ts";
import { check, type StoreCheck } from "./checks.ts";

const LONG = "-0123456789abcdef0123456789abcdef";
// More than a page of any object store (1000 for S3, 5000 for Azure is out of reach of a quick test).
const MANY = 1600;

/** What list promises. */
export const LISTING_CASES: readonly StoreCheck[] = [
  {
    name: "a list gives exactly the blobs with the prefix, each once, with size and time",
    async check(store, id) {
      const names = ["a", "ab", "abc", "b", `a${LONG}`, `ab${LONG}`, `b${LONG}`, `bb${LONG}`];
      for (const [index, name] of names.entries()) {
        await store.put(id(name), [new Uint8Array(index)]);
      }
      for (const prefix of ["", "a", "ab", "abc", "abcd", "b", "bb", `ab${LONG}`, `ab${LONG}0`]) {
        const expected = names.filter((name) => name.startsWith(prefix)).map(id);
        await checkListed(store, id("") + prefix, expected);
      }
      for await (const info of store.list(id(""))) {
        const { size, mtimeMs } = await store.stat(info.id);
        check(info.size === size, `list tells the size of ${info.id}`);
        check(info.mtimeMs === mtimeMs, `list tells the time of ${info.id}`);
      }
    },
  },
  {
    name: "a list without prefix gives every blob",
    async check(store, id) {
      await store.put(id("a"), []);
      await store.put(id(LONG), []);
      const all = (await listed(store, "")).map((info) => info.id);
      check(all.includes(id("a")) && all.includes(id(LONG)), "list gives the blobs");
    },
  },
  {
    name: "a list of a prefix that no blob has is empty",
    async check(store, id) {
      await checkListed(store, id(""), []);
      await checkListed(store, id(LONG), []);
    },
  },
  {
    name: `a list gives all of ${MANY} blobs, and can be left early`,
    async check(store, id) {
      const ids = Array.from({ length: MANY }, (_, index) => id(`${index % 3}${LONG}${index}`));
      await forEachLimit(ids, { limit: 16 }, async (each) => {
        await store.put(each, [Uint8Array.of(1)]);
      });
      await checkListed(store, id(""), ids);
      await checkListed(
        store,
        id("2"),
        ids.filter((each) => each.startsWith(id("2"))),
      );
      for await (const info of store.list(id(""))) {
        check(info.size === 1, "the first blob has its size");
        break;
      }
    },
  },
  {
    name: "a list gives what is there all the time, once, while others write and delete",
    async check(store, id) {
      const stays = Array.from({ length: 60 }, (_, index) => id(`s${LONG}${index}`));
      const goes = Array.from({ length: 30 }, (_, index) => id(`g${LONG}${index}`));
      await forEachLimit([...stays, ...goes], { limit: 16 }, async (each) => {
        await store.put(each, [Uint8Array.of(1)]);
      });
      const seen: string[] = [];
      for await (const info of store.list(id(""))) {
        seen.push(info.id);
        const gone = goes[seen.length];
        await store.put(id(`n${LONG}${seen.length % 40}`), []);
        if (gone !== undefined) {
          await store.delete(gone);
        }
      }
      check(new Set(seen).size === seen.length, "no blob comes twice");
      check(
        stays.every((each) => seen.includes(each)),
        "every blob that stayed is given",
      );
    },
  },
  {
    name: "a blob is listed as soon as its put has returned",
    async check(store, id) {
      for (let index = 0; index < 5; index++) {
        await store.put(id(`${index}${LONG}`), []);
        check((await listed(store, id(""))).length === index + 1, `list after put ${index + 1}`);
      }
    },
  },
];

async function listed(store: BlobStore, prefix: string): Promise<BlobInfo[]> {
  const infos: BlobInfo[] = [];
  for await (const info of store.list(prefix)) {
    infos.push(info);
  }
  return infos;
}

async function checkListed(
  store: BlobStore,
  prefix: string,
  expected: readonly string[],
): Promise<void> {
  const actual = (await listed(store, prefix)).map((info) => info.id).sort();
  const wanted = [...expected].sort();
  const first = wanted.findIndex((id, index) => actual[index] !== id);
  check(
    actual.length === wanted.length && first < 0,
    `list ${prefix}: ${actual.length} blobs, expected ${wanted.length}; first difference at ${actual[first] ?? wanted[first]}`,
  );
}
