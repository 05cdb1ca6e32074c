import { VarveError } from "../base/errors.ts";
import { passThrough } from "../blob/pass-through.ts";
import { resolveRange } from "../blob/range.ts";
import type { BlobDraft, BlobId, BlobInfo, BlobStore } from "../blob/store.ts";

/** A put or delete that is about to happen; `number` counts both from 1. */
export interface StorageWrite {
  readonly number: number;
  readonly kind: "put" | "delete";
  readonly id: BlobId;
}

/** What goes wrong with one write; either way it throws `storage-failed`. */
export interface WriteFault {
  /** `lost`: nothing was done. `half-acknowledged`: it was done all the same. */
  readonly outcome: "lost" | "half-acknowledged";
  /** From then on every call throws: the client is dead, the storage is not. */
  readonly crash?: boolean;
  /** Whether the error says that the call may be made again. */
  readonly retryable?: boolean;
}

/** `missing`: as if it were not there. `corrupt`: one bit of all that is read is wrong. `truncated`: the second half is gone. */
export type ReadFault = "missing" | "corrupt" | "truncated";

export interface FaultPlan {
  readonly write?: (write: StorageWrite) => WriteFault | undefined;
  /** Asked at every read, stat and listing of a blob. */
  readonly read?: (id: BlobId) => ReadFault | undefined;
}

export interface FaultyStore extends BlobStore {
  /** Puts and deletes so far, the failed ones included. */
  readonly writes: number;
}

/** `store` with the faults of `plan`; without any it behaves as `store` does. Owns `store`. */
export function faultyStore(store: BlobStore, plan: FaultPlan = {}): FaultyStore {
  let writes = 0;
  let isCrashed = false;

  const refuseIfCrashed = (): void => {
    if (isCrashed) {
      throw new VarveError("storage-failed", "injected fault: this client has crashed");
    }
  };
  const readFault = (id: BlobId): ReadFault | undefined => {
    refuseIfCrashed();
    return plan.read?.(id);
  };

  const write = async <T>(
    kind: StorageWrite["kind"],
    id: BlobId,
    perform: () => Promise<T>,
  ): Promise<T> => {
    refuseIfCrashed();
    writes += 1;
    const number = writes;
    const fault = plan.write?.({ number, kind, id });
    if (fault === undefined) {
      return await perform();
    }
    isCrashed ||= fault.crash === true;
    if (fault.outcome === "half-acknowledged") {
      await perform();
    }
    const what = `injected fault: ${kind} ${id}, write ${number}, ${fault.outcome}`;
    throw new VarveError("storage-failed", what, { retryable: fault.retryable ?? false });
  };

  const draft = store.draft?.bind(store);
  return {
    ...passThrough(store),
    ...faultyReads(store, { readFault, refuseIfCrashed }),
    get writes() {
      return writes;
    },
    draft:
      draft &&
      (async (id, options) => {
        refuseIfCrashed();
        return faultyDraft(await draft(id, options), (publish) => write("put", id, publish));
      }),
    put: (id, parts, options) => write("put", id, () => store.put(id, parts, options)),
    delete: (id, options) => write("delete", id, () => store.delete(id, options)),
  };
}

/** To publish it is a put. */
function faultyDraft(
  draft: BlobDraft,
  put: (publish: () => Promise<BlobInfo>) => Promise<BlobInfo>,
): BlobDraft {
  return {
    ...draft,
    async publish(pieces, options) {
      try {
        return await put(() => draft.publish(pieces, options));
      } catch (error) {
        await draft.discard();
        throw error;
      }
    },
  };
}

function faultyReads(
  store: BlobStore,
  faults: {
    readonly readFault: (id: BlobId) => ReadFault | undefined;
    readonly refuseIfCrashed: () => void;
  },
): Pick<BlobStore, "get" | "stat" | "list" | "extendRetention"> {
  const { readFault, refuseIfCrashed } = faults;
  return {
    async get(id, options = {}) {
      const fault = readFault(id);
      if (fault === undefined) {
        return await store.get(id, options);
      }
      refuseMissing(id, fault);
      const whole = await store.get(id, { signal: options.signal });
      const { offset, length } = resolveRange(id, faultySize(whole.length, fault), options.range);
      const bytes = whole.slice(offset, offset + length);
      return fault === "corrupt" ? flipMiddleBit(bytes) : bytes;
    },

    async stat(id, options) {
      const fault = readFault(id);
      refuseMissing(id, fault);
      return faultyInfo(await store.stat(id, options), fault);
    },

    async *list(prefix, options) {
      refuseIfCrashed();
      for await (const info of store.list(prefix, options)) {
        const fault = readFault(info.id);
        if (fault !== "missing") {
          yield faultyInfo(info, fault);
        }
      }
    },

    async extendRetention(id, retention, options) {
      refuseMissing(id, readFault(id));
      await store.extendRetention(id, retention, options);
    },
  };
}

function refuseMissing(id: BlobId, fault: ReadFault | undefined): void {
  if (fault === "missing") {
    throw new VarveError("blob-not-found", `injected fault: blob ${id} is missing`);
  }
}

function faultyInfo(info: BlobInfo, fault: ReadFault | undefined): BlobInfo {
  return { ...info, size: faultySize(info.size, fault) };
}

function faultySize(size: number, fault: ReadFault | undefined): number {
  return fault === "truncated" ? Math.floor(size / 2) : size;
}

function flipMiddleBit(bytes: Uint8Array): Uint8Array {
  if (bytes.length > 0) {
    const middle = Math.floor(bytes.length / 2);
    bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  }
  return bytes;
}
