import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { gunzipSync, inflateRawSync } from "node:zlib";
import { extract } from "tar-stream";
import { afterAll, describe, expect, test } from "vitest";
import { openFileSystemStore } from "../../src/blob/filesystem-store.ts";
import { openRepository } from "../../src/repository/open-repository.ts";
import type { Repository } from "../../src/repository/repository.ts";
import { localTarget } from "../../src/restore/local-target.ts";
import { restore } from "../../src/restore/restore.ts";
import { tarTarget } from "../../src/restore/tar-target.ts";
import { zipTarget } from "../../src/restore/zip-target.ts";
import { type SavedSnapshot, listSnapshots } from "../../src/snapshot/snapshots.ts";
import { verify } from "../../src/verify/verify.ts";
import { verifyContents } from "../../src/verify/verify-contents.ts";

/** What stock Kopia backed up comes back as it was: contents, links, modes, owners and times to the nanosecond. */

interface Expected {
  readonly path: string;
  readonly type: "dir" | "file" | "symlink";
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: string;
  readonly size?: number;
  readonly sha256?: string;
  readonly target?: string;
}

const FIXTURES = fileURLToPath(new URL("fixtures/", import.meta.url));
const TREE = readExpected("tree.expect.json");
const HISTORY = readExpected("history-2.expect.json");
const REPOSITORIES: readonly { folder: string; password: string; trees: Expected[][] }[] = [
  { folder: "v3-default", password: "small 1", trees: [TREE] },
  { folder: "v3-blake3-chacha-zstd", password: "small 2", trees: [TREE] },
  { folder: "v1-hmac-pgzip", password: "small 3", trees: [TREE] },
  { folder: "v2-blake2b256-s2", password: "small 4", trees: [TREE] },
  { folder: "v3-ecc-deflate", password: "small 5", trees: [TREE] },
  { folder: "v3-pbkdf2-history", password: "small 6", trees: [TREE, HISTORY] },
];
// Only root may give files away.
const IS_ROOT = process.geteuid?.() === 0;

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) {
    rmSync(folder, { recursive: true, force: true });
  }
});

function readExpected(name: string): Expected[] {
  // Written by the script that made the fixtures; checked by every comparison below.
  return JSON.parse(readFileSync(join(FIXTURES, name), "utf8")) as Expected[];
}

async function openFixture(fixture: { folder: string; password: string }): Promise<Repository> {
  const store = await openFileSystemStore(join(FIXTURES, fixture.folder), { readOnly: true });
  return await openRepository(store, { password: fixture.password, readOnly: true });
}

async function dataSnapshots(repository: Repository): Promise<readonly SavedSnapshot[]> {
  const source = { host: "fixture-host", userName: "fixture", path: "/data" };
  return (await listSnapshots(repository, { source })).snapshots;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The tree in the form of the expectations. */
function listTree(root: string, below = ""): Expected[] {
  return readdirSync(join(root, below)).flatMap((name) => {
    const path = below === "" ? name : `${below}/${name}`;
    const stats = lstatSync(join(root, path), { bigint: true });
    const common = {
      path,
      mode: `0${(Number(stats.mode) & 0o7777).toString(8)}`,
      uid: IS_ROOT ? Number(stats.uid) : 0,
      gid: IS_ROOT ? Number(stats.gid) : 0,
      mtimeNs: String(stats.mtimeNs),
    };
    if (stats.isDirectory()) {
      return [{ ...common, type: "dir" as const }, ...listTree(root, path)];
    }
    if (stats.isSymbolicLink()) {
      return [{ ...common, type: "symlink" as const, target: readlinkSync(join(root, path)) }];
    }
    const bytes = readFileSync(join(root, path));
    return [{ ...common, type: "file" as const, size: bytes.length, sha256: sha256(bytes) }];
  });
}

function sorted(tree: readonly Expected[]): Expected[] {
  return tree
    .map((entry) => ({
      ...entry,
      mode: `0${Number.parseInt(entry.mode, 8).toString(8)}`,
      uid: IS_ROOT ? entry.uid : 0,
      gid: IS_ROOT ? entry.gid : 0,
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function outputOf(work: (output: PassThrough) => Promise<void>): Promise<Buffer> {
  const output = new PassThrough();
  const collected = (async () => Buffer.concat(await output.toArray()))();
  await work(output);
  return await collected;
}

describe.each(REPOSITORIES)("$folder", ({ folder, password, trees }) => {
  test("restores to exactly the tree that was backed up", async () => {
    await using repository = await openFixture({ folder, password });
    const snapshots = await dataSnapshots(repository);
    expect(snapshots).toHaveLength(trees.length);
    for (const [index, { root }] of snapshots.entries()) {
      const parent = mkdtempSync(join(tmpdir(), "varve-golden-"));
      folders.push(parent);
      const target = join(parent, "out");
      const report = await restore(repository, { root, target: localTarget(target) });
      expect(report.failures).toEqual([]);
      expect(sorted(listTree(target))).toEqual(sorted(trees[index] ?? []));
      expect(lstatSync(target, { bigint: true }).mtimeNs).toBe(root.mtimeNs);
      expect(report.files).toBe(trees[index]?.filter(({ type }) => type === "file").length);
    }
  });

  test("verifies, every byte read", async () => {
    await using repository = await openFixture({ folder, password });
    const report = await verify(repository);
    expect(report.damaged).toEqual([]);
    expect(report.snapshots).toBeGreaterThanOrEqual(trees.length);
    expect(report.bytesRead).toBeGreaterThan(100_000);
    const contents = await verifyContents(repository, { readFraction: 1 });
    expect(contents.damaged).toEqual([]);
    expect(contents.contentsRead).toBe(contents.contents);
  });
});

test("a tar archive holds the whole tree with modes, exact times and links", async () => {
  await using repository = await openFixture({ folder: "v3-default", password: "small 1" });
  const [snapshot] = await dataSnapshots(repository);
  const root = snapshot?.root.object ?? expect.fail("no snapshot");
  const archive = await outputOf(async (output) => {
    const report = await restore(repository, { root, target: tarTarget(output, { gzip: true }) });
    expect(report.failures).toEqual([]);
  });
  const found: Expected[] = [];
  const reader = extract();
  reader.end(gunzipSync(archive));
  for await (const entry of reader) {
    const { name, mode, uid, gid, mtime, type, pax, linkname } = entry.header;
    const parts: Uint8Array[] = [];
    for await (const part of entry) {
      parts.push(part as Uint8Array); // tar-stream gives nothing else
    }
    const bytes = Buffer.concat(parts);
    const seconds = (pax as { mtime?: string } | null)?.mtime ?? `${mtime.getTime() / 1000}`;
    const [whole, fraction = ""] = seconds.split(".");
    found.push({
      path: name.replace(/\/$/, ""),
      type: type === "directory" ? "dir" : type === "symlink" ? "symlink" : "file",
      mode: `0${mode.toString(8)}`,
      uid,
      gid,
      mtimeNs: `${whole}${fraction.padEnd(9, "0")}`.replace(/^0+(?=.)/, ""),
      ...(type === "file" ? { size: bytes.length, sha256: sha256(bytes) } : {}),
      ...(type === "symlink" ? { target: linkname } : {}),
    });
  }
  expect(sorted(found)).toEqual(sorted(TREE));
});

test("a zip archive holds the tree, empty directories and symlinks included", async () => {
  await using repository = await openFixture({ folder: "v3-default", password: "small 1" });
  const [snapshot] = await dataSnapshots(repository);
  const root = snapshot?.root.object ?? expect.fail("no snapshot");
  let unsupported: readonly string[] = [];
  const archive = await outputOf(async (output) => {
    const report = await restore(repository, { root, target: zipTarget(output) });
    expect(new Set(report.failures.map(({ code }) => code))).toEqual(new Set(["unsupported"]));
    unsupported = report.failures.map(({ path }) => path);
  });
  // Zip readers take a backslash for a slash: such a name would become another one.
  expect(unsupported).toEqual(TREE.map(({ path }) => path).filter((path) => path.includes("\\")));
  const found = readZip(archive);
  const expected = TREE.filter(({ path }) => !unsupported.includes(path));
  const byPath = new Map(found.map(({ path, mode, hash }) => [path, { mode, hash }]));
  for (const { path, type, mode, sha256: hash, target } of expected) {
    const bits = { dir: 0o040000, file: 0o100000, symlink: 0o120000 }[type];
    expect({ path, ...byPath.get(type === "dir" ? `${path}/` : path) }).toEqual({
      path,
      mode: Number.parseInt(mode, 8) | bits,
      hash: hash ?? sha256(Buffer.from(target ?? "")),
    });
  }
  expect(byPath.size).toBe(expected.length);
});

/** Name, Unix mode and hash of the bytes of each member, read from the central directory. */
function readZip(zip: Buffer): { path: string; mode: number; hash: string }[] {
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  const members = [];
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    expect(zip.readUInt32LE(at)).toBe(0x02014b50);
    const method = zip.readUInt16LE(at + 10);
    const packedSize = zip.readUInt32LE(at + 20);
    const nameLength = zip.readUInt16LE(at + 28);
    const local = zip.readUInt32LE(at + 42);
    const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(data, data + packedSize);
    members.push({
      path: zip.toString("utf8", at + 46, at + 46 + nameLength),
      mode: zip.readUInt32LE(at + 38) >>> 16,
      hash: sha256(method === 0 ? packed : inflateRawSync(packed)),
    });
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return members;
}
