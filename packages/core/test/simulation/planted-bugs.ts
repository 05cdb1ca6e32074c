import { passThrough } from "../../src/blob/pass-through.ts";
import type { BlobId, BlobInfo, BlobStore } from "../../src/blob/store.ts";
import { openCrypto } from "../../src/crypto/registry.ts";
import { advanceWatermark } from "../../src/epoch/cleanup-epochs.ts";
import { createSealer } from "../../src/format/sealer.ts";
import { contentPrefix } from "../../src/index/content-id.ts";
import { deleteUnreferencedPacks } from "../../src/maintenance/delete-packs.ts";
import { runMaintenance } from "../../src/maintenance/run.ts";
import { SAFETY, type SafetyMargins } from "../../src/maintenance/safety.ts";
import { collectSnapshotGarbage } from "../../src/maintenance/snapshot-gc.ts";
import type { Repository } from "../../src/repository/repository.ts";
import type { Bugs } from "./scenario.ts";
import type { World } from "./world.ts";

/** Mistakes that someone could make here one day. The simulation must find each of them, or it proves nothing. */

export interface PlantedBug extends Bugs {
  readonly name: string;
  /** A seed near which it is found: the search begins there and goes on as far as any other. */
  readonly near?: number;
}

const HOUR_MS = 3_600_000;
const crypto = await openCrypto();

/** One round of collect, drop and delete by other margins than maintenance has. */
async function maintainWith(
  repository: Repository,
  world: World,
  changed: Partial<SafetyMargins> & { readonly isDropping?: boolean },
): Promise<void> {
  const margins = { ...SAFETY.full, ...changed };
  const startMs = world.nowMs;
  const { environment, format, blobs: store } = repository;
  await repository.refresh();
  await collectSnapshotGarbage(repository, { startMs, minContentAgeMs: margins.minContentAgeMs });
  if (changed.isDropping === true) {
    const cutoffMs = environment.nowMs() - margins.dropMarginMs;
    await advanceWatermark({ store, format, environment }, Math.floor(cutoffMs / 1000));
    await repository.refresh();
  }
  await deletePacks(repository, world, margins);
}

async function deletePacks(
  repository: Repository,
  { nowMs: startMs }: World,
  margins: SafetyMargins,
): Promise<void> {
  const { environment, format } = repository;
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const sealer = createSealer(format, { crypto, randomBytes });
  await deleteUnreferencedPacks(repository, { startMs, margins, sealer });
}

function maintenance(changed: Parameters<typeof maintainWith>[2]): Bugs["maintain"] {
  return (repository, world) => maintainWith(repository, world, changed);
}

/** Full maintenance over a repository that is not quite right. */
function maintenanceOf(wrap: (repository: Repository) => Repository): Bugs["maintain"] {
  return async (repository) => {
    await runMaintenance(wrap(repository), { mode: "full", force: true });
  };
}

function withContents(
  repository: Repository,
  changed: Partial<Repository["contents"]>,
): Repository {
  let { contents } = repository;
  for (const [name, value] of Object.entries(changed)) {
    contents = withMember(contents, name, value);
  }
  return withMember(repository, "contents", contents);
}

/** `target` with another value of one member; methods still work on what they belong to. */
function withMember<T extends object>(target: T, member: string, changed: unknown): T {
  return new Proxy(target, {
    get(original, name) {
      const value: unknown = name === member ? changed : Reflect.get(original, name, original);
      return typeof value === "function" ? value.bind(original) : value;
    },
  });
}

/** Puts of blobs that start with `prefix` are acknowledged hours before they are done. */
function lateStore(prefix: string): Bugs["writerStore"] {
  return (store, world) => ({
    ...passThrough(store),
    put: async (id, parts, options) => {
      if (!id.startsWith(prefix)) {
        return await store.put(id, parts, options);
      }
      const copies = parts.map((part) => part.slice());
      void world.sleep(world.chance.between(0, 300) * HOUR_MS).then(() => store.put(id, copies));
      return { id, size: 1, mtimeMs: world.nowMs };
    },
  });
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: "collection takes contents that are young, and drops them at once",
    near: 15,
    maintain: maintenance({
      minContentAgeMs: 0,
      dropMarginMs: 0,
      isDropping: true,
      minPackAgeMs: 0,
    }),
  },
  {
    name: "marked contents are dropped without a second collection",
    near: 66,
    maintain: maintenance({ dropMarginMs: -HOUR_MS, isDropping: true, minContentAgeMs: HOUR_MS }),
  },
  {
    name: "packs are deleted while their session has not committed yet",
    near: 135,
    maintain: maintenance({ minPackAgeMs: 0, sessionExpiryMs: 0 }),
  },
  {
    name: "the index is read before the packs are listed",
    maintain: async (repository, world) => {
      await repository.refresh();
      await world.sleep(world.chance.between(0, 3) * HOUR_MS);
      const stale = withMember(repository, "refresh", async () => {});
      await deletePacks(stale, world, { ...SAFETY.full, minPackAgeMs: 0 });
    },
  },
  {
    name: "session markers are not written",
    near: 133,
    maintain: maintenance({ minPackAgeMs: 0 }),
    writerStore: (store) => ({
      ...passThrough(store),
      put: async (id, parts, options) =>
        id.startsWith("s") ? { id, size: 0, mtimeMs: 0 } : await store.put(id, parts, options),
    }),
  },
  {
    name: "a put of a pack is acknowledged before it is done",
    writerStore: lateStore("p"),
  },
  {
    name: "a put of metadata is acknowledged before it is done",
    writerStore: lateStore("q"),
  },
  {
    name: "a put of an index is acknowledged before it is done",
    writerStore: lateStore("xn"),
  },
  {
    name: "a listing that is days old is trusted",
    maintainerStore: (store, world) => staleListings(store, world, ""),
  },
  {
    name: "what is needed again stays marked",
    near: 156,
    maintain: maintenanceOf((repository) => withContents(repository, { unremove: () => {} })),
  },
  {
    name: "directories are not in use",
    maintain: maintenanceOf((repository) =>
      withContents(repository, {
        entries: function* entries(options) {
          for (const info of repository.contents.entries(options)) {
            yield contentPrefix(info.id) === "k"
              ? { ...info, id: info.id.replace("k", "l") as never }
              : info;
          }
        },
        remove: (ids) => repository.contents.remove(ids.map((id) => id.replace("l", "k") as never)),
      }),
    ),
  },
  {
    name: "manifests are collected like everything else",
    maintain: async (repository) => {
      const manifests = [...repository.contents.entries({ prefix: "m" })];
      repository.contents.remove(manifests.slice(0, 1).map(({ id }) => id));
      await runMaintenance(repository, { mode: "full", force: true });
    },
  },
  {
    name: "contents are moved without being flushed, and their packs deleted",
    near: 7,
    maintain: async (repository, world) => {
      await runMaintenance(repository, { mode: "full", force: true });
      const [oldest] = [...repository.contents.entries({ prefix: "" })];
      if (oldest !== undefined && world.chance.happens(0.2)) {
        await repository.blobs.delete(oldest.packBlobId);
      }
    },
  },
  {
    name: "index blobs are deleted before the compaction that replaces them is whole",
    maintain: async (repository) => {
      await runMaintenance(repository, { mode: "full", force: true });
      const index: BlobId[] = [];
      for await (const { id } of repository.blobs.list("xn")) {
        index.push(id);
      }
      if (index.length > 8 && index[0] !== undefined) {
        await repository.blobs.delete(index[0]);
      }
    },
  },
  {
    name: "a writer counts on an index that is days old",
    near: 38,
    writerStore: (store, world) => staleListings(store, world, "x"),
  },
];

/** Listings of what starts with `kind` are those of up to three days before, for all clients that are so mistaken. */
function staleListings(store: BlobStore, world: World, kind: string): BlobStore {
  const listings = staleListingsOf.get(world) ?? new Map<string, Listing>();
  staleListingsOf.set(world, listings);
  return {
    ...passThrough(store),
    async *list(prefix, options) {
      let known = listings.get(prefix);
      if (known === undefined || world.nowMs - known.atMs > 72 * HOUR_MS) {
        known = { atMs: world.nowMs, blobs: [] };
        for await (const info of store.list(prefix, options)) {
          known.blobs.push(info);
        }
        listings.set(prefix, known);
      }
      yield* prefix.startsWith(kind) ? known.blobs : store.list(prefix, options);
    },
  };
}

interface Listing {
  readonly atMs: number;
  readonly blobs: BlobInfo[];
}

const staleListingsOf = new WeakMap<World, Map<string, Listing>>();
