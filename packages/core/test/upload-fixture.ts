import { utf8 } from "../src/base/bytes.ts";
import type { Environment } from "../src/base/environment.ts";
import type { BlobId, BlobStore } from "../src/blob/store.ts";
import { openCodecs } from "../src/compression/registry.ts";
import { openCrypto } from "../src/crypto/registry.ts";
import type { RepositoryFormat } from "../src/format/format.ts";
import { readFormat } from "../src/format/format-store.ts";
import { createMemoryStore } from "../src/blob/memory-store.ts";
import { policyTree } from "../src/policy/policy-tree.ts";
import type { Policy } from "../src/policy/policy.ts";
import { createRepository } from "../src/repository/create-repository.ts";
import { type OpenRepositoryOptions, openWithFormat } from "../src/repository/open-repository.ts";
import type { Repository } from "../src/repository/repository.ts";
import type { DirectoryEntry } from "../src/snapshot/entry.ts";
import { readDirectory } from "../src/snapshot/read-directory.ts";
import type { SnapshotSource } from "../src/snapshot/snapshot-manifest.ts";
import type { PolicyTree } from "../src/policy/policy-tree.ts";
import { type MemoryNode, memorySource } from "../src/source/memory-source.ts";
import type { SourceEntry } from "../src/source/source-entry.ts";
import { type SeededEnvironment, seededEnvironment } from "../src/testing/seeded-environment.ts";

/** What tests of backups share: a repository in memory, trees in memory, and ways to look at what was stored. */

export const PASSWORD = "correct horse";
export const SOURCE: SnapshotSource = { host: "host", userName: "user", path: "/data" };

export interface TestRepository {
  readonly store: BlobStore;
  readonly environment: SeededEnvironment;
  readonly repository: Repository;
}

const START_MS = Date.UTC(2030, 0, 1);

/** An empty repository and its format, made once: deriving a key from a password takes half a second. */
const template = (async () => {
  const environment = seededEnvironment({ seed: 1, startMs: START_MS });
  const store = createMemoryStore({ environment });
  await createRepository(store, { password: PASSWORD, environment });
  const format = await readFormat(store, { password: PASSWORD, crypto: await openCrypto() });
  return { store, format };
})();

const primitives = Promise.all([openCrypto(), openCodecs()]);

/** Each call gives a repository of its own; `wrap` stands between it and its store. */
export async function createTestRepository(
  options: { wrap?: (store: BlobStore) => BlobStore } = {},
): Promise<TestRepository> {
  const environment = seededEnvironment({ seed: 2, startMs: START_MS + 1000 });
  const empty = createMemoryStore({ environment });
  await fillWithRepository(empty);
  const store = options.wrap?.(empty) ?? empty;
  return { store, environment, repository: await openTestRepository(store, environment) };
}

/** Puts the new repository of all these tests into an empty store. */
export async function fillWithRepository(empty: BlobStore): Promise<void> {
  const { store } = await template;
  for (const id of await blobIds(store)) {
    await empty.put(id, [await store.get(id)]);
  }
}

/** Another client of the same repository. */
export async function openTestRepository(
  store: BlobStore,
  environment: Environment,
  options: Pick<OpenRepositoryOptions, "notes" | "executor"> & {
    readonly maxPackSize?: number;
  } = {},
): Promise<Repository> {
  const [crypto, codecs] = await primitives;
  const format = await testFormat();
  const { maxPackSize = format.maxPackSize, ...rest } = options;
  const opened = { ...rest, password: PASSWORD, environment, crypto, codecs };
  return openWithFormat(store, { ...format, maxPackSize }, opened);
}

/** Of all these repositories. */
export async function testFormat(): Promise<RepositoryFormat> {
  return (await template).format;
}

/** `policy` for the whole source, without asking a repository. */
export function testPolicy(policy: Policy = {}): PolicyTree {
  return policyTree(SOURCE, [{ target: { type: "path", ...SOURCE }, policy }]);
}

type Children = Readonly<Record<string, MemoryNode>>;

/** A root directory of `children`. */
export function tree(children: Children): SourceEntry {
  return memorySource("data", { children });
}

/** The paths below a stored directory with the text of files and the target of links. */
export async function storedTree(
  repository: Repository,
  root: DirectoryEntry,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const visit = async (entry: DirectoryEntry, path: string): Promise<void> => {
    if (entry.type !== "directory") {
      found[path] = await storedText(repository, entry);
      return;
    }
    const { entries } = await readDirectory(repository, entry.object);
    if (entries.length === 0) {
      found[`${path}/`] = "";
    }
    for (const child of entries) {
      await visit(child, path === "" ? child.name : `${path}/${child.name}`);
    }
  };
  await visit(root, "");
  return found;
}

export async function storedText(repository: Repository, entry: DirectoryEntry): Promise<string> {
  const reader = await repository.objects.open(entry.object);
  const bytes = await reader.read({ offset: 0, length: reader.size });
  return Buffer.from(bytes).toString("latin1");
}

export async function blobIds(store: BlobStore, prefix = ""): Promise<BlobId[]> {
  const ids: BlobId[] = [];
  for await (const { id } of store.list(prefix)) {
    ids.push(id);
  }
  return ids.sort();
}

/** A stream that runs `before` each time it is read. */
export function fileWith(
  name: string,
  data: string,
  options: { before?: () => void; meta?: Partial<SourceEntry["meta"]> } = {},
): SourceEntry {
  const plain = memorySource(name, { data });
  return {
    ...plain,
    meta: { ...plain.meta, ...options.meta },
    async *read() {
      options.before?.();
      yield utf8(data);
    },
  };
}

/** A directory of entries at hand, in the given order. */
export function directoryOf(
  name: string,
  children: readonly (SourceEntry | { readonly name: string; readonly error: Error })[],
): SourceEntry {
  return {
    ...memorySource(name, { children: {} }),
    async *children() {
      yield* children;
    },
    child: async (wanted) =>
      children.find((child): child is SourceEntry => "meta" in child && child.name === wanted),
  };
}
