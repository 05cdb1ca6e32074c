import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ListThread } from "./local-list-thread.ts";
import { listPacked } from "./local-listing.ts";
import { localSource } from "./local-source.ts";
import type { SourceEntry } from "./source-entry.ts";

const WORKER_URL = new URL("../../dist/source/local-list-worker.js", import.meta.url);
let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-list-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the thread finds what the caller would find, in any number of directories at once", async () => {
  const paths = ["a", "b", "c"].map((name) => join(folder, name));
  for (const [index, path] of paths.entries()) {
    mkdirSync(path);
    for (let file = 0; file < index; file++) {
      writeFileSync(join(path, `\u{1f600}${file}`), "x".repeat(file));
      writeFileSync(join(path, `\uffee${file}`), "");
    }
  }
  using thread = new ListThread(WORKER_URL);
  const found = await Promise.all(paths.map((path) => thread.list(path)));
  expect(found).toEqual(paths.map((path) => listPacked(path)));
  expect(found[1]?.names).toBe("\uffee0/\u{1f600}0");
  expect(found[0]?.mtimesNs).toHaveLength(0);
});

test("what it cannot list is left to the caller", async () => {
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Uint8Array.of(0xff)]), "");
  using thread = new ListThread(WORKER_URL);
  expect(await thread.list(folder)).toBeUndefined();
  expect(await thread.list(join(folder, "missing"))).toBeUndefined();
});

test("a thread that does not start, or has ended, leaves all to the caller", async () => {
  using broken = new ListThread(new URL("missing.js", WORKER_URL));
  expect(await broken.list(folder)).toBeUndefined();
  using ended = new ListThread(WORKER_URL);
  const pending = ended.list(folder);
  ended[Symbol.dispose]();
  expect(await pending).toBeUndefined();
  expect(await ended.list(folder)).toBeUndefined();
});

test("a walk that lists ahead gives what one without gives", async () => {
  for (const directory of ["a", "b", "c", "d"]) {
    mkdirSync(join(folder, directory));
    for (let file = 0; file < 120; file++) {
      writeFileSync(join(folder, directory, `${"n".repeat(60)}${file}`), directory);
    }
  }
  const walk = async (entry: SourceEntry): Promise<string[]> => {
    const seen: string[] = [];
    for await (const child of entry.children()) {
      expect("error" in child).toBe(false);
      const { path, meta } = child as SourceEntry; // it has no error
      seen.push(`${String(path)} ${meta.mode} ${meta.mtimeNs} ${meta.sizeBytes}`);
      seen.push(...(meta.type === "directory" ? await walk(child as SourceEntry) : []));
    }
    return seen;
  };
  const ahead = await walk(await localSource(folder, { ahead: true }));
  expect(ahead).toEqual(await walk(await localSource(folder)));
  expect(ahead).toHaveLength(4 * 121);
});
