import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRepository, openFileSystemStore } from "@varve/core";
import { afterAll, beforeAll, expect, test } from "vitest";

/** `kill -9` of the process that copies a volume of a few hundred MB; what the bucket has in the end is counted. */

const folder = mkdtempSync(join(tmpdir(), "varve-killed-copy-"));
const [store, volume] = [join(folder, "store"), join(folder, "volume")];
const FILES = 100;
const FILE_BYTES = 2 * 2 ** 20;
const password = "a password";

beforeAll(async () => {
  mkdirSync(store);
  mkdirSync(volume);
  for (let file = 0; file < FILES; file++) {
    writeFileSync(join(volume, `file-${file}`), randomBytes(FILE_BYTES));
  }
  await using blobs = await openFileSystemStore(store);
  await createRepository(blobs, { password, splitter: "DYNAMIC-4M-BUZHASH", formatCopy: false });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function copy({ resumes }: { readonly resumes: boolean }): ChildProcess {
  const program = fileURLToPath(new URL("copy-process.mjs", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "ignore", "inherit"] });
  const source = { requester: "snapshot-pod-volume", namespace: "app", pod: "p", volume: "data" };
  const copied = { source, path: volume, uid: "uid", parallel: 2, snapshotFolders: false, resumes };
  child.stdin.end(JSON.stringify({ store, password, ...copied }));
  return child;
}

/** Blobs by their names, which are cut into folders; what is half written has another ending. */
function stored(name: RegExp): { readonly count: number; readonly bytes: number } {
  const found = readdirSync(store, { recursive: true, encoding: "utf8" }).filter((path) =>
    name.test(path.replaceAll("/", "")),
  );
  const bytes = found.reduce((sum, path) => sum + statSync(join(store, path)).size, 0);
  return { count: found.length, bytes };
}
const PACKS = /^[pq][0-9a-f]{32}-s[0-9a-f]+\.f$/;

test("what a copy that was killed had stored is not stored again: the bucket has the data once, within 2 %", async () => {
  for (const packs of [3, 6]) {
    const child = copy({ resumes: packs > 3 });
    const ended = once(child, "exit");
    while (stored(PACKS).count < packs && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill("SIGKILL");
    const [, signal] = await ended;
    expect(signal).toBe("SIGKILL"); // it was in the middle
  }
  const [code] = await once(copy({ resumes: true }), "exit");
  expect(code).toBe(0);
  const bytes = FILES * FILE_BYTES;
  expect(stored(PACKS).bytes).toBeGreaterThan(bytes);
  expect(stored(PACKS).bytes).toBeLessThan(bytes * 1.02);
});
