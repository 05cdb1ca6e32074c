import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { toHex } from "../base/bytes.ts";
import { openFileSystemStore } from "../blob/filesystem-store.ts";
import { openCrypto } from "../crypto/registry.ts";
import { createIndexBlobs } from "./index-blobs.ts";
import { loadContentIndex } from "./load-index.ts";
import { readFormat } from "../format/format-store.ts";
import { createSealer } from "../format/sealer.ts";
import { createContentIndex } from "../index/content-index.ts";
import { parseIndex } from "../index/index-file.ts";
import { encodeIndex } from "../index/index-writer.ts";
import { seededEnvironment } from "../testing/seeded-environment.ts";

// Counts, and SHA-256 of the sorted ids one a line, are what stock Kopia's `index list` and `content list` printed.
const REPOSITORIES = [
  {
    name: "v3-default",
    password: "small 1",
    blobs: 3,
    contents: 67,
    ids: "6095a0079810f24336d40f1fd6e9c1ae20e49627be95e8bbba2de1b1822f20c7",
  },
  {
    name: "v3-blake3-chacha-zstd",
    password: "small 2",
    blobs: 4,
    contents: 72,
    ids: "95c6b6abcc95087bc4609d1108401614db691ec9309ce39278ec99089ea5b0f1",
  },
  {
    name: "v1-hmac-pgzip",
    password: "small 3",
    blobs: 4,
    contents: 72,
    ids: "930271e7d00fe29e2f174d1fa9b654e497a03fbdac9d43e7ea0483e5d4c4e690",
  },
  {
    name: "v2-blake2b256-s2",
    password: "small 4",
    blobs: 4,
    contents: 72,
    ids: "e0e79906c66da3aebca3a52e8083651721d9f23a01150abb1915a52f351a5dc3",
  },
  {
    name: "v3-ecc-deflate",
    password: "small 5",
    blobs: 4,
    contents: 70,
    ids: "b20812d4dd6d062395b64380e48118c423efd8a8183060ee5e631bb34da5a8ec",
  },
  {
    name: "v3-pbkdf2-history",
    password: "small 6",
    blobs: 6,
    contents: 79,
    ids: "5b343b91b7313110e4281c6ecb41e7bf3fc7d629b98df48164831b7344cf97f6",
  },
] as const;

async function openIndexBlobs({ name, password }: { name: string; password: string }) {
  const environment = seededEnvironment({ seed: 1 });
  const path = fileURLToPath(new URL(`../../test/golden/fixtures/${name}`, import.meta.url));
  const store = await openFileSystemStore(path, { readOnly: true });
  const crypto = await openCrypto();
  const randomBytes = (size: number): Uint8Array => environment.randomBytes(size);
  const format = await readFormat(store, { password, crypto });
  const sealer = createSealer(format, { crypto, randomBytes });
  return { environment, indexBlobs: createIndexBlobs({ store, sealer, format, environment }) };
}

for (const repository of REPOSITORIES) {
  test(`${repository.name}: the index lists what Kopia lists`, async () => {
    const { environment, indexBlobs } = await openIndexBlobs(repository);
    const into = createContentIndex();
    const { loaded } = await loadContentIndex(indexBlobs, { into, environment });
    const ids = Array.from(into.entries(), (entry) => `${entry.id}\n`).toSorted();
    expect(loaded.length).toBe(repository.blobs);
    expect(ids.length).toBe(repository.contents);
    expect(createHash("sha256").update(ids.join("")).digest("hex")).toBe(repository.ids);
  });
  test(`${repository.name}: each index file is written again byte for byte`, async () => {
    const { indexBlobs } = await openIndexBlobs(repository);
    for (const { id } of (await indexBlobs.live()).blobs) {
      const bytes = await indexBlobs.read(id);
      const { version, entries } = filePartsOf(bytes);
      expect(toHex(encodeIndex(entries, { version })), id).toBe(toHex(bytes));
    }
  });
}

function filePartsOf(bytes: Uint8Array) {
  const file = parseIndex(bytes);
  return { version: file.version, entries: [...file.entries()] };
}
