/**
 * The times that make maintenance safe beside other clients without any lock (behaviour §4.3, §4.5): a client must have seen
 * or refreshed everything within them. All are milliseconds.
 */
export interface SafetyMargins {
  /** A content younger than this is never marked deleted. */
  readonly minContentAgeMs: number;
  /** A content younger than this is not moved to another pack. */
  readonly minRewriteAgeMs: number;
  /** A pack that no index names is kept for this long. */
  readonly minPackAgeMs: number;
  /** A session whose marker is younger may still commit its packs. */
  readonly sessionExpiryMs: number;
  /** Two collections count as two only with this much between them. */
  readonly minBetweenCollectionsMs: number;
  /** False: what is marked deleted may be dropped at once. */
  readonly requireTwoCollections: boolean;
  /** Entries are dropped only when they were deleted this long before the first of the two collections. */
  readonly dropMarginMs: number;
  /** From the end of a rewrite to the deletion of what it has left behind. */
  readonly minRewriteToDeletionMs: number;
  /** Without epochs: for how long a client may still work with index blobs that were merged into others. */
  readonly indexSettleMs: number;
}

const HOUR_MS = 3_600_000;

/** `none` is right only while no other client is active. */
export type Safety = "full" | "none";

export const SAFETY: Readonly<Record<Safety, SafetyMargins>> = {
  full: {
    minContentAgeMs: 24 * HOUR_MS,
    minRewriteAgeMs: 2 * HOUR_MS,
    minPackAgeMs: 24 * HOUR_MS,
    sessionExpiryMs: 96 * HOUR_MS,
    minBetweenCollectionsMs: 4 * HOUR_MS,
    requireTwoCollections: true,
    dropMarginMs: HOUR_MS,
    minRewriteToDeletionMs: HOUR_MS,
    indexSettleMs: HOUR_MS,
  },
  none: {
    minContentAgeMs: 0,
    minRewriteAgeMs: 0,
    minPackAgeMs: 0,
    sessionExpiryMs: 0,
    minBetweenCollectionsMs: 0,
    requireTwoCollections: false,
    dropMarginMs: 0,
    minRewriteToDeletionMs: 0,
    indexSettleMs: 0,
  },
};

/** Maintenance is refused when storage's clock and this one differ by more. */
export const MAX_CLOCK_SKEW_MS: number = 5 * 60_000;
/** Blobs that were written this long after the start of maintenance, or later, are not even looked at. */
export const CUTOFF_SLACK_MS = 1000;
/** A pack that is filled to less than this share of the largest is rewritten together with others. */
export const SHORT_PACK_SHARE = 0.6;
