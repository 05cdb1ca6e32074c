import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { ContentId } from "../index/content-id.ts";

declare const kind: unique symbol;
/** Usually 32 hex digits; any non-empty text that Kopia stored is accepted (spec §6.1). */
export type ManifestId = string & { readonly [kind]: "manifest" };

/** Throws `invalid-argument`. */
export function parseManifestId(text: string): ManifestId {
  if (text.length === 0 || text.length > 256) {
    throw new VarveError(
      "invalid-argument",
      `not a manifest id: ${JSON.stringify(text.slice(0, 300))}`,
    );
  }
  return text as ManifestId; // the check above is the definition of the brand
}

/** `type` is required. */
export type Labels = Readonly<Record<string, string>>;

export interface ManifestInfo {
  readonly id: ManifestId;
  readonly labels: Labels;
  readonly modifiedNs: bigint;
}

/** A manifest content that could not be read: whatever it held is missing from every answer. */
export interface DamagedManifests {
  readonly contentId: ContentId;
  readonly reason: string;
}

/** Small labelled JSON documents, all of them in memory (spec §6.1). */
export interface ManifestStore {
  /** Pending until `flush`. Throws `invalid-argument` without a type label. */
  put(labels: Labels, payload: unknown, options?: CallOptions): Promise<ManifestId>;
  /** Throws `manifest-not-found`. The payload is JSON of unknown origin. */
  get(id: ManifestId, options?: CallOptions): Promise<ManifestInfo & { payload: unknown }>;
  /** Those that carry every given label, oldest modification first; pending ones included. */
  find(labels: Labels, options?: CallOptions): Promise<readonly ManifestInfo[]>;
  /** A tombstone, pending until `flush`. A missing manifest is success. */
  delete(id: ManifestId, options?: CallOptions): Promise<void>;
  /**
   * Writes what is pending as one content with prefix `m`, and merges all such contents into it when there are many;
   * the caller then flushes the contents.
   */
  flush(options?: CallOptions): Promise<void>;
  /** Forgets what was loaded, so that the next call sees new contents; pending changes stay. */
  refresh(options?: CallOptions): Promise<void>;
  /**
   * What the last load could not read. While there is any, a snapshot may exist that `find` does not show: nothing that
   * deletes what "no snapshot needs" may run.
   */
  readonly damaged: readonly DamagedManifests[];
}
