import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, fromBase64, fromHex, toBase64, toHex } from "./bytes.ts";
import { forEachLimit, Semaphore } from "./concurrency.ts";
import { ByteReader, ByteWriter } from "./cursor.ts";
import { systemEnvironment } from "./environment.ts";
import { isVarveError, VarveError } from "./errors.ts";
import { goJsonText, JsonRecord } from "./json.ts";
import { formatTimeNs, nsToMs, parseTimeNs } from "./time.ts";

const code = (run: () => unknown): string | undefined => {
  try {
    run();
  } catch (error) {
    return error instanceof VarveError ? error.code : String(error);
  }
  return undefined;
};

describe("bytes", () => {
  test("hex and base64 come back as they went", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes);
        expect(fromBase64(toBase64(bytes))).toEqual(bytes);
      }),
      { seed: 1 },
    );
  });

  test("hex of odd length or other letters is an invalid argument", () => {
    expect(code(() => fromHex("abc"))).toBe("invalid-argument");
    expect(code(() => fromHex("zz"))).toBe("invalid-argument");
  });

  test("bytes order is unsigned and a prefix comes first", () => {
    expect(compareBytes(Uint8Array.of(0x7f), Uint8Array.of(0x80))).toBeLessThan(0);
    expect(compareBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBeLessThan(0);
  });
});

describe("cursor", () => {
  test("what the writer wrote the reader reads", () => {
    const writer = new ByteWriter({ capacity: 1 });
    writer
      .u8(1)
      .u16(0x0203)
      .u24(0x040506)
      .u32(0xfffffffe)
      .u48(2 ** 47 + 5)
      .uvarint(300)
      .uvarint(2 ** 52);
    const reader = new ByteReader(writer.view(), { what: "test" });
    expect([reader.u8(), reader.u16(), reader.u24(), reader.u32(), reader.u48()]).toEqual([
      1,
      0x0203,
      0x040506,
      0xfffffffe,
      2 ** 47 + 5,
    ]);
    expect([reader.uvarint(), reader.uvarint(), reader.remaining]).toEqual([300, 2 ** 52, 0]);
  });

  test("reading past the end is corrupt, also with absurd lengths", () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3), { what: "test" });
    expect(code(() => reader.u32())).toBe("corrupt");
    expect(code(() => reader.bytes(2 ** 50))).toBe("corrupt");
    expect(code(() => reader.bytes(-1))).toBe("corrupt");
    expect(code(() => new ByteReader(new Uint8Array(20).fill(255), { what: "x" }).uvarint())).toBe(
      "corrupt",
    );
  });
});

describe("time", () => {
  test("nanoseconds survive, trailing zeros do not", () => {
    expect(formatTimeNs(1700000000123456789n)).toBe("2023-11-14T22:13:20.123456789Z");
    expect(formatTimeNs(1700000000120000000n)).toBe("2023-11-14T22:13:20.12Z");
    expect(formatTimeNs(0n)).toBe("1970-01-01T00:00:00Z");
    expect(formatTimeNs(-1n)).toBe("1969-12-31T23:59:59.999999999Z");
    expect(parseTimeNs("1754-08-30T22:43:41.128654848Z")).toBe(-6795364578871345152n);
  });

  test("any offset is read", () => {
    expect(parseTimeNs("2024-01-01T01:30:00+01:30")).toBe(parseTimeNs("2024-01-01T00:00:00Z"));
    expect(parseTimeNs("2024-01-01T00:00:00.5-00:30")).toBe(parseTimeNs("2024-01-01T00:30:00.5Z"));
    expect(parseTimeNs("0001-01-01T00:00:00Z")).toBe(-62135596800000000000n);
    expect(parseTimeNs("2024-02-29T23:59:59.1234567899Z") % 1_000_000_000n).toBe(123_456_789n);
    const broken = [
      "yesterday",
      "",
      "2024-01-01T00:00:00",
      "2024-01-01T00:00:00.Z",
      "2024-01-01T00:00:00Z ",
    ];
    for (const text of [...broken, "2024-01-0aT00:00:00Z", "2024-01-01T00:00:00.1x3Z"]) {
      expect(code(() => parseTimeNs(text))).toBe("corrupt");
    }
  });

  test("text and nanoseconds agree in both directions", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (ns) => {
        expect(parseTimeNs(formatTimeNs(ns))).toBe(ns);
        const second = (ns / 1_000_000_000n) * 1_000_000_000n;
        const iso = new Date(Number(second / 1_000_000n)).toISOString();
        expect(formatTimeNs(second)).toBe(iso.replace(".000Z", "Z"));
      }),
      { seed: 1 },
    );
  });

  test("milliseconds are rounded down, also before 1970", () => {
    expect(nsToMs(1_999_999n)).toBe(1);
    expect(nsToMs(-1n)).toBe(-1);
  });
});

describe("json", () => {
  test("strings are escaped as Go does", () => {
    expect(goJsonText({ a: "<&>\u2028", b: "\\ud800 é", c: "\ud800" })).toBe(
      '{"a":"\\u003c\\u0026\\u003e\\u2028","b":"\\\\ud800 é","c":"\ufffd"}',
    );
  });

  test("keys match in any case, null is absent, wrong types are corrupt", () => {
    const record = new JsonRecord({ Name: "x", size: null, n: 1.5, __proto__x: 1 }, "test");
    expect(record.string("name")).toBe("x");
    expect(record.integer("size")).toBeUndefined();
    expect(code(() => record.integer("n"))).toBe("corrupt");
    expect(code(() => record.string("n"))).toBe("corrupt");
    expect(code(() => record.requireString("absent"))).toBe("corrupt");
    expect(record.raw("toString")).toBeUndefined();
  });
});

describe("concurrency", () => {
  test("forEachLimit never runs more than its limit and stops at the first failure", async () => {
    let running = 0;
    let most = 0;
    const started: number[] = [];
    const work = async (item: number): Promise<void> => {
      started.push(item);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (item === 5) {
        throw new Error("five");
      }
    };
    await expect(forEachLimit(Array(100).keys(), { limit: 3 }, work)).rejects.toThrow("five");
    expect(most).toBe(3);
    expect(started.length).toBeLessThan(12);
    expect(running).toBe(0);
  });

  test("a semaphore serves in order and lets an oversized amount through alone", async () => {
    const semaphore = new Semaphore(10);
    const order: string[] = [];
    await semaphore.acquire(6);
    const big = semaphore.acquire(50).then(() => order.push("big"));
    const small = semaphore.acquire(1).then(() => order.push("small"));
    await Promise.resolve();
    expect(order).toEqual([]);
    semaphore.release(6);
    await big;
    expect(order).toEqual(["big"]);
    semaphore.release(50);
    await small;
    expect(semaphore.used).toBe(1);
  });

  test("an aborted waiter leaves the queue with the signal's reason", async () => {
    const semaphore = new Semaphore(1);
    await semaphore.acquire(1);
    const abort = new AbortController();
    const waiting = semaphore.acquire(1, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    semaphore.release(1);
    await semaphore.acquire(1);
    expect(semaphore.used).toBe(1);
  });

  test("sleep ends early with the signal's reason", async () => {
    const abort = new AbortController();
    const sleeping = systemEnvironment().sleep(1_000_000, { signal: abort.signal });
    abort.abort(new Error("awake"));
    await expect(sleeping).rejects.toThrow("awake");
  });
});

describe("errors", () => {
  test("an error of another copy of the class is an instance of it, and no other error is", () => {
    const Other = (() =>
      class VarveError extends Error {
        override readonly name = "VarveError";
        readonly code = "corrupt";
      })();
    expect(new Other("damaged")).toBeInstanceOf(VarveError);
    expect(isVarveError(new Other("damaged"), "corrupt")).toBe(true);
    expect(new Error("damaged")).not.toBeInstanceOf(VarveError);
    expect({ name: "VarveError", code: "corrupt" }).not.toBeInstanceOf(VarveError);
  });
});
