import * as fc from "fast-check";
import { expect, test } from "vitest";
import vectors from "../../test/golden/vectors/format.json" with { type: "json" };
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { concatBytes, fromUtf8, toHex, utf8 } from "../base/bytes.ts";
import { openCrypto } from "../crypto/registry.ts";
import { FORMAT_BLOB } from "./format.ts";
import { findRecoveryCopy, RECOVERY_WINDOW_BYTES, recoveryCopyPrefix } from "./recovery-copy.ts";

const crypto = await openCrypto();
const none = new Uint8Array(0);
const raw = utf8(vectors.embeddedFormatCopy.rawUtf8);
const prefix = recoveryCopyPrefix(raw, crypto);

test("the copy is Kopia's, byte for byte", () => {
  expect(toHex(prefix)).toBe(vectors.embeddedFormatCopy.hex);
});

test("every pack of a version 1 repository of Kopia's has it", async () => {
  const path = new URL("../../test/golden/fixtures/v1-hmac-pgzip", import.meta.url).pathname;
  const store = await openFileSystemStore(path, { readOnly: true });
  const expected = toHex(await store.get(FORMAT_BLOB));
  const found: string[] = [];
  for (const prefix of ["p", "q"]) {
    for await (const { id } of store.list(prefix)) {
      const pack = await store.get(id);
      const head = pack.subarray(0, RECOVERY_WINDOW_BYTES);
      const tail = pack.subarray(-RECOVERY_WINDOW_BYTES);
      found.push(toHex(findRecoveryCopy({ head, tail }, crypto) ?? none));
    }
  }
  expect(found.length).toBeGreaterThan(3);
  expect(new Set(found)).toEqual(new Set([expected]));
});

test("it is found at the start or the end of a pack", () => {
  const other = new Uint8Array(300).fill(9);
  const starting = concatBytes([prefix, other]);
  const ending = concatBytes([other, prefix]);
  for (const pack of [
    { head: starting, tail: starting },
    { head: ending, tail: ending },
    { head: prefix, tail: none },
    { head: none, tail: prefix },
  ]) {
    expect(fromUtf8(findRecoveryCopy(pack, crypto) ?? none)).toBe('{"example":1}');
  }
});

test("one changed bit is no copy", () => {
  for (let at = 0; at < prefix.length - 2; at++) {
    const damaged = prefix.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    expect(findRecoveryCopy({ head: damaged, tail: none }, crypto)).toBeUndefined();
  }
});

test("a format blob that is too long is refused", () => {
  expect(recoveryCopyPrefix(new Uint8Array(64_968), crypto)).toHaveLength(65_004);
  expect(() => recoveryCopyPrefix(new Uint8Array(64_969), crypto)).toThrow(
    expect.objectContaining({ code: "format-unsupported" }),
  );
});

test("any bytes have a copy or none", () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(bytes, bytes, (head, tail) => {
      expect(findRecoveryCopy({ head, tail }, crypto)).toBeUndefined();
    }),
    { seed: 1, numRuns: 300 },
  );
});
