import {
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  lchownSync,
  lstatSync,
  lutimesSync,
} from "node:fs";
import type { EntryMeta } from "../snapshot/entry.ts";

/** Mode, owner and times of what was restored; symlinks are never followed. */

export interface MetadataOptions {
  readonly skipOwners: boolean;
  readonly skipPermissions: boolean;
  readonly skipTimes: boolean;
  readonly ignorePermissionErrors: boolean;
}

const SET_ID_BITS = 0o6000;

/**
 * Applies `meta` to an open file or directory: owner, then mode (a change of owner clears setuid), then times. Setuid
 * and setgid are kept only for the recorded owner: a program that belonged to somebody else must not run with the
 * rights of whoever restored it. True when the times came out exact.
 */
export function applyMetadata(fd: number, meta: EntryMeta, options: MetadataOptions): boolean {
  let owned = false;
  if (options.skipOwners) {
    const { uid, gid } = fstatSync(fd);
    owned = uid === meta.uid && gid === meta.gid;
  } else {
    owned = allowed(options, () => fchownSync(fd, meta.uid, meta.gid));
  }
  if (!options.skipPermissions) {
    allowed(options, () => fchmodSync(fd, owned ? meta.mode : meta.mode & ~SET_ID_BITS));
  }
  if (options.skipTimes) {
    return true;
  }
  const time = nodeTime(meta.mtimeNs);
  return (
    !allowed(options, () => futimesSync(fd, time, time)) ||
    isWholeSecond(meta.mtimeNs) ||
    fstatSync(fd, { bigint: true }).mtimeNs === meta.mtimeNs
  );
}

/** Owner and times of a symlink. True when the times came out exact. */
export function applyLinkMetadata(
  path: string | Buffer,
  meta: EntryMeta,
  options: MetadataOptions,
): boolean {
  if (!options.skipOwners) {
    allowed(options, () => lchownSync(path, meta.uid, meta.gid));
  }
  if (options.skipTimes) {
    return true;
  }
  const time = nodeTime(meta.mtimeNs);
  return (
    !allowed(options, () => lutimesSync(path, time, time)) ||
    isWholeSecond(meta.mtimeNs) ||
    lstatSync(path, { bigint: true }).mtimeNs === meta.mtimeNs
  );
}

/** False when the system forbade it and that is to be ignored. */
function allowed(options: MetadataOptions, change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // what node:fs throws
    if (options.ignorePermissionErrors && (code === "EPERM" || code === "EACCES")) {
      return false;
    }
    throw error;
  }
}

function isWholeSecond(timeNs: bigint): boolean {
  return timeNs >= 0n && timeNs % 1_000_000_000n === 0n;
}

/**
 * What makes Node set the time that is nearest below. Node 20 cuts the double to microseconds, which a quarter of
 * one keeps from falling to the one before; it cannot set a fraction before 1970, and takes only a Date there.
 */
function nodeTime(timeNs: bigint): number | Date {
  const microseconds = timeNs / 1000n;
  if (timeNs < 0n) {
    return new Date(Math.floor(Number(timeNs) / 1e9) * 1000);
  }
  return isWholeSecond(timeNs)
    ? Number(timeNs / 1_000_000_000n)
    : Number(microseconds / 1_000_000n) + (Number(microseconds % 1_000_000n) + 0.25) / 1e6;
}
