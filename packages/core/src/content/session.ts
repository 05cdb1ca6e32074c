import { toHex } from "../base/bytes.ts";
import type { CallOptions, Environment } from "../base/environment.ts";
import { errorMessage } from "../base/errors.ts";
import { encodeJson, JsonRecord } from "../base/json.ts";
import { formatTimeNs, msToNs, nsToMs, parseTimeNs } from "../base/time.ts";
import { getIfPresent } from "../blob/get-if-present.ts";
import type { BlobId, BlobStore } from "../blob/store.ts";
import { openBlob, sealBlob } from "../format/sealed-blob.ts";
import type { Sealer } from "../format/sealer.ts";

/** Who writes; other clients see it in session markers. */
export interface SessionOwner {
  readonly username: string;
  readonly hostname: string;
}

const YEAR_2000_MS = 946_684_800_000;
const SESSION_PERIOD_MS = 30 * 24 * 60 * 60 * 1000;

/** `s`, 16 random hex digits, and the 30-day period since 2000 in hex (spec §1.1). */
export function newSessionId(environment: Environment): string {
  const period = Math.floor((environment.nowMs() - YEAR_2000_MS) / SESSION_PERIOD_MS);
  return `s${toHex(environment.randomBytes(8))}${Math.max(0, period).toString(16)}`;
}

/**
 * Says that packs of this session are wanted though no index names them yet: garbage collection keeps them while the
 * marker is younger than 96 hours (spec §8.1). Must be stored before the session's first pack.
 */
export async function putSessionMarker(
  store: BlobStore,
  options: {
    sessionId: string;
    owner: SessionOwner;
    sealer: Sealer;
    environment: Environment;
    signal?: AbortSignal | undefined;
  },
): Promise<{ id: BlobId; size: number }> {
  const now = formatTimeNs(msToNs(options.environment.nowMs()));
  const plain = encodeJson({
    id: options.sessionId,
    startTime: now,
    checkpointTime: now,
    username: options.owner.username,
    hostname: options.owner.hostname,
  });
  const { id, bytes } = sealBlob({
    prefix: "s",
    suffix: options.sessionId,
    plain,
    sealer: options.sealer,
  });
  await store.put(id, [bytes], { signal: options.signal });
  return { id, size: bytes.length };
}

/** The session that a pack or marker belongs to, by its name (spec §1.1). */
export function sessionIdOf(id: BlobId): string | undefined {
  return /-(s[0-9a-f]+)$/.exec(id)?.[1];
}

/** `undefined` when it is gone: its session has ended. Throws `corrupt`. */
export async function readSessionMarker(
  store: BlobStore,
  id: BlobId,
  { sealer, signal }: CallOptions & { sealer: Sealer },
): Promise<{ sessionId: string; checkpointMs: number } | undefined> {
  const sealed = await getIfPresent(store, id, { signal });
  if (sealed === undefined) {
    return undefined;
  }
  const record = JsonRecord.parse(openBlob(id, sealed, sealer), `session marker ${id}`);
  return {
    sessionId: record.requireString("id"),
    checkpointMs: nsToMs(parseTimeNs(record.requireString("checkpointTime"))),
  };
}

/** Of a session that is committed: a marker that stays only delays the collection of garbage, and is warned of. */
export async function removeSessionMarker(
  { store, environment }: { store: BlobStore; environment: Environment },
  id: BlobId,
  options: CallOptions,
): Promise<void> {
  try {
    await store.delete(id, options);
  } catch (error) {
    const message = `could not remove session marker ${id}: ${errorMessage(error)}`;
    environment.log({ level: "warning", message });
  }
}
