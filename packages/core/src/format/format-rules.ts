import { VarveError } from "../base/errors.ts";
import {
  type Crypto,
  ENCRYPTION_NAMES,
  HASH_NAMES,
  KEY_DERIVATION_NAMES,
} from "../crypto/registry.ts";
import { ECC_NAME } from "../ecc/create-ecc.ts";
import { isKopiaSplitter } from "../splitter/registry.ts";
import type { InnerFormat } from "./format-json.ts";
import type { BlobRetention, EpochParameters } from "./format.ts";

/** Which formats can be opened, and the narrower set that may be written (spec §2.4, §4.5, §9.1). */

const MIB = 1024 * 1024;
const MIN_PACK_SIZE = 10 * MIB;
const MAX_PACK_SIZE = 120 * MIB;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const KNOWN_FEATURES: ReadonlySet<string> = new Set(["index-v1", "index-v2"]);

/** Refuses what stock Kopia refuses to open. Throws `format-unsupported` naming what is not known, `corrupt` for missing keys. */
export function checkReadable(format: InnerFormat, crypto: Crypto): void {
  const { version, indexVersion, hash, encryption, splitter, ecc } = format;
  known(version >= 1 && version <= 3, `version ${version}`);
  known(indexVersion <= 2, `index version ${indexVersion}`);
  known(HASH_NAMES.includes(hash), `hash ${quote(hash)}`);
  known(ENCRYPTION_NAMES.includes(encryption), `encryption ${quote(encryption)}`);
  known(isKopiaSplitter(splitter), `splitter ${quote(splitter)}`);
  known(ecc === undefined || ecc.algorithm === ECC_NAME, `ecc ${quote(ecc?.algorithm ?? "")}`);
  known((ecc?.overheadPercent ?? 1) <= 100, `ecc overhead of ${ecc?.overheadPercent} percent`);
  for (const { feature, warnOnly, message } of format.requiredFeatures) {
    const isKnown = warnOnly || KNOWN_FEATURES.has(feature);
    known(isKnown, `required feature ${quote(feature)} (${message.slice(0, 300)})`);
  }
  if (format.enablePasswordChange && format.secret.length === 0) {
    throw new VarveError("corrupt", "format blob: the secret is missing");
  }
  crypto.hasher(hash, format.secret);
}

/** Refuses what Kopia would not create, or would fail with later. Throws `invalid-argument`. */
export function checkWritable(
  format: InnerFormat & {
    readonly keyDerivation: string;
    readonly retention?: BlobRetention | undefined;
  },
): void {
  const { version, indexVersion, maxPackSize, ecc, retention } = format;
  may([1, 2, 3].includes(version), `version ${version}: 1 to 3 are possible`);
  may([1, 2].includes(indexVersion), `index version ${indexVersion}: 1 and 2 are possible`);
  oneOf("hash", format.hash, HASH_NAMES);
  oneOf("encryption", format.encryption, ENCRYPTION_NAMES);
  oneOf("key derivation", format.keyDerivation, KEY_DERIVATION_NAMES);
  may(
    isKopiaSplitter(format.splitter),
    `splitter ${quote(format.splitter)}: Kopia would not open the repository; others belong in a policy`,
  );
  may(
    Number.isInteger(maxPackSize) && maxPackSize >= MIN_PACK_SIZE && maxPackSize <= MAX_PACK_SIZE,
    `pack size of ${maxPackSize} bytes: 10 to 120 MiB are possible`,
  );
  if (ecc !== undefined) {
    oneOf("ecc", ecc.algorithm, [ECC_NAME]);
    const { overheadPercent: percent } = ecc;
    may(Number.isInteger(percent) && percent >= 1 && percent <= 100, `ecc of ${percent} percent`);
    may(indexVersion >= 2, "ecc needs index version 2"); // spec §7
  }
  if (retention !== undefined) {
    may(retention.periodMs >= DAY_MS, `retention of ${retention.periodMs} ms: at least one day`);
  }
  checkEpochs(format.epochs);
}

function checkEpochs(epochs: EpochParameters): void {
  if (!epochs.enabled) {
    return;
  }
  const refreshMs = epochs.refreshFrequencyMs;
  may(refreshMs > 0, "epochs: the refresh frequency is 0");
  may(epochs.minEpochDurationMs >= 10 * MINUTE_MS, "epochs: they last less than 10 minutes");
  may(
    refreshMs * 3 <= epochs.minEpochDurationMs,
    "epochs: the refresh frequency is more than a third of the duration",
  );
  may(
    epochs.cleanupSafetyMarginMs >= refreshMs * 3,
    "epochs: the cleanup margin is less than 3 refresh frequencies",
  );
  may(isAtLeast(epochs.fullCheckpointFrequency, 1), "epochs: no full checkpoint");
  may(isAtLeast(epochs.advanceOnCountThreshold, 10), "epochs: advance on less than 10 blobs");
  may(
    isAtLeast(epochs.advanceOnTotalSizeBytesThreshold, MIB),
    "epochs: advance on less than 1 MiB",
  );
  may(isAtLeast(epochs.deleteParallelism, 1), "epochs: no delete parallelism");
}

function isAtLeast(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}

function oneOf(what: string, name: string, names: readonly string[]): void {
  may(names.includes(name), `${what} ${quote(name)}: known are ${names.join(", ")}`);
}

function known(condition: boolean, what: string): void {
  if (!condition) {
    throw new VarveError("format-unsupported", `this repository needs ${what}`);
  }
}

function may(condition: boolean, what: string): void {
  if (!condition) {
    throw new VarveError("invalid-argument", `repository format: ${what}`);
  }
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
