import { equalBytes } from "../base/bytes.ts";
import { type CallOptions, type Environment, systemEnvironment } from "../base/environment.ts";
import { errorMessage, isVarveError, VarveError } from "../base/errors.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import { type BlobId, type BlobInfo, type BlobStore, parseBlobId } from "../blob/store.ts";
import { keysFit } from "../content/keys-fit.ts";
import { type Crypto, openCrypto } from "../crypto/registry.ts";
import { BLOB_CONFIG, FORMAT_BLOB, type RepositoryFormat } from "../format/format.ts";
import { unlockFormat } from "../format/format-blob.ts";
import { FORMAT_COPY, keepFormatCopy } from "../format/format-copy.ts";
import { findRecoveryCopy, RECOVERY_WINDOW_BYTES } from "../format/recovery-copy.ts";
import { retainingStore } from "../format/retaining-store.ts";
import { createSealer } from "../format/sealer.ts";

/**
 * Puts `kopia.repository` back when it is lost or damaged, from whatever copy there is: varve's own, that of an upgrade, one in a
 * pack of format version 1 (spec §2.5), or one that was kept elsewhere. A copy counts when it opens with the password and its keys
 * open something of this repository.
 */

export interface RecoverFormatOptions extends CallOptions {
  readonly password: string;
  /** False: only tell. */
  readonly commit: boolean;
  /** The bytes of copies that were kept elsewhere, as in a mirror; looked at first. */
  readonly copies?: readonly Uint8Array[] | undefined;
  /** Default: the real clock and random source. */
  readonly environment?: Environment | undefined;
}

export interface RecoverFormatReport {
  /** What is wrong with the blob; left out when it opens, and then nothing is done. */
  readonly problem?: string | undefined;
  /** Where a copy was found: a blob id, or `given`. */
  readonly from?: string | undefined;
  /** Under which id what lay in its place is kept. */
  readonly replaced?: BlobId | undefined;
}

const UPGRADE_BACKUP_PREFIX = "kopia.repository.backup.";
// All packs of a repository have a copy, or none: a few damaged ones must not hide it.
const MAX_PACKS_TRIED = 64;

/** Throws `not-a-repository` without any copy, `wrong-password` when none opens, and what storage throws. */
export async function recoverFormat(
  store: BlobStore,
  options: RecoverFormatOptions,
): Promise<RecoverFormatReport> {
  const { password, commit, signal } = options;
  const environment = options.environment ?? systemEnvironment();
  const crypto = await openCrypto({ hashes: [] });
  const current = await getIfPresent(store, FORMAT_BLOB, { signal });
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const fits = (format: RepositoryFormat): Promise<boolean> =>
    keysFit(store, { sealer: createSealer(format, { crypto, randomBytes }), signal });
  const problem = await problemOf(current, { password, crypto, fits });
  if (problem === undefined) {
    return {};
  }
  const blobConfig = await getIfPresent(store, BLOB_CONFIG, { signal });
  const seen = current === undefined ? [] : [current];
  for await (const { from, bytes } of copiesOf(store, options, crypto)) {
    if (seen.some((other) => equalBytes(other, bytes))) {
      continue;
    }
    seen.push(bytes);
    const format = await unlockFormat(bytes, { password, crypto, blobConfig }).catch(noFormat);
    if (format === undefined || !(await fits(format))) {
      continue;
    }
    if (!commit) {
      return { problem, from };
    }
    const replaced =
      current && parseBlobId(`varve.repository.replaced-${Math.floor(environment.nowMs())}`);
    const target = retainingStore(store, { retention: format.retention, environment });
    if (current !== undefined && replaced !== undefined) {
      await target.put(replaced, [current], { signal }); // it may have been fine under another password
    }
    signal?.throwIfAborted();
    await target.put(FORMAT_BLOB, [bytes], { signal });
    await keepFormatCopy(store, bytes, { signal });
    return { problem, from, replaced };
  }
  throw seen.length === (current === undefined ? 0 : 1)
    ? new VarveError("not-a-repository", `no copy of ${FORMAT_BLOB} in ${store.label}`)
    : new VarveError(
        "wrong-password",
        `the password opens no copy of ${FORMAT_BLOB} that belongs to the repository in ${store.label}`,
      );
}

async function problemOf(
  current: Uint8Array | undefined,
  options: {
    readonly password: string;
    readonly crypto: Crypto;
    readonly fits: (format: RepositoryFormat) => Promise<boolean>;
  },
): Promise<string | undefined> {
  if (current === undefined) {
    return "it is missing";
  }
  let format: RepositoryFormat;
  try {
    format = await unlockFormat(current, options);
  } catch (error) {
    noFormat(error);
    return errorMessage(error);
  }
  return (await options.fits(format)) ? undefined : "its keys open nothing that lies there";
}

function noFormat(error: unknown): undefined {
  if (!isVarveError(error)) {
    throw error;
  }
}

interface Copy {
  readonly from: string;
  readonly bytes: Uint8Array;
}

async function* copiesOf(
  store: BlobStore,
  { copies = [], signal }: RecoverFormatOptions,
  crypto: Crypto,
): AsyncGenerator<Copy> {
  for (const bytes of copies) {
    yield { from: "given", bytes };
  }
  const own = await getIfPresent(store, FORMAT_COPY, { signal });
  if (own !== undefined) {
    yield { from: FORMAT_COPY, bytes: own };
  }
  for await (const { id } of store.list(UPGRADE_BACKUP_PREFIX, { signal })) {
    yield { from: id, bytes: await store.get(id, { signal }) };
  }
  for (const prefix of ["q", "p"]) {
    for await (const pack of firstOf(store.list(prefix, { signal }), MAX_PACKS_TRIED)) {
      const bytes = await copyInPack(store, pack, { crypto, signal });
      if (bytes !== undefined) {
        yield { from: pack.id, bytes };
      }
    }
  }
}

async function copyInPack(
  store: BlobStore,
  { id, size }: BlobInfo,
  { crypto, signal }: CallOptions & { readonly crypto: Crypto },
): Promise<Uint8Array | undefined> {
  const length = Math.min(size, RECOVERY_WINDOW_BYTES);
  const head = await store.get(id, { range: { offset: 0, length }, signal });
  const tail =
    size === length
      ? head
      : await store.get(id, { range: { offset: size - length, length }, signal });
  return findRecoveryCopy({ head, tail }, crypto);
}

async function* firstOf<T>(items: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let left = count;
  for await (const item of items) {
    if (left-- <= 0) {
      return;
    }
    yield item;
  }
}
