import { expect, test } from "vitest";
import { inParts } from "./in-parts.ts";

async function* chunksOf(sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let next = 0;
  for (const size of sizes) {
    yield Uint8Array.from({ length: size }, () => next++);
  }
}

test.each([
  { sizes: [], parts: [0] },
  { sizes: [0], parts: [0] },
  { sizes: [4], parts: [4] },
  { sizes: [2, 2, 1], parts: [4, 1] },
  { sizes: [9], parts: [4, 4, 1] },
  { sizes: [3, 6, 3], parts: [4, 4, 4] },
])("chunks of $sizes bytes come in parts of $parts", async ({ sizes, parts }) => {
  const seen = [];
  for await (const part of inParts(chunksOf(sizes), 4)) {
    seen.push(part);
  }
  expect(seen.map(({ bytes }) => bytes.length)).toEqual(parts);
  expect(seen.map(({ isLast }) => isLast)).toEqual(parts.map((_, at) => at === parts.length - 1));
  const all = seen.flatMap(({ bytes }) => [...bytes]);
  expect(all).toEqual(Array.from({ length: all.length }, (_, at) => at));
});
