import { forEachLimit } from "../base/concurrency.ts";
import { PARALLEL_READS } from "../base/budget.ts";
import type { CallOptions } from "../base/environment.ts";
import { JsonRecord } from "../base/json.ts";
import { damageOf, type DamagedBlob } from "../blob/damaged-blob.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import type { BlobId, BlobInfo } from "../blob/store.ts";
import { openBlob, sealBlob } from "../format/sealed-blob.ts";
import type { IndexBlobs, IndexBlobsOptions, LiveIndexBlobs } from "./index-blobs.ts";
import { readIndexBlob } from "./read-index-blob.ts";

/** Plain text, there to stop clients older than epochs (spec §1.1). */
const POISON_ID =
  "n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version_upgrade_required";

/** Index blobs as they were before epochs (spec §4.7): all `n` blobs but those that a compaction replaced. */
export function createLegacyIndexBlobs(options: IndexBlobsOptions): IndexBlobs {
  const { store, sealer, cache } = options;
  return {
    live: async ({ signal } = {}) => {
      const found = await activeBlobs(options, { signal });
      return { ...found, watermarkSeconds: 0, writeEpoch: 0 };
    },
    read: (id, { signal } = {}) => readIndexBlob(options, id, { signal }),
    write: async (files, { sessionId, signal }) => {
      const put: BlobInfo[] = [];
      for (const plain of files) {
        const { id, bytes } = sealBlob({ prefix: "n", suffix: sessionId, plain, sealer });
        signal?.throwIfAborted();
        put.push(await store.put(id, [bytes], { signal }));
        await cache?.put(id, [bytes]);
      }
      return put;
    },
  };
}

async function activeBlobs(
  options: IndexBlobsOptions,
  { signal }: CallOptions,
): Promise<Pick<LiveIndexBlobs, "blobs" | "spare" | "damaged">> {
  const { store } = options;
  // Before the logs: the output of a compaction that a later listing shows may be missing here, and then its inputs
  // are still taken.
  const active = new Map<string, BlobInfo>();
  for await (const blob of store.list("n", { signal })) {
    if (blob.id !== POISON_ID) {
      active.set(blob.id, blob);
    }
  }
  const compactions: Compaction[] = [];
  const damaged: DamagedBlob[] = [];
  await forEachLimit(
    store.list("m", { signal }),
    { limit: PARALLEL_READS, signal },
    async ({ id }) => {
      const compaction = await readCompaction(options, id, { signal }).catch((cause: unknown) => {
        const error = damageOf(cause);
        if (error === undefined) {
          throw cause;
        }
        damaged.push({ id, error });
        return undefined;
      });
      if (compaction?.outputs.every((output) => active.has(output))) {
        compactions.push(compaction);
      }
    },
  );
  const spare: BlobInfo[] = [];
  for (const { inputs, outputs } of compactions) {
    for (const input of inputs) {
      const blob = active.get(input);
      if (blob !== undefined && !outputs.includes(input)) {
        active.delete(input);
        spare.push(blob);
      }
    }
  }
  return { blobs: [...active.values()], spare, damaged };
}

/** What the log of one compaction says. */
interface Compaction {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** `undefined` when the log is gone: then its inputs have been deleted before it. */
export async function readCompaction(
  { store, sealer }: IndexBlobsOptions,
  id: BlobId,
  { signal }: CallOptions,
): Promise<Compaction | undefined> {
  const sealed = await getIfPresent(store, id, { signal });
  if (sealed === undefined) {
    return undefined;
  }
  const record = JsonRecord.parse(openBlob(id, sealed, sealer), `compaction log ${id}`);
  return { inputs: idsIn(record, "inputMetadata"), outputs: idsIn(record, "outputMetadata") };
}

function idsIn(record: JsonRecord, key: string): string[] {
  return (record.records(key) ?? []).map((blob) => blob.requireString("id"));
}
