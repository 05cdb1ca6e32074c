import { describe, expect, test } from "vitest";
import { READ_WINDOW_BYTES, SEALED_BATCH_BYTES } from "../base/budget.ts";
import { assert, VarveError } from "../base/errors.ts";
import type { SealedContent } from "../content/content-store.ts";
import { contentsOf, type SealedBatch } from "../content/sealed-batch.ts";
import { ivOfHash } from "../format/sealer.ts";
import { type ContentId, contentHash } from "../index/content-id.ts";
import type { FileToRead } from "./executor.ts";
import { type ExecutorParameters, openJobTools } from "./executor-parameters.ts";
import { createWindow, type JobTools, type OpenFile, processJob } from "./process-job.ts";

const PARAMETERS: ExecutorParameters = {
  hash: "BLAKE2B-256-128",
  encryption: "AES256-GCM-HMAC-SHA256",
  secret: new Uint8Array(32).fill(1),
  masterKey: new Uint8Array(32).fill(2),
  ecc: undefined,
  indexVersion: 2,
};
const WHOLE: Omit<FileToRead, "path"> = { offset: 0, splitter: "FIXED-128K", compressor: "none" };
const KIB = 1024;

/** Remembers what it was asked; the first claim of an id is new. */
class MemorySink {
  readonly claims: ContentId[][] = [];
  readonly appends: SealedContent[][] = [];
  readonly #seen = new Set<ContentId>();

  async claim(ids: readonly ContentId[]): Promise<boolean[]> {
    this.claims.push([...ids]);
    return ids.map((id) => !this.#seen.has(id) && this.#seen.add(id) !== undefined);
  }

  async append(batch: SealedBatch): Promise<void> {
    this.appends.push(contentsOf(batch));
  }
}

type Files = Readonly<Record<string, Uint8Array | OpenFile>>;

async function openTools(
  files: Files,
  parameters: Partial<ExecutorParameters> = {},
): Promise<JobTools> {
  return openJobTools(
    { ...PARAMETERS, ...parameters },
    {
      randomBytes: (size) => new Uint8Array(size).fill(7),
      openFile: (path) => {
        const file = files[String(path)];
        if (file === undefined) {
          throw new VarveError("source-failed", `open ${String(path)}: gone`);
        }
        return file instanceof Uint8Array ? fileOf(file) : file;
      },
    },
  );
}

function fileOf(data: Uint8Array): OpenFile {
  return {
    read: (target, position) => {
      const part = data.subarray(position, position + target.length);
      target.set(part);
      return part.length;
    },
    close: () => {},
  };
}

async function run(
  files: Files,
  jobFiles: readonly FileToRead[],
  options: {
    parameters?: Partial<ExecutorParameters>;
    stop?: AbortSignal;
    signal?: AbortSignal;
  } = {},
) {
  const sink = new MemorySink();
  const tools = await openTools(files, options.parameters);
  let bytes = 0;
  const { outcomes } = await processJob({ files: jobFiles }, tools, sink, {
    signal: options.signal,
    stop: options.stop,
    window: createWindow(),
    onBytes: (count) => {
      bytes += count;
    },
  });
  return { outcomes, sink, tools, bytes };
}

/** Noise that differs from `seed` to `seed`. */
function noise(length: number, seed: number): Uint8Array {
  const data = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    data[index] = state >>> 24;
  }
  return data;
}

describe("processJob", () => {
  test("small files of a job share one claim and one append", async () => {
    const files = { a: noise(10, 1), b: noise(20, 2), c: new Uint8Array(0) };
    const { outcomes, sink, bytes } = await run(
      files,
      ["a", "b", "c"].map((path) => ({ ...WHOLE, path })),
    );
    expect(sink.claims).toHaveLength(1);
    expect(sink.appends.map((batch) => batch.length)).toEqual([3]);
    expect(outcomes).toEqual([
      { sizeBytes: 10, pieces: [{ length: 10, object: sink.claims[0]?.[0] }] },
      { sizeBytes: 20, pieces: [{ length: 20, object: sink.claims[0]?.[1] }] },
      { sizeBytes: 0, pieces: [{ length: 0, object: sink.claims[0]?.[2] }] },
    ]);
    expect(bytes).toBe(30);
  });

  test("what is appended opens to what was read", async () => {
    const data = noise(300 * KIB, 3);
    const { sink, tools } = await run({ a: data }, [{ ...WHOLE, path: "a" }]);
    const plain = sink.appends
      .flat()
      .map(({ id, sealed }) => tools.sealer.open(sealed, ivOfHash(contentHash(id))));
    expect(plain.map((part) => part.length)).toEqual([128 * KIB, 128 * KIB, 44 * KIB]);
    expect(Buffer.concat(plain).equals(data)).toBe(true);
  });

  test("cuts do not depend on how much a read gives nor on where in the window a file starts", async () => {
    const data = noise(READ_WINDOW_BYTES + 5 * 1024 * KIB, 4);
    const dribbling: OpenFile = {
      read: (target, position) => fileOf(data).read(target.subarray(0, 1_000_003), position),
      close: () => {},
    };
    const file = { ...WHOLE, splitter: "DYNAMIC-1M-BUZHASH" };
    const alone = await run({ a: data }, [{ ...file, path: "a" }]);
    const behind = await run({ small: noise(12_345_678, 5), a: dribbling }, [
      { ...WHOLE, path: "small" },
      { ...file, path: "a" },
    ]);
    expect(behind.outcomes[1]).toEqual(alone.outcomes[0]);
  });

  test("a section ends at its length, and the last one where the file ends", async () => {
    const data = noise(256 * KIB, 6);
    const { outcomes } = await run({ a: data }, [
      { ...WHOLE, path: "a", offset: 0, length: 100 * KIB },
      { ...WHOLE, path: "a", offset: 100 * KIB, length: 100 * KIB },
      { ...WHOLE, path: "a", offset: 200 * KIB },
      { ...WHOLE, path: "a", offset: 256 * KIB },
    ]);
    expect(outcomes.map((outcome) => "pieces" in outcome && outcome.sizeBytes)).toEqual([
      100 * KIB,
      100 * KIB,
      56 * KIB,
      0,
    ]);
  });

  test("a file that cannot be opened or read is a failed outcome; the others are stored", async () => {
    let reads = 0;
    let closed = false;
    const breaking: OpenFile = {
      read: (target) => {
        if (reads++ > 0) {
          throw new VarveError("source-failed", "read b: I/O error");
        }
        return target.fill(9, 0, 200 * KIB) && 200 * KIB;
      },
      close: () => {
        closed = true;
      },
    };
    const { outcomes, sink } = await run({ b: breaking, c: noise(5, 7) }, [
      { ...WHOLE, path: "a" },
      { ...WHOLE, path: "b" },
      { ...WHOLE, path: "c" },
    ]);
    expect(outcomes[0]).toEqual({ failed: { code: "source-failed", message: "open a: gone" } });
    expect(outcomes[1]).toEqual({
      failed: { code: "source-failed", message: "read b: I/O error" },
    });
    expect(outcomes[2]).toMatchObject({ sizeBytes: 5 });
    expect(closed).toBe(true);
    expect(sink.appends.flat().map(({ id }) => id)).toEqual(sink.claims.flat());
  });

  test("everything claimed is appended when a long file breaks off", async () => {
    const breaking: OpenFile = {
      read: (target, position) => {
        if (position >= 2 * READ_WINDOW_BYTES) {
          throw new Error("gone");
        }
        target.set(noise(target.length, position + 1));
        return target.length;
      },
      close: () => {},
    };
    const { outcomes, sink } = await run({ a: breaking }, [{ ...WHOLE, path: "a" }]);
    expect(outcomes[0]).toEqual({ failed: { code: "source-failed", message: "gone" } });
    expect(sink.claims.flat().length).toBeGreaterThan(0);
    expect(new Set(sink.appends.flat().map(({ id }) => id))).toEqual(new Set(sink.claims.flat()));
  });

  test("an append holds no more than the budget, and only what the claim said is new", async () => {
    const half = noise(READ_WINDOW_BYTES / 2, 8);
    const file = { ...WHOLE, splitter: "FIXED-1M" };
    const { sink } = await run({ a: half, b: half, c: noise(READ_WINDOW_BYTES / 2, 9) }, [
      { ...file, path: "a" },
      { ...file, path: "b" },
      { ...file, path: "c" },
    ]);
    const sizes = sink.appends.map((batch) =>
      batch.reduce((sum, { sealed }) => sum + sealed.length, 0),
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(SEALED_BATCH_BYTES);
    expect(sink.appends.flat()).toHaveLength(16);
    expect(sink.claims.flat()).toHaveLength(24);
  });

  test("compression is kept only where it is shorter", async () => {
    const files = { text: new Uint8Array(50 * KIB).fill(65), noise: noise(50 * KIB, 10) };
    const { sink } = await run(
      files,
      ["text", "noise"].map((path) => ({ ...WHOLE, compressor: "zstd-fastest", path })),
    );
    const [text, random] = sink.appends.flat();
    expect(text).toMatchObject({ compressionHeaderId: 0x1101, originalLength: 50 * KIB });
    expect(text?.sealed.length).toBeLessThan(KIB);
    expect(random).toMatchObject({ compressionHeaderId: 0, originalLength: 50 * KIB });
  });

  test("with index version 1 the compressed stream is the content, and the piece says so (spec §5.1)", async () => {
    const files = { text: new Uint8Array(50 * KIB).fill(65), noise: noise(50 * KIB, 10) };
    const { outcomes, sink, tools } = await run(
      files,
      ["text", "noise"].map((path) => ({ ...WHOLE, compressor: "zstd-fastest", path })),
      { parameters: { indexVersion: 1 } },
    );
    const [text, random] = sink.appends.flat();
    expect(outcomes[0]).toEqual({
      sizeBytes: 50 * KIB,
      pieces: [{ length: 50 * KIB, object: `Z${text?.id}` }],
    });
    expect(outcomes[1]).toMatchObject({ pieces: [{ object: random?.id }] });
    expect(text?.compressionHeaderId).toBe(0);
    assert(text !== undefined, "two contents were appended");
    const hash = contentHash(text.id);
    const stream = tools.sealer.open(text.sealed, ivOfHash(hash));
    expect(tools.sealer.hash(stream)).toEqual(hash);
    expect([...stream.subarray(0, 4)]).toEqual([0, 0, 0x11, 0x01]);
    expect(text.originalLength).toBe(stream.length);
  });

  test("after stop, files that are not begun are stopped and what was claimed is appended", async () => {
    const stop = new AbortController();
    const last: OpenFile = {
      read: (target, position) => {
        stop.abort();
        return fileOf(noise(100, 11)).read(target, position);
      },
      close: () => {},
    };
    const { outcomes, sink } = await run(
      { a: noise(5, 12), b: last, c: noise(5, 13) },
      ["a", "b", "c"].map((path) => ({ ...WHOLE, path })),
      { stop: stop.signal },
    );
    expect(outcomes[1]).toMatchObject({ sizeBytes: 100 });
    expect(outcomes[2]).toEqual({ stopped: true });
    expect(sink.appends.flat()).toHaveLength(2);
  });

  test("stop ends a long file at its next batch", async () => {
    const stop = new AbortController();
    const endless: OpenFile = {
      read: (target) => {
        stop.abort();
        return target.length;
      },
      close: () => {},
    };
    const { outcomes } = await run({ a: endless }, [{ ...WHOLE, path: "a" }], {
      stop: stop.signal,
    });
    expect(outcomes).toEqual([{ stopped: true }]);
  });

  test("an abort rejects with its reason and nothing more is claimed", async () => {
    const abort = new AbortController();
    const sink = new MemorySink();
    const reading: OpenFile = {
      read: (target, position) => {
        abort.abort(new Error("enough"));
        return fileOf(noise(100, 14)).read(target, position);
      },
      close: () => {},
    };
    const tools = await openTools({ a: reading });
    const job = { files: [{ ...WHOLE, path: "a" }] };
    const done = processJob(job, tools, sink, {
      signal: abort.signal,
      window: createWindow(),
      onBytes: () => {},
    });
    await expect(done).rejects.toThrow("enough");
    expect(sink.claims).toEqual([]);
  });
});
