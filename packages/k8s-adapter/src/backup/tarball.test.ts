import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { VarveError } from "@varve/core";
import { expect, test } from "vitest";
import { rewriteTarball, TarballWriter } from "./tarball.ts";

const type = { group: "apps", version: "v1", resource: "deployments", namespaced: true };
const object = (text: string) => ({
  apiVersion: "apps/v1",
  metadata: { name: "web", namespace: "shop" },
  text,
});
const join = (parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

/** Name and text of every entry, read by the format's own rules. */
function entriesOf(archive: Uint8Array): [string, string][] {
  const tar = gunzipSync(archive);
  const found: [string, string][] = [];
  for (let at = 0; at < tar.length && tar[at] !== 0; ) {
    const field = (from: number, length: number): string =>
      tar
        .subarray(at + from, at + from + length)
        .toString("utf8")
        .replace(/\0.*/s, "");
    const size = Number.parseInt(field(124, 12), 8);
    expect([field(100, 8).trim(), field(108, 8).trim()]).toEqual(["000755", "000000"]);
    found.push([field(0, 100), tar.subarray(at + 512, at + 512 + size).toString("utf8")]);
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
}

async function write(): Promise<Uint8Array> {
  const writer = new TarballWriter({ nowMs: 0 });
  await writer.begin();
  await Promise.all([writer.addObject(type, object("a<b")), writer.addFile("other", "x")]);
  return join(await writer.close());
}

const PLAIN = "resources/deployments.apps/namespaces/shop/web.json";
const VERSIONED = "resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json";
const TEXT = `{"apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop"},"text":"a\\u003cb"}`;

test("every object stands at two paths, after the version of the format", async () => {
  expect(entriesOf(await write())).toEqual([
    ["metadata/version", "1.1.0\n"],
    [PLAIN, TEXT],
    ["other", "x"],
    [VERSIONED, TEXT],
  ]);
  const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  expect(hash(await write())).toBe(hash(await write()));
});

test("changed objects are replaced where they stand, new ones are added", async () => {
  const more = { ...object("n"), metadata: { name: "new", namespace: "shop" } };
  const changes = [
    { type, object: object("changed") },
    { type, object: more },
  ];
  const rewritten = entriesOf(join(await rewriteTarball(await write(), changes, { nowMs: 0 })));
  expect(rewritten.map(([name]) => name)).toEqual([
    "metadata/version",
    PLAIN,
    "other",
    VERSIONED,
    PLAIN.replace("web", "new"),
    VERSIONED.replace("web", "new"),
  ]);
  expect(rewritten[1]?.[1]).toContain('"text":"changed"');
});

test("what is no archive is told to be corrupt", async () => {
  for (const bytes of [Buffer.from("no gzip"), (await write()).subarray(0, 60)]) {
    await expect(rewriteTarball(bytes, [], { nowMs: 0 })).rejects.toThrow(VarveError);
  }
});
