import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/bytes.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";
import { memorySource } from "./memory-source.ts";
import type { SourceEntry } from "./source-entry.ts";
import { streamSource } from "./stream-source.ts";

async function textOf(entry: SourceEntry): Promise<string> {
  let text = "";
  for await (const part of entry.read()) {
    text += fromUtf8(part);
  }
  return text;
}

async function namesOf(entry: SourceEntry): Promise<string[]> {
  const names: string[] = [];
  for await (const child of entry.children()) {
    names.push(
      "error" in child
        ? `${child.name}: ${child.error.message}`
        : `${child.name} ${child.meta.type}`,
    );
  }
  return names;
}

async function* data(): AsyncGenerator<Uint8Array> {
  yield utf8("ab");
  yield utf8("c");
}

describe("streamSource", () => {
  test("is a directory with one file that is read once", async () => {
    const environment = seededEnvironment({ seed: 1 });
    const root = streamSource({ name: "dump", data: data(), directoryName: "/v", environment });
    expect(root).toMatchObject({ name: "/v", meta: { type: "directory", mode: 0o777 } });
    const children: SourceEntry[] = [];
    for await (const child of root.children()) {
      children.push(child as SourceEntry); // this source has nothing unreadable
    }
    const [file] = children;
    expect(children).toHaveLength(1);
    expect(file).toMatchObject({
      name: "dump",
      meta: { type: "file", mode: 0o777, mtimeNs: BigInt(environment.nowMs()) * 1_000_000n },
    });
    expect(file && (await textOf(file))).toBe("abc");
    await expect(file && textOf(file)).rejects.toMatchObject({ code: "source-failed" });
    await expect(textOf(root)).rejects.toMatchObject({ code: "source-failed" });
  });
});

describe("memorySource", () => {
  test("lists in bytewise order, with every kind of entry", async () => {
    const root = memorySource("r", {
      children: {
        "\u{1f600}": { data: "x" },
        "\uffee": { target: "t" },
        b: { special: true },
        a: { children: {} },
        c: { error: new Error("no") },
      },
    });
    expect(await namesOf(root)).toEqual([
      "a directory",
      "b other",
      "c: no",
      "\uffee symlink",
      "\u{1f600} file",
    ]);
  });

  test("gives data, targets and metadata", async () => {
    const file = memorySource("f", {
      data: "text",
      mode: 0o600,
      mtimeNs: 5n,
      uid: 1,
      gid: 2,
      deviceId: 3,
    });
    expect(file.meta).toEqual({
      type: "file",
      mode: 0o600,
      sizeBytes: 4,
      mtimeNs: 5n,
      uid: 1,
      gid: 2,
    });
    expect(file.deviceId).toBe(3);
    expect(await textOf(file)).toBe("text");
    expect(await textOf(memorySource("l", { target: "to" }))).toBe("to");
    await expect(textOf(memorySource("d", { children: {} }))).rejects.toMatchObject({
      code: "source-failed",
    });
    await expect(namesOf(file)).rejects.toMatchObject({ code: "source-failed" });
  });
});
