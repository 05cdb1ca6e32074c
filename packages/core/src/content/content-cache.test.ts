import { expect, test } from "vitest";
import { parseContentId } from "../index/content-id.ts";
import { ContentCache } from "./content-cache.ts";

const ids = ["ka0", "kb0", "kc0"].map((text) => parseContentId(text.padEnd(3, "0")));
const [a, b, c] = ids as [(typeof ids)[0], (typeof ids)[0], (typeof ids)[0]]; // three above

test("what was used least recently makes room", () => {
  const cache = new ContentCache(10);
  cache.set(a, new Uint8Array(4));
  cache.set(b, new Uint8Array(4));
  cache.get(a);
  cache.set(c, new Uint8Array(4));
  expect(ids.map((id) => cache.get(id)?.length)).toEqual([4, undefined, 4]);
});

test("what is larger than the cache is not kept", () => {
  const cache = new ContentCache(10);
  cache.set(a, new Uint8Array(4));
  cache.set(b, new Uint8Array(11));
  expect(ids.map((id) => cache.get(id)?.length)).toEqual([4, undefined, undefined]);
});
