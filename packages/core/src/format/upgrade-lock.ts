import { nsToMs } from "../base/time.ts";
import type { RepositoryFormat } from "./format.ts";

/** True when an upgrade wants every other client to keep off the storage at `nowMs` (spec §2.8). */
export function isLocked(format: Pick<RepositoryFormat, "upgradeLock">, nowMs: number): boolean {
  const lock = format.upgradeLock;
  if (lock === undefined) {
    return false;
  }
  const drainMs = lock.maxPermittedClockDriftMs + 2 * lock.ioDrainTimeoutMs;
  const fromMs = nsToMs(lock.creationTimeNs) + lock.advanceNoticeMs - drainMs;
  return lock.advanceNoticeMs < drainMs || nowMs >= fromMs;
}
