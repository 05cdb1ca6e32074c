import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cli } from "./cli-fixture.ts";

/** A repository with one policy, its global one, and one snapshot of a file. */
let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.createRepository();
  await cli.ok(["policy", "set", "--global", "--compression=zstd"]);
  cli.write("docs/file", "many words ".repeat(10_000));
  cli.write("docs/data.gz", gzipSync("inside"));
  await cli.ok(["snapshot", "create", "docs"]);
});

afterAll(() => cli[Symbol.dispose]());

const DANGEROUS = "--dangerous-commands=enabled";
const NO_PASSWORD = { env: { VARVE_PASSWORD: "" } };

interface Blob {
  readonly id: string;
  readonly length: number;
  readonly timestamp: string;
}

interface Content {
  readonly contentID: string;
  readonly packFile: string;
  readonly originalLength: number;
  readonly length: number;
  readonly packOffset: number;
  readonly compression?: number;
  readonly deleted: boolean;
  readonly formatVersion: number;
  readonly time: number;
}

interface Manifest {
  readonly id: string;
  readonly length: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly mtime: string;
}

/** Where the fixture's store has a blob: `.shards` says `[1, 3]`. */
function blobFile(id: string): string {
  return cli.path(
    id.length > 20 ? `repo/${id[0]}/${id.slice(1, 4)}/${id.slice(4)}.f` : `repo/${id}.f`,
  );
}

describe("manifest", () => {
  test("list shows labels, in the order of time or of a label", async () => {
    const all = await cli.json<readonly Manifest[]>(["manifest", "list"]);
    expect(all.map(({ labels }) => labels["type"])).toEqual(["maintenance", "policy", "snapshot"]);
    expect(all.every(({ length, mtime }) => length > 2 && mtime.endsWith("Z"))).toBe(true);
    const sorted = ["manifest", "list", "--sort=type", "--filter=type:policy"];
    const [policy, ...others] = await cli.json<readonly Manifest[]>(sorted);
    expect(others).toEqual([]);
    expect(policy?.labels).toEqual({ type: "policy", policyType: "global" });
    expect(await cli.ok(sorted)).toMatch(
      /^[0-9a-f]{32} +\d+ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC .*type:policy/,
    );
  });

  test("show prints labels and payload", async () => {
    const [policy] = await cli.json<readonly Manifest[]>([
      ...["manifest", "list", "--filter=type:policy"],
    ]);
    const id = policy?.id ?? "";
    const text = await cli.ok(["manifest", "show", id]);
    expect(text).toContain(`// id: ${id}\n`);
    expect(text).toContain("// label type:policy\n");
    expect(text).toContain('"compressorName": "zstd"');
    expect(await cli.json(["manifest", "show", id])).toMatchObject([
      { id, payload: { compression: { compressorName: "zstd" } } },
    ]);
    expect(await cli.fails(["manifest", "show", "none"])).toContain("[manifest-not-found]");
  });

  test("delete is dangerous, and deletes all or none", async () => {
    using other = new Cli();
    await other.createRepository();
    const [first] = await other.json<readonly Manifest[]>(["manifest", "list"]);
    const id = first?.id ?? "";
    expect(await other.fails(["manifest", "delete", id])).toContain("--dangerous-commands");
    const partly = ["manifest", "delete", id, "none", DANGEROUS];
    expect(await other.fails(partly)).toContain("[manifest-not-found]");
    await other.ok(["manifest", "rm", id, DANGEROUS]);
    const left = await other.json<readonly Manifest[]>(["manifest", "list"]);
    expect(left).toHaveLength(1);
    expect(left[0]?.id).not.toBe(id);
  });
});

describe("content", () => {
  test("list gives every content once, and what was asked for", async () => {
    const all = await cli.json<readonly Content[]>(["content", "list"]);
    const prefixes = all.map(({ contentID }) => contentID.length % 2 === 1 && contentID[0]);
    expect(prefixes.filter((prefix) => prefix === "k")).toHaveLength(1);
    expect(prefixes.filter((prefix) => prefix === false)).toHaveLength(2);
    const files = await cli.ok(["content", "list", "--non-prefixed", "-l", "--summary"]);
    expect(files).toMatch(/^[0-9a-f]{32} 110000 .* UTC p[0-9a-f]+-s[0-9a-f]+ \d+\+\d+ zstd$/m);
    expect(files).toMatch(/^Total: 2 contents, \d+ total size$/m);
    const directories = await cli.json<readonly Content[]>(["content", "list", "--prefix=k"]);
    expect(directories).toEqual(all.filter(({ contentID }) => contentID.startsWith("k")));
    expect(await cli.json(["content", "list", "--deleted-only"])).toEqual([]);
    expect(await cli.fails(["content", "list", "--prefixed", "--non-prefixed"])).toContain(
      "[invalid-argument]",
    );
  });

  test("show writes the plain bytes", async () => {
    const all = await cli.json<readonly Content[]>(["content", "list"]);
    const [directory] = all.filter(({ contentID }) => contentID.startsWith("k"));
    const record = await cli.ok(["content", "show", "--json", directory?.contentID ?? ""]);
    expect(JSON.parse(record)).toMatchObject({ stream: "kopia:directory" });
    const [zipped] = all.filter(
      ({ contentID, originalLength }) => contentID.length === 32 && originalLength < 1000,
    );
    const { bytes } = await cli.run(["content", "show", zipped?.contentID ?? ""]);
    expect(bytes).toEqual(readFileSync(cli.path("docs/data.gz")));
    expect(await cli.ok(["content", "show", "-z", zipped?.contentID ?? ""])).toBe("inside");
    expect(await cli.fails(["content", "show", "00"])).toContain("[content-not-found]");
    expect(await cli.fails(["content", "show", "zz9"])).toContain("[invalid-argument]");
  });

  test("stats add up", async () => {
    const all = await cli.json<readonly Content[]>(["content", "list"]);
    const sum = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);
    const stats = await cli.json<{
      readonly byMethod: Readonly<Record<string, { readonly count: number }>>;
      readonly histogram: readonly { readonly count: number }[];
    }>(["content", "stats"]);
    expect(stats).toMatchObject({
      count: all.length,
      originalBytes: sum(all.map(({ originalLength }) => originalLength)),
      packedBytes: sum(all.map(({ length }) => length)),
    });
    expect(stats.byMethod["zstd"]?.count).toBe(1);
    expect(sum(stats.histogram.map(({ count }) => count))).toBe(all.length);
    expect(await cli.ok(["content", "stats", "--raw"])).toMatch(/^Total packed: \d+$/m);
  });

  test("delete is dangerous, and leaves a tombstone", async () => {
    using other = new Cli();
    await other.createRepository();
    other.write("docs/file", "text");
    await other.ok(["snapshot", "create", "docs"]);
    const list = ["content", "list", "--non-prefixed"];
    const [file] = await other.json<readonly Content[]>(list);
    const id = file?.contentID ?? "";
    expect(await other.fails(["content", "delete", id])).toContain("--dangerous-commands");
    await other.ok(["content", "delete", id, DANGEROUS]);
    expect(await other.json(list)).toEqual([]);
    expect(await other.json([...list, "--deleted"])).toMatchObject([
      { contentID: id, deleted: true },
    ]);
    expect(await other.fails(["content", "delete", id, DANGEROUS])).toContain(
      "[content-not-found]",
    );
  });
});

describe("content verify", () => {
  const verify = ["content", "verify"];

  test("finds a sound repository sound", async () => {
    expect(await cli.ok(verify)).toMatch(/^Verified \d+ contents, 0 of them read: 0 damaged\.\n$/);
    const full = await cli.json<{ contents: number; contentsRead: number }>([...verify, "--full"]);
    expect(full).toMatchObject({ contentsRead: full.contents, damagedCount: 0, packs: [] });
    const part = await cli.json<{ contentsRead: number }>([...verify, "--download-percent=100"]);
    expect(part.contentsRead).toBe(full.contents);
  });

  test("names packs that are damaged, cut short and missing", async () => {
    using other = new Cli();
    await other.createRepository();
    other.write("docs/file", "text");
    await other.ok(["snapshot", "create", "docs"]);
    const [file] = await other.json<readonly Content[]>(["content", "list", "--non-prefixed"]);
    const { packFile = "", packOffset = 0, length = 0 } = file ?? {};
    const path = other.path(`repo/p/${packFile.slice(1, 4)}/${packFile.slice(4)}.f`);
    const bytes = readFileSync(path);
    bytes[packOffset + 14] = (bytes[packOffset + 14] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(await other.ok(verify)).toContain("0 damaged");
    expect(await other.json([...verify, "--full"], { status: 1 })).toMatchObject({
      packs: [{ id: packFile, problem: "corrupted" }],
      damaged: [{ content: file?.contentID, pack: packFile, code: "corrupt" }],
    });
    truncateSync(path, packOffset + length - 1);
    expect(await other.json(verify, { status: 1 })).toMatchObject({
      packs: [{ problem: "truncated" }],
    });
    await other.ok(["blob", "delete", packFile, DANGEROUS]);
    const { status, stdout } = await other.run(verify);
    expect(status).toBe(1);
    expect(stdout).toContain(`missing pack ${packFile}\n`);
  });
});

describe("blob", () => {
  test("list needs no password, and gives what was asked for", async () => {
    const all = await cli.json<readonly Blob[]>(["blob", "list"], NO_PASSWORD);
    expect(all.map(({ id }) => id)).toContain("kopia.repository");
    for (const { id, length, timestamp } of all) {
      expect(statSync(blobFile(id)).size).toBe(length);
      expect(timestamp).toMatch(/^\d{4}-.*Z$/);
    }
    const packs = await cli.json<readonly Blob[]>(["blob", "list", "--data-only"]);
    expect(packs.every(({ id }) => /^[pq]/.test(id))).toBe(true);
    const small = ["blob", "list", "--max-size=4000", "--min-size=10", "--exclude-prefix=x"];
    const ids = (await cli.json<readonly Blob[]>(small)).map(({ id }) => id);
    expect(ids.sort()).toEqual(
      all
        .filter(({ id, length }) => length <= 4000 && length >= 10 && !id.startsWith("x"))
        .map(({ id }) => id)
        .sort(),
    );
    expect(await cli.ok(["blob", "list", "--prefix=kopia.rep"])).toMatch(
      /^kopia\.repository +\d+ .* UTC\n$/,
    );
  });

  test("show writes the bytes as they lie there, or decrypted", async () => {
    const { bytes } = await cli.run(["blob", "show", "kopia.repository"], NO_PASSWORD);
    expect(bytes).toEqual(readFileSync(blobFile("kopia.repository")));
    const [index] = await cli.json<readonly Blob[]>(["index", "list"]);
    const decrypted = await cli.run(["blob", "show", "--decrypt", index?.id ?? ""]);
    expect(decrypted.status).toBe(0);
    expect(decrypted.bytes[0]).toBe(2); // an index file of version 2
    const refused = await cli.fails(["blob", "show", "--decrypt", "kopia.repository"]);
    expect(refused).toContain("[corrupt]");
    expect(await cli.fails(["blob", "show", "nothing"])).toContain("[blob-not-found]");
    expect(await cli.fails(["blob", "show", "../x"])).toContain("[invalid-argument]");
  });

  test("stats add up", async () => {
    const all = await cli.json<readonly Blob[]>(["blob", "list"]);
    const totalBytes = all.reduce((sum, { length }) => sum + length, 0);
    const stats = await cli.json(["blob", "stats"], NO_PASSWORD);
    expect(stats).toMatchObject({ count: all.length, totalBytes });
    expect(await cli.ok(["blob", "stats", "--raw"])).toContain(`Total: ${totalBytes}\n`);
  });

  test("delete is dangerous", async () => {
    expect(await cli.fails(["blob", "delete", "kopia.blobcfg"])).toContain("--dangerous-commands");
    const missing = ["blob", "delete", "kopia.blobcfg", "nothing", DANGEROUS];
    expect(await cli.fails(missing)).toContain("[blob-not-found]");
    expect(statSync(blobFile("kopia.blobcfg")).size).toBeGreaterThan(0);
  });
});

describe("index", () => {
  test("list gives the index blobs", async () => {
    const indexes = await cli.json<readonly (Blob & { active: boolean })[]>(["index", "list"]);
    const blobs = await cli.json<readonly Blob[]>(["blob", "list", "--prefix=xn"]);
    expect(indexes.map(({ active: _, ...blob }) => blob).sort(byId)).toEqual([...blobs].sort(byId));
    expect(indexes.every(({ active }) => active)).toBe(true);
    const text = await cli.ok(["index", "list", "--summary", "--superseded", "--sort=size"]);
    expect(text).toMatch(new RegExp(`^total ${indexes.length} blobs, `, "m"));
  });

  test("inspect gives the entries that content list gives", async () => {
    const entries = await cli.json<readonly (Content & { indexBlob: string })[]>([
      ...["index", "inspect", "--all"],
    ]);
    const contents = await cli.json<readonly Content[]>(["content", "list"]);
    expect(entries.map(({ indexBlob: _, ...entry }) => entry).sort(byContent)).toEqual(
      [...contents].sort(byContent),
    );
    const [one] = entries;
    const chosen = await cli.ok([
      ...["index", "inspect", one?.indexBlob ?? "", "--content-id", one?.contentID ?? ""],
    ]);
    expect(chosen).toMatch(
      new RegExp(`^${one?.indexBlob} ${one?.contentID} created .* ${one?.packFile} \\d+ \\d+\\n$`),
    );
    expect(await cli.fails(["index", "inspect"])).toContain("[invalid-argument]");
  });
});

function byId(a: Blob, b: Blob): number {
  return a.id < b.id ? -1 : 1;
}

function byContent(a: Content, b: Content): number {
  return a.contentID < b.contentID ? -1 : 1;
}

describe("benchmark", () => {
  interface Report {
    readonly benchmark: string;
    readonly results: readonly {
      readonly name: string;
      readonly provider: string;
      readonly bytesPerSecond: number;
    }[];
  }

  test.each([
    ["hashing", ["--block-size=1KB"], ["BLAKE3-256-128", "HMAC-SHA3-224"]],
    ["encryption", ["--block-size=1KB"], ["AES256-GCM-HMAC-SHA256"]],
    ["crypto", ["--block-size=1KB"], ["BLAKE2S-256 + CHACHA20-POLY1305-HMAC-SHA256"]],
    ["ecc", ["--block-size=64KiB"], ["REED-SOLOMON-CRC32 2%"]],
    ["splitter", ["--data-size=1MB"], ["FASTCDC-4M", "DYNAMIC-4M-BUZHASH", "FIXED"]],
    ["compression", ["--algorithms=zstd,s2-default,gzip"], ["zstd", "s2-default", "gzip"]],
  ])("%s names who does the work, fastest first", async (name, flags, algorithms) => {
    const report = await cli.json<Report>(["benchmark", name, "--repeat=1", ...flags]);
    expect(report.benchmark).toBe(name);
    expect(report.results.map((result) => result.name)).toEqual(expect.arrayContaining(algorithms));
    const speeds = report.results.map(({ bytesPerSecond }) => bytesPerSecond);
    expect(speeds).toEqual([...speeds].sort((a, b) => b - a));
    expect(report.results.every(({ provider }) => provider !== "")).toBe(true);
  });

  test("prints a table, of a file of one's own too", async () => {
    const file = cli.path("docs/file");
    const table = await cli.ok([
      ...["benchmark", "compression", "--data-file", file, "--algorithms=zstd-fastest"],
    ]);
    expect(table).toMatch(/^Name +Provider +Speed .*\nzstd-fastest +\S+ +[\d.]+ [KMG]?B\/s /);
    const unknown = ["benchmark", "compression", "--algorithms=brotli"];
    expect(await cli.fails(unknown)).toContain("[invalid-argument]");
    const missing = ["benchmark", "splitter", "--data-file", cli.path("nothing")];
    expect(await cli.fails(missing)).toContain("[invalid-argument]");
  });
});
