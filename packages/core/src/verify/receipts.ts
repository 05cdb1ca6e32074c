import { fromBase64, toBase64, toHex, utf8 } from "../base/bytes.ts";
import { errorMessage, VarveError } from "../base/errors.ts";
import { JsonRecord, parseJson } from "../base/json.ts";
import { formatTimeNs, msToNs, nsToMs, parseTimeNs } from "../base/time.ts";
import type { RollingReport } from "./rolling.ts";

/**
 * Receipts of rolling verification: what was read and found good or damaged, signed, each with a number and the hash of the one before.
 * A receipt that was changed, forged, taken out or put in shows; what shows when the last ones are taken away is their packs, uncovered.
 */

/** Signs with one key. */
export interface ReceiptSigner {
  /** The public key, 32 bytes. */
  readonly publicKey: Uint8Array;
  sign(bytes: Uint8Array): Uint8Array;
}

/** Ed25519 and SHA-256, from the host. */
export interface ReceiptCrypto {
  verify(bytes: Uint8Array, options: { signature: Uint8Array; publicKey: Uint8Array }): boolean;
  sha256(bytes: Uint8Array): Uint8Array;
}

export interface Receipt {
  /** From 1 on. */
  readonly number: number;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly withinDays: number;
  /** Unique id of the repository, hex. */
  readonly repository: string;
  readonly packs: number;
  readonly verified: readonly string[];
  readonly damaged: readonly { readonly pack: string; readonly message: string }[];
  /** Blobs of the index and the format, which each run looks at. */
  readonly damagedRoots: readonly { readonly blob: string; readonly message: string }[];
  readonly pending: readonly string[];
  readonly bytesRead: number;
}

/** A receipt as it is kept. */
export interface ReceiptFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface ReceiptChain {
  /** The good ones, by number. */
  readonly receipts: readonly Receipt[];
  /** Each gap, forgery and damage, for people. */
  readonly problems: readonly string[];
  /** SHA-256 of the last file, hex; what the next one names. */
  readonly lastHash: string;
  readonly nextNumber: number;
}

const FIRST = "0".repeat(64);

/** The name under which a receipt is kept: by number, so that two of one number collide. */
export function receiptName(number: number): string {
  return `receipt-${String(number).padStart(8, "0")}.json`;
}

export function encodeReceipt(
  report: RollingReport,
  options: {
    readonly chain: Pick<ReceiptChain, "lastHash" | "nextNumber">;
    readonly repository: string;
    readonly signer: ReceiptSigner;
  },
): Uint8Array {
  const { chain, repository, signer } = options;
  const time = (ms: number): string => formatTimeNs(msToNs(ms));
  const payload = JSON.stringify({
    type: "varve-verification-receipt-1",
    number: chain.nextNumber,
    previous: chain.lastHash,
    repository,
    started: time(report.startedMs),
    ended: time(report.endedMs),
    withinDays: report.withinDays,
    packs: report.packs,
    bytesRead: report.bytesRead,
    requests: report.requests,
    verified: report.verified,
    damaged: report.damaged,
    damagedRoots: report.damagedRoots,
    pending: report.pending,
  });
  return utf8(
    `${JSON.stringify({
      payload, // as text: the very bytes that are signed
      publicKey: toBase64(signer.publicKey),
      signature: toBase64(signer.sign(utf8(payload))),
    })}\n`,
  );
}

/** Reads receipts of unknown origin; those by other keys, of other repositories, or out of line are problems. */
export function checkReceipts(
  files: readonly ReceiptFile[],
  options: {
    readonly crypto: ReceiptCrypto;
    readonly repository: string;
    /** Whose receipts count. */
    readonly publicKeys: readonly Uint8Array[];
  },
): ReceiptChain {
  const problems: string[] = [];
  const receipts: Receipt[] = [];
  let lastHash = FIRST;
  let nextNumber = 1;
  for (const { name, bytes } of files.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    try {
      const { receipt, previous } = openReceipt(bytes, options);
      if (receipt.number < nextNumber) {
        throw new VarveError("corrupt", `number ${receipt.number} is there twice`);
      }
      if (receipt.number > nextNumber) {
        problems.push(`receipts ${nextNumber} to ${receipt.number - 1} are missing`);
      } else if (previous !== lastHash) {
        problems.push(`${name}: the receipt before it is not the one that it followed`);
      }
      receipts.push(receipt);
      nextNumber = receipt.number + 1;
      lastHash = toHex(options.crypto.sha256(bytes));
    } catch (error) {
      problems.push(`${name}: ${errorMessage(error)}`);
      const number = Number(/\d+/.exec(name)?.[0] ?? 0);
      nextNumber = Math.max(nextNumber, number + 1); // its place is taken
    }
  }
  return { receipts, problems, lastHash, nextNumber };
}

/** When each pack was last found good; one that was damaged since was not. */
export function verifiedTimes(receipts: readonly Receipt[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { startedMs, verified, damaged } of receipts) {
    for (const pack of verified) {
      times.set(pack, Math.max(startedMs, times.get(pack) ?? 0));
    }
    for (const { pack } of damaged) {
      times.delete(pack);
    }
  }
  return times;
}

function openReceipt(
  bytes: Uint8Array,
  options: Parameters<typeof checkReceipts>[1],
): { receipt: Receipt; previous: string } {
  const file = JsonRecord.parse(bytes, "receipt");
  const payload = utf8(file.requireString("payload"));
  const publicKey = fromBase64(file.requireString("publicKey"));
  const signature = fromBase64(file.requireString("signature"));
  if (!options.publicKeys.some((key) => toHex(key) === toHex(publicKey))) {
    throw new VarveError("corrupt", "signed with a key that is not trusted");
  }
  if (!options.crypto.verify(payload, { signature, publicKey })) {
    throw new VarveError("corrupt", "the signature does not belong to it");
  }
  const json = new JsonRecord(parseJson(payload, "receipt"), "receipt");
  const repository = json.requireString("repository");
  if (repository !== options.repository) {
    throw new VarveError("corrupt", "is of another repository");
  }
  const time = (key: string): number => nsToMs(parseTimeNs(json.requireString(key)));
  const receipt: Receipt = {
    number: json.requireInteger("number"),
    startedMs: time("started"),
    endedMs: time("ended"),
    withinDays: json.requireInteger("withinDays"),
    repository,
    packs: json.requireInteger("packs"),
    verified: json.strings("verified") ?? [],
    damaged: (json.records("damaged") ?? []).map((record) => ({
      pack: record.requireString("pack"),
      message: record.string("message") ?? "",
    })),
    damagedRoots: (json.records("damagedRoots") ?? []).map((record) => ({
      blob: record.requireString("blob"),
      message: record.string("message") ?? "",
    })),
    pending: json.strings("pending") ?? [],
    bytesRead: json.requireInteger("bytesRead"),
  };
  return { receipt, previous: json.requireString("previous") };
}
