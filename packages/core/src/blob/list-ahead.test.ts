import { expect, test } from "vitest";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { VarveError } from "../base/errors.ts";
import { listAhead } from "./list-ahead.ts";
import { createMemoryStore } from "./memory-store.ts";
import { passThrough } from "./pass-through.ts";
import { rememberList } from "./remember-list.ts";
import { type BlobStore, parseBlobId } from "./store.ts";

const environment = seededEnvironment({ seed: 1 });

async function storeOf(...ids: string[]): Promise<{ store: BlobStore; listed: string[] }> {
  const memory = createMemoryStore({ environment });
  for (const id of ids) {
    await memory.put(parseBlobId(id), [new Uint8Array(1)]);
  }
  const listed: string[] = [];
  const list: BlobStore["list"] = (prefix, options) => {
    listed.push(prefix);
    return memory.list(prefix, options);
  };
  return { store: { ...passThrough(memory), list }, listed };
}

async function namesIn(store: BlobStore, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of store.list(prefix)) {
    names.push(id);
  }
  return names.sort();
}

test("the first list is the one that was begun before, and the next is a new one", async () => {
  const { store, listed } = await storeOf("xa", "xb", "pa");
  const ahead = listAhead(store, "x", { environment });
  await ahead.ended;
  await store.put(parseBlobId("xc"), [new Uint8Array(1)]);
  expect(await namesIn(ahead.store, "p")).toEqual(["pa"]);
  expect(await namesIn(ahead.store, "x")).toEqual(["xa", "xb"]);
  expect(await namesIn(ahead.store, "x")).toEqual(["xa", "xb", "xc"]);
  expect(listed).toEqual(["x", "p", "x"]);
});

test("one that has grown old is not taken", async () => {
  const { store, listed } = await storeOf("xa");
  const ahead = listAhead(store, "x", { environment });
  environment.advance(11_000);
  expect(await namesIn(ahead.store, "x")).toEqual(["xa"]);
  expect(listed).toEqual(["x", "x"]);
});

test("one that failed is asked for again, and nobody is told unless that fails, too", async () => {
  const { store } = await storeOf("xa");
  let failures = 1;
  const failing: BlobStore = {
    ...store,
    list: (prefix, options) => {
      if (failures-- > 0) {
        throw new VarveError("storage-failed", "not now");
      }
      return store.list(prefix, options);
    },
  };
  const ahead = listAhead(failing, "x", { environment });
  await ahead.ended;
  expect(await namesIn(ahead.store, "x")).toEqual(["xa"]);
});

test("a remembered list is asked for once, and again after each change", async () => {
  const { store, listed } = await storeOf("xa", "pa");
  const remembering = rememberList(store, "x");
  expect(await namesIn(remembering, "x")).toEqual(["xa"]);
  expect(await namesIn(remembering, "x")).toEqual(["xa"]);
  expect(listed).toEqual(["x"]);
  await remembering.put(parseBlobId("xb"), [new Uint8Array(1)]);
  expect(await namesIn(remembering, "x")).toEqual(["xa", "xb"]);
  await remembering.delete(parseBlobId("xa"));
  expect(await namesIn(remembering, "x")).toEqual(["xb"]);
  expect(await namesIn(remembering, "p")).toEqual(["pa"]);
  expect(listed).toEqual(["x", "x", "x", "p"]);
});
