import {
  closeSync,
  linkSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { LocalWriters, type WholeFile } from "./local-writers.ts";

// Threads cannot load TypeScript: they run what the build made.
const ENTRY_URL = new URL("../../dist/restore/local-writer-entry.js", import.meta.url);
const root = mkdtempSync(join(tmpdir(), "varve-writers-"));
afterAll(() => rmSync(root, { recursive: true }));

const { uid, gid } = statSync(root);
const OPTIONS = {
  overwriteFiles: true,
  overwriteSymlinks: true,
  skipOwners: false,
  skipPermissions: false,
  skipTimes: false,
  ignorePermissionErrors: true,
};
const MTIME_NS = 1_700_000_000_123_456_789n;

async function write(
  name: string,
  files: readonly { name: string; text: string; mode?: number }[],
  options = OPTIONS,
): Promise<(string | undefined)[]> {
  const path = join(root, name);
  mkdirSync(path, { recursive: true });
  const directory = openSync(path, "r");
  const writers = new LocalWriters(2, options, ENTRY_URL);
  const added: Promise<void>[] = [];
  for (const { name: file, text, mode = 0o640 } of files) {
    const meta = { mode, uid, gid, mtimeNs: MTIME_NS };
    const whole: WholeFile = { at: join(path, file), directory, meta, bytes: utf8(text) };
    added.push((await writers.add(whole)).done);
  }
  const results = await Promise.allSettled(added);
  await writers.close();
  closeSync(directory);
  return results.map((result) =>
    result.status === "rejected" ? String(result.reason.code) : undefined,
  );
}

test("many files are made whole, with mode, owner and time", async () => {
  const files = Array.from({ length: 500 }, (_, index) => ({
    name: `f${index}`,
    text: `text of ${index} `.repeat(8000).slice(0, (index % 9) * 8192),
    mode: index % 2 === 0 ? 0o600 : 0o4755,
  }));
  expect(new Set(await write("many", files))).toEqual(new Set([undefined]));
  for (const { name, text, mode } of files) {
    const path = join(root, "many", name);
    const stat = statSync(path, { bigint: true });
    expect(readFileSync(path, "utf8")).toBe(text);
    expect([stat.mode & 0o7777n, stat.uid, stat.gid]).toEqual([mode, uid, gid].map(BigInt));
    expect(stat.mtimeNs / 1000n).toBe(MTIME_NS / 1000n);
  }
});

test("a file that is there is unlinked, not written over", async () => {
  mkdirSync(join(root, "old"));
  writeFileSync(join(root, "old", "a"), "before");
  linkSync(join(root, "old", "a"), join(root, "old", "b"));
  expect(await write("old", [{ name: "a", text: "after" }])).toEqual([undefined]);
  expect(readFileSync(join(root, "old", "a"), "utf8")).toBe("after");
  expect(readFileSync(join(root, "old", "b"), "utf8")).toBe("before");
});

test("what may not be replaced fails alone and stays", async () => {
  mkdirSync(join(root, "kept", "directory"), { recursive: true });
  writeFileSync(join(root, "kept", "file"), "before");
  symlinkSync("elsewhere", join(root, "kept", "link"));
  const names = ["file", "link", "directory", "fresh"];
  const results = await write(
    "kept",
    names.map((name) => ({ name, text: "after" })),
    { ...OPTIONS, overwriteFiles: false, overwriteSymlinks: false },
  );
  expect(results).toEqual(["target-failed", "target-failed", "target-failed", undefined]);
  expect(readFileSync(join(root, "kept", "file"), "utf8")).toBe("before");
  expect(readFileSync(join(root, "kept", "fresh"), "utf8")).toBe("after");
  expect(readdirSync(join(root, "kept")).toSorted()).toEqual(names.toSorted());
});
