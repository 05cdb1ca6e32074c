import { describe, expect, test } from "vitest";
import {
  createTestRepository,
  directoryOf,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import { VarveError } from "../base/errors.ts";
import { memorySource } from "../source/memory-source.ts";
import { estimateSnapshot, SIZE_CLASSES } from "./estimate.ts";
import { upload } from "./upload.ts";

const TREE = {
  a: { data: "12345" },
  link: { target: "a" },
  "x.log": { data: "123" },
  fifo: { special: true },
  skipped: { children: { deep: { data: "1" } } },
  sub: { children: { b: { data: "x".repeat(1000) }, "y.log": { data: "" } } },
  cache: {
    children: {
      "CACHEDIR.TAG": { data: "Signature: 8a477f597d28d172789f06886806bc55\n" },
      junk: { data: "1" },
    },
  },
} as const;
const policy = testPolicy({ files: { ignore: ["*.log", "/skipped/"] } });

describe("an estimate", () => {
  test("counts what an upload under the same policy stores and leaves out", async () => {
    const { repository } = await createTestRepository();
    const root = tree(TREE);
    const estimate = await estimateSnapshot({ root, policy });
    const { snapshot, stats, skipped } = await upload(repository, { source: SOURCE, root, policy });
    const { summary } = snapshot.root;
    expect(estimate.included.files).toBe((summary?.files ?? 0) + (summary?.symlinks ?? 0));
    // Kopia's sizes are without links.
    expect(estimate.included.bytes).toBe((summary?.sizeBytes ?? 0) + 1);
    expect(estimate.directories).toBe(summary?.directories);
    expect(estimate.excluded.files).toBe(stats.excludedFileCount + skipped.special);
    expect(estimate.excludedDirectories).toBe(stats.excludedDirCount);
    expect(estimate.errorCount).toBe(0);
  });

  test("sorts by size, with examples as asked", async () => {
    const { included, excluded, excludedDirectoryExamples } = await estimateSnapshot({
      root: tree(TREE),
      policy,
      maxExamples: 1,
    });
    expect(included.classes.length).toBe(SIZE_CLASSES.length);
    expect(included.classes[0]).toEqual({ files: 2, bytes: 6, examples: ["a"] });
    expect(included.classes[1]).toEqual({ files: 1, bytes: 1000, examples: ["sub/b"] });
    expect(excluded.classes[0]?.files).toBe(3);
    expect(excludedDirectoryExamples).toEqual(["skipped"]);
  });

  test("goes on where something cannot be looked at, and says so", async () => {
    const locked = { ...memorySource("locked", { children: {} }), children: unlistable };
    const root = directoryOf("data", [
      { name: "odd", error: new Error("EACCES") },
      locked,
      memorySource("z", { data: "1" }),
    ]);
    const estimate = await estimateSnapshot({ root, policy });
    expect(estimate.errors).toEqual([
      { path: "odd", message: "EACCES" },
      { path: "locked", message: "no" },
    ]);
    expect(estimate.errorCount).toBe(2);
    expect(estimate.included.files).toBe(1);
  });

  test("fails when the root cannot be listed, and on abort", async () => {
    const root = { ...memorySource("data", { children: {} }), children: unlistable };
    await expect(estimateSnapshot({ root, policy })).rejects.toMatchObject({
      code: "source-failed",
    });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(estimateSnapshot({ root: tree({}), policy, signal })).rejects.toThrow("enough");
  });

  test("a single file is all there is", async () => {
    const { included, directories } = await estimateSnapshot({
      root: memorySource("f", { data: "123" }),
      policy,
    });
    expect([included.files, included.bytes, directories]).toEqual([1, 3, 0]);
  });
});

// oxlint-disable-next-line require-yield -- a listing that fails at its first step
async function* unlistable(): AsyncGenerator<never, void, undefined> {
  throw new VarveError("source-failed", "no");
}
