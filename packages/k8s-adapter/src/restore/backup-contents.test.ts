import { gzipSync } from "node:zlib";
import { isVarveError, parseBlobId } from "@varve/core";
import { createMemoryStore } from "@varve/core/blob";
import fc from "fast-check";
import { pack } from "tar-stream";
import { expect, test } from "vitest";
import { BackupContents } from "./backup-contents.ts";

interface Entry {
  readonly name: string;
  readonly text?: string;
  readonly type?: "file" | "symlink" | "directory" | "link";
}

async function tarball(entries: readonly Entry[]): Promise<Uint8Array> {
  const archive = pack();
  for (const { name, text = "", type = "file" } of entries) {
    archive.entry({ name, type, linkname: "/etc/passwd" }, type === "file" ? text : "");
  }
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) {
    parts.push(part as Uint8Array); // a byte stream
  }
  return gzipSync(Buffer.concat(parts));
}

async function read(bytes: Uint8Array): Promise<BackupContents> {
  const store = createMemoryStore();
  await store.put(parseBlobId("b.tar.gz"), [bytes]);
  return await BackupContents.read(store, "b", {});
}

const text = (name: string, namespace?: string): string =>
  JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: {} });

test("a hostile tarball: what is no object at its place is left out, and nothing leaves the list", async () => {
  const folder = "resources/configmaps/namespaces/shop";
  await using contents = await read(
    await tarball([
      { name: `${folder}/good.json`, text: text("good", "shop") },
      { name: `${folder}/../../../../etc/cron.json`, text: text("cron", "shop") },
      {
        name: "/resources/configmaps/namespaces/shop/absolute.json",
        text: text("absolute", "shop"),
      },
      { name: `${folder}/link.json`, type: "symlink" },
      { name: `${folder}/hard.json`, type: "link" },
      { name: `${folder}/folder.json`, type: "directory" },
      { name: `${folder}/other.json`, text: text("kube-root", "kube-system") },
      { name: `${folder}/cluster.json`, text: text("cluster") },
      { name: `${folder}/list.json`, text: "[]" },
      { name: `${folder}/null.json`, text: "null" },
      { name: `${folder}/cut.json`, text: '{"apiVersion":' },
      { name: "resources/__proto__/cluster/constructor.json", text: text("constructor") },
      { name: `${folder}/good.json`, text: text("good", "shop") },
    ]),
  );
  expect(contents.groupResources).toEqual(["configmaps", "__proto__"]);
  expect(contents.items("configmaps").map(({ name }) => name)).toEqual(["good"]);
  expect(contents.problems).toHaveLength(5);
  expect(contents.find("toString", undefined, "constructor")).toBeUndefined();
});

test("a hostile tarball: bytes of any kind are contents or corrupt", async () => {
  const good = await tarball([
    { name: "resources/configmaps/namespaces/shop/good.json", text: text("good", "shop") },
  ]);
  const outcome = async (bytes: Uint8Array): Promise<boolean> => {
    try {
      await using contents = await read(bytes);
      return contents.items("configmaps").length <= 1;
    } catch (error) {
      return isVarveError(error, "corrupt");
    }
  };
  expect(await outcome(good.subarray(0, good.length - 20))).toBe(true);
  const damage = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }));
  await fc.assert(
    fc.asyncProperty(damage, fc.uint8Array({ maxLength: 2000 }), async ([at, flip], raw) => {
      const mutated = Uint8Array.from(good, (byte, index) => (index === at ? byte ^ flip : byte));
      return (await outcome(mutated)) && (await outcome(raw)) && (await outcome(gzipSync(raw)));
    }),
    { seed: 1, numRuns: 40 },
  );
});
