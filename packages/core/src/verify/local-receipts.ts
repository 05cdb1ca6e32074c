import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { chmod, mkdir, open, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { toHex, utf8 } from "../base/bytes.ts";
import type { CallOptions } from "../base/environment.ts";
import { VarveError } from "../base/errors.ts";
import type { Repository } from "../repository/repository.ts";
import {
  checkReceipts,
  encodeReceipt,
  type ReceiptChain,
  type ReceiptCrypto,
  type ReceiptFile,
  receiptName,
  type ReceiptSigner,
  verifiedTimes,
} from "./receipts.ts";
import {
  type Coverage,
  rollingCoverage,
  type RollingOptions,
  type RollingReport,
  verifyRolling,
} from "./rolling.ts";

/** Receipts as files of a folder outside the repository, and their keys: Ed25519 by OpenSSL. */

/** The DER prefix of a raw Ed25519 public key (RFC 8410). */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

const nodeCrypto: ReceiptCrypto = {
  verify: (bytes, { signature, publicKey }) =>
    publicKey.length === 32 && verify(null, bytes, publicKeyOf(publicKey), signature),
  sha256: (bytes) => createHash("sha256").update(bytes).digest(),
};

function publicKeyOf(raw: Uint8Array): KeyObject {
  return createPublicKey({
    key: Buffer.concat([SPKI_PREFIX, raw]),
    format: "der",
    type: "spki",
  });
}

/** Makes a key in a file that only its owner may read, and gives the public half, 32 bytes. Throws `invalid-argument` when there is a file. */
export async function createReceiptKey(path: string): Promise<Uint8Array> {
  const { privateKey } = generateKeyPairSync("ed25519");
  await writeNew(path, utf8(privateKey.export({ format: "pem", type: "pkcs8" }).toString()), 0o600);
  return rawPublicKey(privateKey);
}

/** Throws `invalid-argument` for a file that is no such key, or that others may read. */
export async function readReceiptKey(path: string): Promise<ReceiptSigner> {
  let key: KeyObject;
  let mode: number;
  try {
    await using file = await openFile(path);
    mode = (await file.stat()).mode;
    key = createPrivateKey(await file.readFile("utf8"));
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot read a receipt key from ${path}`, { cause });
  }
  if (key.asymmetricKeyType !== "ed25519") {
    throw new VarveError("invalid-argument", `${path} is not an Ed25519 key`);
  }
  if ((mode & 0o077) !== 0) {
    throw new VarveError("invalid-argument", `others may read the key ${path}: chmod 600`);
  }
  return { publicKey: rawPublicKey(key), sign: (bytes) => sign(null, bytes, key) };
}

async function openFile(path: string): Promise<Awaited<ReturnType<typeof open>> & AsyncDisposable> {
  const file = await open(path, "r");
  return Object.assign(file, { [Symbol.asyncDispose]: () => file.close() });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  const der = createPublicKey(key).export({ format: "der", type: "spki" });
  return new Uint8Array(der.subarray(SPKI_PREFIX.length));
}

export interface ReceiptFolder {
  readonly folder: string;
  /** Whose receipts count, 32 bytes each. */
  readonly publicKeys: readonly Uint8Array[];
}

/** The receipts of a repository that lie in a folder; none when there is no folder. */
export async function readReceipts(
  repository: Repository,
  { folder, publicKeys }: ReceiptFolder,
): Promise<ReceiptChain> {
  return checkReceipts(await filesIn(folder), {
    crypto: nodeCrypto,
    repository: toHex(repository.format.uniqueId),
    publicKeys,
  });
}

async function filesIn(folder: string): Promise<readonly ReceiptFile[]> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      return [];
    }
    throw error;
  }
  const files: ReceiptFile[] = [];
  for (const name of names.filter((found) => /^receipt-\d+\.json$/.test(found))) {
    files.push({ name, bytes: await readFile(join(folder, name)) });
  }
  return files;
}

/**
 * A run of rolling verification that goes on where the receipts in the folder end, and adds one, also when there is damage. Throws what
 * {@link verifyRolling} throws, and `invalid-argument` when another run has written the same number meanwhile: then there is no receipt.
 */
export async function verifyWithReceipt(
  repository: Repository,
  options: Omit<RollingOptions, "verified"> & {
    readonly folder: string;
    readonly signer: ReceiptSigner;
    /** Receipts of other keys that count, too. */
    readonly publicKeys?: readonly Uint8Array[] | undefined;
  },
): Promise<RollingReport & { readonly receipt: string; readonly problems: readonly string[] }> {
  const { folder, signer, publicKeys = [], ...rolling } = options;
  const keys = [signer.publicKey, ...publicKeys];
  const chain = await readReceipts(repository, { folder, publicKeys: keys });
  const verified = verifiedTimes(chain.receipts);
  const report = await verifyRolling(repository, { ...rolling, verified });
  const bytes = encodeReceipt(report, {
    chain,
    repository: toHex(repository.format.uniqueId),
    signer,
  });
  const receipt = join(folder, receiptName(chain.nextNumber));
  await writeNew(receipt, bytes, 0o644);
  return { ...report, receipt, problems: chain.problems };
}

export interface VerificationReport extends Coverage {
  readonly chain: ReceiptChain;
  /** Packs that the latest receipt about them calls damaged. */
  readonly failures: readonly { readonly pack: string; readonly message: string }[];
  /** Blobs of the index and the format that the last receipt calls damaged. */
  readonly damagedRoots: readonly { readonly blob: string; readonly message: string }[];
}

/** What the receipts prove about the repository as it is now, and what they do not. Reads a listing of packs, and no pack. */
export async function reportVerification(
  repository: Repository,
  options: ReceiptFolder & CallOptions & { readonly withinDays: number },
): Promise<VerificationReport> {
  const { withinDays, signal } = options;
  const chain = await readReceipts(repository, options);
  const verified = verifiedTimes(chain.receipts);
  const coverage = await rollingCoverage(repository, { withinDays, verified, signal });
  const failures = new Map<string, { pack: string; message: string }>();
  for (const receipt of chain.receipts) {
    receipt.verified.forEach((pack) => failures.delete(pack));
    receipt.damaged.forEach((damage) => failures.set(damage.pack, damage));
  }
  const damagedRoots = chain.receipts.at(-1)?.damagedRoots ?? [];
  return { ...coverage, chain, failures: [...failures.values()], damagedRoots };
}

/** Durable when it returns; never over a file that is there. */
async function writeNew(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, "wx", mode);
  } catch (cause) {
    throw new VarveError("invalid-argument", `cannot make ${path}`, { cause });
  }
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(path, mode);
}
