import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { upload } from "../upload/upload.ts";
import {
  blobIds,
  createTestRepository,
  SOURCE,
  testPolicy,
  tree,
} from "../../test/upload-fixture.ts";
import {
  createReceiptKey,
  readReceiptKey,
  readReceipts,
  reportVerification,
  verifyWithReceipt,
} from "./local-receipts.ts";
import { receiptName } from "./receipts.ts";
import { DAY_MS, dueDay } from "./rolling.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "varve-receipts-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const WITHIN = 5;

/** Twelve backups: two packs each. */
async function makeRepository() {
  const made = await createTestRepository();
  const { environment, repository } = made;
  for (let round = 0; round < 12; round++) {
    const root = tree({ [`file${round}`]: { data: `data ${round}`.repeat(500), mtimeNs: 1n } });
    await upload(repository, { source: SOURCE, root, policy: testPolicy() });
    environment.advance(60_000);
  }
  const path = join(folder, "key");
  await createReceiptKey(path);
  const signer = await readReceiptKey(path);
  const options = { folder, signer, withinDays: WITHIN };
  return { ...made, signer, options };
}

type Made = Awaited<ReturnType<typeof makeRepository>>;

async function packsIn({ store }: Made): Promise<readonly string[]> {
  return (await blobIds(store)).filter((id) => /^[pq]/.test(id));
}

const receiptPath = (number: number): string => join(folder, receiptName(number));

test("in each window every pack is read once, on the day of its own, and the receipts prove it", async () => {
  const made = await makeRepository();
  const { environment, repository, options, signer } = made;
  const packs = await packsIn(made);
  const read: string[] = [];
  for (let day = 0; day < WITHIN; day++) {
    environment.advance(DAY_MS);
    const report = await verifyWithReceipt(repository, options);
    const today = Math.floor(environment.nowMs() / DAY_MS);
    for (const pack of report.verified) {
      expect(dueDay(pack, today, WITHIN)).toBe(today);
    }
    expect(report).toMatchObject({ damaged: [], pending: [], problems: [] });
    read.push(...report.verified);
    expect((await verifyWithReceipt(repository, options)).verified).toEqual([]);
  }
  expect(read.toSorted()).toEqual(packs.toSorted());
  const proven = await reportVerification(repository, {
    ...options,
    publicKeys: [signer.publicKey],
  });
  expect(proven).toMatchObject({ packs: packs.length, uncovered: [], failures: [] });
  expect(proven.chain).toMatchObject({ problems: [], nextNumber: 2 * WITHIN + 1 });
});

test("a flipped byte is found within the window, and named until it is mended", async () => {
  const made = await makeRepository();
  const { store, environment, repository, options, signer } = made;
  const [info] = [...repository.contents.entries({ prefix: "" })];
  const pack = info?.packBlobId;
  const bytes = Uint8Array.from(await store.get(pack ?? ("" as never)));
  const at = (info?.packOffset ?? 0) + 5;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  const { mtimeMs } = await store.stat(pack ?? ("" as never));
  await store.put(pack ?? ("" as never), [bytes], { mtimeMs });
  const found: string[] = [];
  for (let day = 0; day < WITHIN; day++) {
    environment.advance(DAY_MS);
    const { damaged } = await verifyWithReceipt(repository, options);
    found.push(...damaged.map((damage) => `${damage.pack} ${damage.contents.join()}`));
  }
  expect(new Set(found)).toEqual(new Set([`${pack} ${info?.id}`]));
  const report = { ...options, publicKeys: [signer.publicKey] };
  expect(await reportVerification(repository, report)).toMatchObject({ failures: [{ pack }] });
});

test("what a budget or a gap has left is done next, longest due first, and is named until then", async () => {
  const made = await makeRepository();
  const { environment, repository, options, signer } = made;
  const packs = await packsIn(made);
  const report = { ...options, publicKeys: [signer.publicKey] };
  environment.advance(2 * WITHIN * DAY_MS);
  expect((await reportVerification(repository, report)).uncovered).toHaveLength(packs.length);
  const first = await verifyWithReceipt(repository, { ...options, budgetRequests: 5 });
  expect(first.verified).toHaveLength(5);
  expect(first.pending).toHaveLength(packs.length - 5);
  const perPack = first.bytesRead / 5;
  const second = await verifyWithReceipt(repository, { ...options, budgetBytes: perPack * 6 });
  expect(second.bytesRead).toBeLessThanOrEqual(perPack * 6);
  expect(second.verified.length).toBeGreaterThan(1);
  expect(second.verified.filter((pack) => first.verified.includes(pack))).toEqual([]);
  const { uncovered } = await reportVerification(repository, report);
  expect(uncovered.map(({ pack }) => pack).toSorted()).toEqual([...second.pending].toSorted());
  await verifyWithReceipt(repository, options);
  expect((await reportVerification(repository, report)).uncovered).toEqual([]);
});

test("a missing, changed, forged or foreign receipt is a gap that shows", async () => {
  const made = await makeRepository();
  const { environment, repository, options, signer } = made;
  for (let day = 0; day < 4; day++) {
    environment.advance(DAY_MS);
    await verifyWithReceipt(repository, options);
  }
  const trusted = { folder, publicKeys: [signer.publicKey] };
  const problems = async (): Promise<readonly string[]> =>
    (await readReceipts(repository, trusted)).problems;
  expect(await problems()).toEqual([]);
  const second = readFileSync(receiptPath(2));
  rmSync(receiptPath(2));
  expect(await problems()).toEqual(["receipts 2 to 2 are missing"]);
  writeFileSync(receiptPath(2), second.toString().replace("verified", "verifled"));
  expect(await problems()).toContainEqual(expect.stringContaining("signature"));
  writeFileSync(receiptPath(2), "{");
  expect((await problems()).length).toBeGreaterThan(0);
  writeFileSync(receiptPath(2), second);
  await createReceiptKey(join(folder, "other"));
  const other = await readReceiptKey(join(folder, "other"));
  await verifyWithReceipt(repository, {
    ...options,
    signer: other,
    publicKeys: [signer.publicKey],
  });
  expect(await problems()).toEqual([expect.stringContaining("not trusted")]);
  // Nothing that it says counts, and the chain goes on behind it.
  expect((await readReceipts(repository, trusted)).nextNumber).toBe(6);
});

test("a key is its owner's alone, is never overwritten, and another kind of file is refused", async () => {
  const path = join(folder, "key");
  await createReceiptKey(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await expect(createReceiptKey(path)).rejects.toMatchObject({ code: "invalid-argument" });
  chmodSync(path, 0o644);
  await expect(readReceiptKey(path)).rejects.toThrow("chmod 600");
  writeFileSync(join(folder, "text"), "no key", { mode: 0o600 });
  await expect(readReceiptKey(join(folder, "text"))).rejects.toMatchObject({
    code: "invalid-argument",
  });
});
