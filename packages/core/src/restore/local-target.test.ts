import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { isVarveError } from "../base/errors.ts";
import { parseObjectId } from "../object/object-id.ts";
import type { DirectoryEntry, EntryMeta } from "../snapshot/entry.ts";
import { type LocalTargetOptions, localTarget } from "./local-target.ts";
import type { EntryPath, RestoreTarget } from "./target.ts";

const ROOT: EntryPath = { name: "data" };
const TIME_NS = 1_700_000_000_123_456_789n;

let folder: string;
let out: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-local-target-"));
  out = join(folder, "out");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function meta(type: EntryMeta["type"], mode: number, mtimeNs: bigint = TIME_NS): EntryMeta {
  const { uid, gid } = statSync(folder);
  return { type, mode, sizeBytes: 0, mtimeNs, uid, gid };
}

function at(name: string, parent: EntryPath = ROOT): EntryPath {
  return { parent, name };
}

async function withTarget(
  options: LocalTargetOptions,
  work: (target: RestoreTarget) => Promise<void>,
): Promise<void> {
  const target = localTarget(out, options);
  await target.directory(ROOT, meta("directory", 0o755), []);
  await work(target);
  await target.finishDirectory(ROOT, meta("directory", 0o755));
  await target.finish();
}

async function writeFile(
  target: RestoreTarget,
  path: EntryPath,
  text: string,
  fileMeta: EntryMeta = meta("file", 0o644),
): Promise<boolean> {
  const file = await target.file(path, fileMeta, utf8(text).length);
  await file?.writeAt(0, utf8(text));
  await file?.finish();
  return file !== undefined;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    return isVarveError(error) ? error.code : "not a VarveError";
  }
}

function mtimeOf(path: string): bigint {
  return lstatSync(path, { bigint: true }).mtimeNs;
}

describe("metadata", () => {
  test("modes and times of files, directories and symlinks are exact to the nanosecond", async () => {
    const sub = at("sub");
    await withTarget({}, async (target) => {
      await target.directory(sub, meta("directory", 0o1750), []);
      await writeFile(target, at("setuid", sub), "x", meta("file", 0o4755, TIME_NS + 1n));
      await writeFile(target, at("none", sub), "x", meta("file", 0));
      await target.symlink(at("link", sub), meta("symlink", 0o777, TIME_NS + 2n), utf8("gone"));
      await target.finishDirectory(sub, meta("directory", 0o1750, TIME_NS + 3n));
    });
    expect(lstatSync(join(out, "sub")).mode & 0o7777).toBe(0o1750);
    expect(lstatSync(join(out, "sub/setuid")).mode & 0o7777).toBe(0o4755);
    expect(lstatSync(join(out, "sub/none")).mode & 0o7777).toBe(0);
    expect(readlinkSync(join(out, "sub/link"))).toBe("gone");
    expect(mtimeOf(out)).toBe(TIME_NS);
    expect(mtimeOf(join(out, "sub/setuid"))).toBe(TIME_NS + 1n);
    expect(mtimeOf(join(out, "sub/link"))).toBe(TIME_NS + 2n);
    expect(mtimeOf(join(out, "sub"))).toBe(TIME_NS + 3n);
  });

  test("times before 1970, on it and far ahead are restored", async () => {
    const times = [-1_500_000_001n, 0n, 1n, 999_999_999n, 4_102_444_800_123_456_000n];
    await withTarget({}, async (target) => {
      for (const time of times) {
        await writeFile(target, at(`t${time}`), "x", meta("file", 0o600, time));
      }
    });
    expect(times.map((time) => mtimeOf(join(out, `t${time}`)))).toEqual(times);
  });

  test("skipped permissions leave 0600 and 0700, skipped times leave now", async () => {
    await withTarget(
      { skipPermissions: true, skipTimes: true, skipOwners: true },
      async (target) => {
        await writeFile(target, at("file"), "x", meta("file", 0o4777));
      },
    );
    expect(lstatSync(join(out, "file")).mode & 0o7777).toBe(0o600);
    expect(lstatSync(out).mode & 0o7777).toBe(0o700);
    expect(mtimeOf(join(out, "file"))).toBeGreaterThan(TIME_NS);
  });

  test("setuid is dropped when the recorded owner is not restored", async () => {
    await withTarget({ skipOwners: true }, async (target) => {
      const other = { ...meta("file", 0o6755), uid: 12345 };
      await writeFile(target, at("file"), "x", other);
    });
    expect(lstatSync(join(out, "file")).mode & 0o7777).toBe(0o755);
  });

  test("names that are not UTF-8 keep their bytes", async () => {
    const nameBytes = Uint8Array.of(0x61, 0xff, 0x62);
    await withTarget({}, async (target) => {
      await writeFile(target, { parent: ROOT, name: "a\ufffdb", nameBytes }, "odd");
    });
    const [name] = readdirSync(out, { encoding: "buffer" });
    expect([...(name ?? [])]).toEqual([0x61, 0xff, 0x62]);
    expect(mtimeOf(out)).toBe(TIME_NS);
  });
});

describe("nothing outside the target is written", () => {
  test("a symlink in a file's place is replaced, not followed", async () => {
    const outside = join(folder, "outside");
    writeFileSync(outside, "precious", { mode: 0o640 });
    mkdirSync(out);
    symlinkSync(outside, join(out, "file"));
    await withTarget({}, async (target) => {
      await writeFile(target, at("file"), "restored");
    });
    expect(readFileSync(outside, "utf8")).toBe("precious");
    expect(lstatSync(join(out, "file")).isFile()).toBe(true);
  });

  test("another hard link to an existing file keeps its bytes", async () => {
    const outside = join(folder, "outside");
    writeFileSync(outside, "precious");
    mkdirSync(out);
    linkSync(outside, join(out, "file"));
    await withTarget({}, async (target) => {
      await writeFile(target, at("file"), "restored");
    });
    expect(readFileSync(outside, "utf8")).toBe("precious");
    expect(readFileSync(join(out, "file"), "utf8")).toBe("restored");
  });

  test("a symlink in a directory's place is an error, and nothing goes through it", async () => {
    mkdirSync(join(folder, "elsewhere"));
    mkdirSync(out);
    symlinkSync(join(folder, "elsewhere"), join(out, "sub"));
    await withTarget({}, async (target) => {
      const sub = at("sub");
      expect(await codeOf(target.directory(sub, meta("directory", 0o755), []))).toBe(
        "target-failed",
      );
      expect(await codeOf(writeFile(target, at("file", sub), "x"))).toBe("target-failed");
    });
    expect(readdirSync(join(folder, "elsewhere"))).toEqual([]);
  });

  test("a directory swapped for a symlink while it is filled gets its files all the same", async () => {
    mkdirSync(join(folder, "elsewhere"));
    await withTarget({}, async (target) => {
      const sub = at("sub");
      await target.directory(sub, meta("directory", 0o755), []);
      rmSync(join(out, "sub"), { recursive: true });
      symlinkSync(join(folder, "elsewhere"), join(out, "sub"));
      await codeOf(writeFile(target, at("file", sub), "x"));
      await target.finishDirectory(sub, meta("directory", 0o700));
    });
    expect(readdirSync(join(folder, "elsewhere"))).toEqual([]);
  });

  test("a target that is a symlink is refused unless asked for", async () => {
    mkdirSync(join(folder, "real"));
    symlinkSync("real", out);
    expect(() => localTarget(out)).toThrow(/symlink/);
    await withTarget({ followTargetSymlink: true }, async (target) => {
      await writeFile(target, at("file"), "x");
    });
    expect(existsSync(join(folder, "real/file"))).toBe(true);
  });
});

describe("what is there already", () => {
  beforeEach(() => {
    mkdirSync(out);
    writeFileSync(join(out, "file"), "old!");
    symlinkSync("old", join(out, "link"));
    mkdirSync(join(out, "dir"));
  });

  test("each kind of overwriting can be refused", async () => {
    const options = { overwriteFiles: false, overwriteSymlinks: false };
    await withTarget(options, async (target) => {
      expect(await codeOf(writeFile(target, at("file"), "new!"))).toBe("target-failed");
      expect(await codeOf(writeFile(target, at("link"), "new!"))).toBe("target-failed");
      const link = target.symlink(at("link"), meta("symlink", 0o777), utf8("new"));
      expect(await codeOf(link)).toBe("target-failed");
    });
    const target = localTarget(out, { overwriteDirectories: false });
    expect(await codeOf(target.directory(ROOT, undefined, []))).toBe("target-failed");
    await target.abandon();
    expect(readFileSync(join(out, "file"), "utf8")).toBe("old!");
    expect(readlinkSync(join(out, "link"))).toBe("old");
  });

  test("a thing of another kind is an error", async () => {
    await withTarget({}, async (target) => {
      expect(await codeOf(writeFile(target, at("dir"), "x"))).toBe("target-failed");
      expect(await codeOf(target.directory(at("file"), undefined, []))).toBe("target-failed");
      expect(await codeOf(target.symlink(at("dir"), undefined, utf8("x")))).toBe("target-failed");
      expect(await codeOf(target.symlink(at("file"), undefined, utf8("x")))).toBe("target-failed");
    });
  });

  test("a file is skipped when its size is equal and its time less than 2 s away", async () => {
    const seconds = Number(TIME_NS / 1_000_000_000n);
    await withTarget({ skipExisting: true }, async (target) => {
      utimesSync(join(out, "file"), seconds + 1, seconds + 1);
      expect(await writeFile(target, at("file"), "new!")).toBe(false);
      expect(await target.symlink(at("link"), undefined, utf8("new"))).toBe(false);
      expect(await writeFile(target, at("file"), "longer")).toBe(true);
      utimesSync(join(out, "file"), seconds + 3, seconds + 3);
      expect(await writeFile(target, at("file"), "newest")).toBe(true);
    });
    expect(readFileSync(join(out, "file"), "utf8")).toBe("newest");
  });

  test("deleteExtra removes what the snapshot does not have and what is of another kind", async () => {
    writeFileSync(join(out, "dir/inner"), "");
    const object = parseObjectId("00");
    const entries: DirectoryEntry[] = [
      { ...meta("file", 0o644), name: "dir", object },
      { ...meta("symlink", 0o777), name: "link", object },
    ];
    const target = localTarget(out, { deleteExtra: true });
    expect(await target.directory(ROOT, undefined, entries)).toBe(2);
    await target.finish();
    expect(readdirSync(out)).toEqual(["link"]);
  });

  test("an unwritable directory is filled and gets its mode back", async () => {
    chmodSync(join(out, "dir"), 0o500);
    await withTarget({}, async (target) => {
      const dir = at("dir");
      await target.directory(dir, meta("directory", 0o500), []);
      await writeFile(target, at("file", dir), "x");
      await target.finishDirectory(dir, meta("directory", 0o500));
    });
    expect(lstatSync(join(out, "dir")).mode & 0o7777).toBe(0o500);
  });
});

describe("files", () => {
  test("a single file becomes the target itself", async () => {
    const target = localTarget(out);
    await writeFile(target, ROOT, "alone");
    await target.finish();
    expect(readFileSync(out, "utf8")).toBe("alone");
  });

  test("an abandoned file leaves nothing", async () => {
    await withTarget({}, async (target) => {
      const file = await target.file(at("half"), meta("file", 0o644), 10);
      await file?.writeAt(5, utf8("half"));
      await file?.abandon();
    });
    expect(readdirSync(out)).toEqual([]);
  });

  test("an atomic write shows the old file until the new one is complete", async () => {
    await withTarget({ writeFilesAtomically: true }, async (target) => {
      await writeFile(target, at("file"), "old");
      const file = await target.file(at("file"), meta("file", 0o644), 3);
      await file?.writeAt(0, utf8("new"));
      expect(readFileSync(join(out, "file"), "utf8")).toBe("old");
      await file?.finish();
      const given = await target.file(at("file"), meta("file", 0o644), 3);
      await given?.abandon();
    });
    expect(readFileSync(join(out, "file"), "utf8")).toBe("new");
    expect(readdirSync(out)).toEqual(["file"]);
    expect(mtimeOf(join(out, "file"))).toBe(TIME_NS);
  });

  test("sparse files have no blocks where there are zeros, and all their bytes", async () => {
    const bytes = new Uint8Array(1_000_001);
    bytes[500_000] = 1;
    await withTarget({ writeSparseFiles: true, flushFiles: true }, async (target) => {
      const file = await target.file(at("sparse"), meta("file", 0o644), bytes.length);
      await file?.writeAt(0, bytes.subarray(0, 300_001));
      await file?.writeAt(300_001, bytes.subarray(300_001));
      await file?.finish();
    });
    expect(Buffer.compare(readFileSync(join(out, "sparse")), bytes)).toBe(0);
    expect(statSync(join(out, "sparse")).blocks).toBeLessThanOrEqual(16);
  });

  test("pieces may be written in any order", async () => {
    await withTarget({}, async (target) => {
      const file = await target.file(at("file"), meta("file", 0o644), 600_003);
      await Promise.all([
        file?.writeAt(300_000, new Uint8Array(300_000).fill(2)),
        file?.writeAt(600_000, utf8("end")),
        file?.writeAt(0, new Uint8Array(300_000).fill(1)),
      ]);
      await file?.finish();
    });
    const bytes = readFileSync(join(out, "file"));
    expect([bytes[299_999], bytes[300_000], bytes.subarray(600_000).toString()]).toEqual([
      1,
      2,
      "end",
    ]);
  });
});
