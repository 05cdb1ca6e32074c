import { describe, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { createMemoryStore } from "../blob/memory-store.ts";
import { type BlobId, type BlobStore, parseBlobId } from "../blob/store.ts";
import { FORMAT_BLOB } from "../format/format.ts";
import { FORMAT_COPY } from "../format/format-copy.ts";
import { changePassword } from "../repository/change-format.ts";
import { createRepository } from "../repository/create-repository.ts";
import { openRepository } from "../repository/open-repository.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { recoverFormat } from "./recover-format.ts";

const environment = seededEnvironment({ seed: 1 });
const password = "pw";

/** Made once: deriving a key takes a quarter of a second. */
const [template, stranger] = await Promise.all(
  [1, 2].map(async () => {
    const store = createMemoryStore({ environment });
    await createRepository(store, { password, environment });
    return store;
  }),
);

async function created(): Promise<BlobStore> {
  return await copyOf(template ?? expect.fail());
}

async function copyOf(original: BlobStore): Promise<BlobStore> {
  const store = createMemoryStore({ environment });
  for await (const { id } of original.list("")) {
    await store.put(id, [await original.get(id)]);
  }
  return store;
}

async function strangersBlob(): Promise<Uint8Array> {
  return await (stranger ?? expect.fail()).get(FORMAT_BLOB);
}

const flip = (bytes: Uint8Array): Uint8Array =>
  bytes.map((byte, at) => (at === Math.floor(bytes.length / 2) ? byte ^ 1 : byte));

describe("a format blob", () => {
  test.each([
    ["missing", undefined],
    ["damaged", flip],
  ])("that is %s comes back from the copy, and what lay there is kept", async (_, damage) => {
    const store = await created();
    const whole = await store.get(FORMAT_BLOB);
    await (damage === undefined
      ? store.delete(FORMAT_BLOB)
      : store.put(FORMAT_BLOB, [damage(whole)]));
    await expect(openRepository(store, { password, environment })).rejects.toThrow(/repaired/);
    const { from, replaced } = await recoverFormat(store, { password, commit: true, environment });
    expect(from).toBe(FORMAT_COPY);
    expect(await store.get(FORMAT_BLOB)).toEqual(whole);
    if (damage === undefined) {
      expect(replaced).toBeUndefined();
    } else {
      expect(await store.get(replaced ?? expect.fail())).toEqual(damage(whole));
    }
    expect(await recoverFormat(store, { password, commit: true, environment })).toEqual({});
  });

  test("comes back from bytes that were kept elsewhere, and the copy with it", async () => {
    const store = await created();
    const whole = await store.get(FORMAT_BLOB);
    await store.delete(FORMAT_BLOB);
    await store.delete(FORMAT_COPY);
    const options = { password, commit: true, environment };
    await expect(recoverFormat(store, options)).rejects.toMatchObject({ code: "not-a-repository" });
    const report = await recoverFormat(store, { ...options, copies: [utf8("{}"), whole] });
    expect(report).toMatchObject({ from: "given", problem: "it is missing" });
    expect(await store.get(FORMAT_COPY)).toEqual(whole);
  });

  test("of another repository is not taken, nor one under another password", async () => {
    const store = await created();
    const copies = [await strangersBlob()];
    await store.delete(FORMAT_BLOB);
    await store.delete(FORMAT_COPY);
    const options = { password, commit: true, environment, copies };
    await expect(recoverFormat(store, options)).rejects.toMatchObject({ code: "wrong-password" });
    const other = recoverFormat(store, { ...options, password: "other" });
    await expect(other).rejects.toMatchObject({ code: "wrong-password" });
  });

  test("of version 1 comes back from a pack", async () => {
    const path = new URL("../../test/golden/fixtures/v1-hmac-pgzip", import.meta.url).pathname;
    const golden = await openFileSystemStore(path, { readOnly: true });
    const store = await copyOf(golden);
    await store.delete(FORMAT_BLOB);
    const report = await recoverFormat(store, { password: "small 3", commit: true, environment });
    expect(report.from).toMatch(/^[pq]/);
    expect(await store.get(FORMAT_BLOB)).toEqual(await golden.get(FORMAT_BLOB));
  });
});

test("a format blob of another repository, whole and under the same password, is not worked with", async () => {
  const store = await created();
  const whole = await store.get(FORMAT_BLOB);
  await store.put(FORMAT_BLOB, [await strangersBlob()]);
  await expect(openRepository(store, { password, environment })).rejects.toMatchObject({
    code: "corrupt",
  });
  const report = await recoverFormat(store, { password, commit: true, environment });
  expect(report.problem).toMatch(/keys open nothing/);
  expect(await store.get(FORMAT_BLOB)).toEqual(whole);
});

test("the copy follows a change of the password", async () => {
  const store = await created();
  await changePassword(store, { password, newPassword: "new", environment });
  expect(await store.get(FORMAT_COPY)).toEqual(await store.get(FORMAT_BLOB));
});

test("a copy left by an upgrade is one", async () => {
  const store = await created();
  const copy: BlobId = parseBlobId("kopia.repository.backup.somebody");
  await store.put(copy, [await store.get(FORMAT_BLOB)]);
  await store.delete(FORMAT_COPY);
  await store.put(FORMAT_BLOB, []);
  const report = await recoverFormat(store, { password, commit: false, environment });
  expect(report.from).toBe(copy);
});
