import type { Policy } from "./policy.ts";

/** Effective policies of a source and of everything below it: subdirectory policies are truly merged with their parents'. */
export interface PolicyTree {
  /** Fully merged, defaults included. */
  readonly effective: Policy;
  /** What is defined exactly here, unmerged: only this gives non-inherited things (folder actions, ignore rules of this place). */
  readonly defined: Policy | undefined;
  /** The policies of a child directory; the same effective policy when nothing is defined at or below it. */
  child(name: string): PolicyTree;
}
