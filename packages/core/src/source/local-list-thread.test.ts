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

/** As a walk does that has seen enough to want a thread. */
function ask(thread: ListThread, paths: readonly string[]): number[] {
  thread.saw(100_000);
  const ids = paths.map((path) => thread.ask(path, 4096) ?? 0);
  thread.send({ now: true });
  return ids;
}

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
  const asked = ask(thread, paths);
  const found = await Promise.all(asked.map((id) => thread.take(id, { wait: true })));
  expect(found).toEqual(paths.map((path) => listPacked(path)));
  expect(found[1]?.names).toBe("\uffee0/\u{1f600}0");
  expect(found[0]?.facts).toHaveLength(0);
});

test("what the thread has not begun is the caller's", async () => {
  using thread = new ListThread(WORKER_URL);
  thread.saw(100_000);
  const id = thread.ask(folder, 4096) ?? 0;
  expect(await thread.take(id)).toBeUndefined();
  thread.send();
  expect(await thread.take(id, { wait: true })).toBeUndefined(); // it was given away
});

test("so much is asked for and no more", async () => {
  using thread = new ListThread(WORKER_URL);
  expect(thread.ask(folder, 4096)).toBeUndefined(); // not worth a thread yet
  thread.saw(100_000);
  const ids = Array.from({ length: 300 }, () => thread.ask(folder, 0)).filter(Boolean);
  expect(ids).toHaveLength(256);
  expect(await thread.take(ids[0] ?? 0)).toBeUndefined();
  expect(thread.ask(folder, 2 ** 22)).toBeUndefined();
  expect(thread.ask(folder, 4096)).toBeDefined();
});

test("what it cannot list is left to the caller", async () => {
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Uint8Array.of(0xff)]), "");
  using thread = new ListThread(WORKER_URL);
  const asked = ask(thread, [folder, join(folder, "missing")]);
  for (const id of asked) {
    expect(await thread.take(id, { wait: true })).toBeUndefined();
  }
});

test("a thread that does not start, or has ended, leaves all to the caller", async () => {
  using broken = new ListThread(new URL("missing.js", WORKER_URL));
  const [id = 0] = ask(broken, [folder]);
  expect(await broken.take(id, { wait: true })).toBeUndefined();
  using ended = new ListThread(WORKER_URL);
  const [before = 0] = ask(ended, [folder]);
  const pending = ended.take(before, { wait: true });
  ended[Symbol.dispose]();
  expect(await pending).toBeUndefined();
  expect(ended.ask(folder, 4096)).toBeUndefined();
});

test("a walk that lists ahead gives what one without gives", async () => {
  const directories = Array.from({ length: 20 }, (_, index) => `d${index}`);
  for (const directory of directories) {
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
  expect(ahead).toHaveLength(directories.length * 121);
});
