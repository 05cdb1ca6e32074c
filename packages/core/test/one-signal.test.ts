import { afterEach, beforeEach, expect, test } from "vitest";
import { utf8 } from "../src/base/bytes.ts";
import { systemEnvironment } from "../src/base/environment.ts";
import { adaptiveStore } from "../src/blob/adaptive-store.ts";
import { retryStore } from "../src/blob/retry-store.ts";
import type { ObjectId } from "../src/object/object-id.ts";
import { createTestRepository } from "./upload-fixture.ts";

/** What a program sees that makes many calls under one signal: no word of Node's about a leak. */

const environment = systemEnvironment();
const warnings: string[] = [];
const note = ({ message }: Error): unknown => warnings.push(message);

beforeEach(() => {
  warnings.length = 0;
  process.on("warning", note);
});
afterEach(() => process.off("warning", note));

async function* inOnePart(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

function forAll<T>(work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: 200 }, (_, index) => work(index)));
}

test("200 objects are written and read at once under one signal without a warning", async () => {
  const { repository } = await createTestRepository({
    wrap: (store) => retryStore(adaptiveStore(store, { environment }), { environment }),
  });
  const { signal } = new AbortController();
  const ids: ObjectId[] = await forAll(async (index) => {
    const { id } = await repository.objects.write(inOnePart(utf8(`object ${index}`)), { signal });
    await repository.flush({ signal });
    return id;
  });
  const texts = await forAll(async (index) => {
    const reader = await repository.objects.open(ids[index] ?? ("" as ObjectId), { signal });
    const bytes = await reader.read({ offset: 0, length: reader.size }, { signal });
    return new TextDecoder().decode(bytes);
  });
  await new Promise(setImmediate);
  expect(texts).toEqual(ids.map((_, index) => `object ${index}`));
  expect(warnings).toEqual([]);
});
