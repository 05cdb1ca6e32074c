import { execFileSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compareBytes, concatBytes, equalBytes, fromUtf8, utf8 } from "../base/bytes.ts";
import { bytesOfName } from "../snapshot/entry-name.ts";
import { localSource } from "./local-source.ts";
import type { SourceEntry, UnreadableEntry } from "./source-entry.ts";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-source-"));
});

afterEach(() => {
  execFileSync("rm", ["-rf", folder]);
});

async function list(directory: SourceEntry): Promise<SourceEntry[]> {
  const entries: SourceEntry[] = [];
  for await (const entry of directory.children()) {
    expect("error" in entry).toBe(false);
    entries.push(entry as SourceEntry); // it has no error
  }
  return entries;
}

async function bytesOf(entry: SourceEntry): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of entry.read()) {
    parts.push(part);
  }
  return concatBytes(parts);
}

describe("names", () => {
  test("come in bytewise order, whatever they are, and lead to their files", async () => {
    const names = [
      utf8("a"),
      utf8("B"),
      utf8("new\nline"),
      utf8("x".repeat(255)),
      utf8("\uffee"),
      utf8("\u{1f600}"),
      utf8("a\ufffd"),
      Uint8Array.of(0x61, 0xff),
      Uint8Array.of(0x61, 0xfe),
      Uint8Array.of(0xff, 0x80, 0x0a),
    ];
    for (const name of names) {
      writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), name]), name);
    }
    const entries = await list(await localSource(folder));
    expect(entries.map(bytesOfName)).toEqual(names.toSorted(compareBytes));
    for (const entry of entries) {
      expect(await bytesOf(entry)).toEqual(bytesOfName(entry));
    }
    expect(
      entries.filter(({ nameBytes }) => nameBytes !== undefined).map(({ name }) => name),
    ).toEqual(["a\ufffd", "a\ufffd", "\ufffd\ufffd\n"]);
  });

  test("below a directory whose name is not UTF-8 paths stay bytes", async () => {
    const odd = Buffer.concat([Buffer.from(`${folder}/`), Uint8Array.of(0xff)]);
    mkdirSync(odd);
    writeFileSync(Buffer.concat([odd, Buffer.from("/inner")]), "x");
    const [directory] = await list(await localSource(folder));
    const [inner] = directory === undefined ? [] : await list(directory);
    expect(inner?.path).toBeInstanceOf(Uint8Array);
    expect(inner && fromUtf8(await bytesOf(inner))).toBe("x");
    const root = await localSource(odd);
    expect(root.nameBytes).toEqual(Uint8Array.of(0xff));
    expect((await list(root)).map(({ name }) => name)).toEqual(["inner"]);
  });
});

describe("metadata", () => {
  test("full mode bits, nanoseconds, owner and size", async () => {
    writeFileSync(join(folder, "f"), "four");
    execFileSync("touch", ["-d", "@1700000000.123456789", join(folder, "f")]);
    chmodSync(join(folder, "f"), 0o4755);
    mkdirSync(join(folder, "d"));
    chmodSync(join(folder, "d"), 0o1777);
    const [directory, file] = await list(await localSource(folder));
    expect(directory?.meta).toMatchObject({ type: "directory", mode: 0o1777, sizeBytes: 0 });
    const stat = lstatSync(join(folder, "f"));
    expect(file?.meta).toEqual({
      type: "file",
      mode: 0o4755,
      sizeBytes: 4,
      mtimeNs: 1_700_000_000_123_456_789n,
      uid: stat.uid,
      gid: stat.gid,
    });
    expect(file?.deviceId).toBe(stat.dev);
  });

  test("times before 1970", async () => {
    writeFileSync(join(folder, "f"), "");
    execFileSync("touch", ["-d", "1969-12-31 23:59:58.5 UTC", join(folder, "f")]);
    const [file] = await list(await localSource(folder));
    expect(file?.meta.mtimeNs).toBe(-1_500_000_000n);
  });

  test("a FIFO is something else, and has no bytes to wait for", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    const [pipe] = await list(await localSource(folder));
    expect(pipe?.meta).toMatchObject({ type: "other", sizeBytes: 0 });
    await expect(pipe && bytesOf(pipe)).rejects.toMatchObject({ code: "source-failed" });
  });
});

describe("symbolic links", () => {
  test("inside are their targets, as raw bytes", async () => {
    const target = Buffer.concat([Buffer.from("no/where"), Uint8Array.of(0xff)]);
    symlinkSync(target, join(folder, "link"));
    symlinkSync("/", join(folder, "root"));
    const [link, root] = await list(await localSource(folder));
    expect(link?.meta).toMatchObject({ type: "symlink", sizeBytes: target.length });
    expect(link && (await bytesOf(link))).toEqual(new Uint8Array(target));
    expect(root?.meta.type).toBe("symlink");
  });

  test("as the root are followed and keep their name", async () => {
    mkdirSync(join(folder, "real"));
    writeFileSync(join(folder, "real", "f"), "x");
    symlinkSync("real", join(folder, "link"));
    const root = await localSource(join(folder, "link"));
    expect(root.name).toBe("link");
    expect(root.meta.type).toBe("directory");
    expect((await list(root)).map(({ name }) => name)).toEqual(["f"]);
  });

  test("put in a file's place since it was listed are not followed", async () => {
    writeFileSync(join(folder, "f"), "mine");
    const [file] = await list(await localSource(folder));
    writeFileSync(join(folder, "secret"), "other");
    unlinkSync(join(folder, "f"));
    symlinkSync("secret", join(folder, "f"));
    await expect(file && bytesOf(file)).rejects.toMatchObject({ code: "source-failed" });
  });
});

describe("child", () => {
  test("finds one name, and follows links when asked to", async () => {
    writeFileSync(join(folder, "file"), "text");
    symlinkSync("file", join(folder, "link"));
    symlinkSync("nowhere", join(folder, "broken"));
    symlinkSync("loop", join(folder, "loop"));
    const root = await localSource(folder);
    expect((await root.child?.("file"))?.meta.type).toBe("file");
    expect((await root.child?.("link"))?.meta.type).toBe("symlink");
    const followed = await root.child?.("link", { follow: true });
    expect(followed?.name).toBe("link");
    expect(followed && fromUtf8(await bytesOf(followed))).toBe("text");
    for (const name of ["broken", "loop", "missing", "..", "a/b", ""]) {
      expect(await root.child?.(name, { follow: true })).toBeUndefined();
    }
  });
});

describe("a tree that changes", () => {
  test("a name that vanished is left out", async () => {
    // One that is not UTF-8: else all are looked at together, before the first is given.
    for (const name of [utf8("a"), utf8("b"), Uint8Array.of(0xff)]) {
      writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), name]), "");
    }
    const names: string[] = [];
    for await (const entry of (await localSource(folder)).children()) {
      names.push(entry.name);
      rmSync(join(folder, "b"), { force: true });
    }
    expect(names).toEqual(["a", "\ufffd"]);
  });

  test("a directory that vanished, a missing root and a file's children are failures", async () => {
    mkdirSync(join(folder, "d"));
    writeFileSync(join(folder, "f"), "");
    const [directory, file] = await list(await localSource(folder));
    renameSync(join(folder, "d"), join(folder, "e"));
    await expect(directory && list(directory)).rejects.toMatchObject({ code: "source-failed" });
    await expect(file && list(file)).rejects.toMatchObject({ code: "source-failed" });
    await expect(localSource(join(folder, "none"))).rejects.toMatchObject({
      code: "source-failed",
    });
  });

  test("a name that cannot be looked at comes with its error", async () => {
    // Deeper than a path may be long: the listing works, the look at the last name does not.
    const name = "n".repeat(250);
    const depth = Math.floor((4095 - folder.length) / 251);
    execFileSync("sh", [
      "-c",
      `cd "$1"; i=0; while [ $i -le ${depth} ]; do mkdir ${name}; cd ${name}; i=$((i+1)); done`,
      "sh",
      folder,
    ]);
    let current: SourceEntry | UnreadableEntry | undefined = await localSource(folder);
    while (current !== undefined && !("error" in current)) {
      const children: AsyncIterable<SourceEntry | UnreadableEntry> = current.children();
      current = undefined;
      for await (const child of children) {
        current = child;
      }
    }
    expect(current).toMatchObject({ name, error: { code: "source-failed" } });
  });
});

test("a file is read in bounded pieces", async () => {
  const data = new Uint8Array(2_500_000).map((_, index) => index % 251);
  writeFileSync(join(folder, "f"), data);
  const root = await localSource(join(folder, "f"));
  expect(root.name).toBe("f");
  const lengths: number[] = [];
  for await (const part of root.read()) {
    lengths.push(part.length);
  }
  expect(Math.max(...lengths)).toBeLessThanOrEqual(1024 * 1024);
  expect(equalBytes(await bytesOf(root), data)).toBe(true);
});

test("an abort ends listing and reading with its reason", async () => {
  writeFileSync(join(folder, "f"), "x");
  const root = await localSource(folder);
  const [file] = await list(root);
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(root.children({ signal })[Symbol.asyncIterator]().next()).rejects.toThrow("enough");
  await expect(file?.read({ signal })[Symbol.asyncIterator]().next()).rejects.toThrow("enough");
  await expect(localSource(folder, { signal })).rejects.toThrow("enough");
});
