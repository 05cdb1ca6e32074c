import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { createShortHmac, MAX_SHORT_MESSAGE } from "./short-hmac.ts";

test("agrees with OpenSSL for every key and message that it takes", () => {
  const run = fc.property(
    fc.uint8Array({ maxLength: 64 }),
    fc.array(fc.uint8Array({ maxLength: MAX_SHORT_MESSAGE }), { minLength: 1, maxLength: 3 }),
    (key, messages) => {
      const hmac = createShortHmac(key);
      for (const message of messages) {
        const expected = createHmac("sha256", key).update(message).digest("hex");
        expect(toHex(hmac(message))).toBe(expected);
      }
    },
  );
  fc.assert(run, { seed: 1, numRuns: 500 });
});

test.each([0, 3, 4, 31, 32, 54, MAX_SHORT_MESSAGE])("a message of %d bytes", (length) => {
  const key = new Uint8Array(32).fill(5);
  const message = new Uint8Array(length).fill(255);
  const expected = createHmac("sha256", key).update(message).digest("hex");
  expect(toHex(createShortHmac(key)(message))).toBe(expected);
});
