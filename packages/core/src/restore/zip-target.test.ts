import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { EntryMeta } from "../snapshot/entry.ts";
import { zipTarget } from "./zip-target.ts";

const meta: EntryMeta = {
  ...{ type: "file", mode: 0o644, sizeBytes: 3, mtimeNs: 0n, uid: 0, gid: 0 },
};

/** The names in the directory at the end of an archive without zip64. */
function namesIn(zip: Buffer): string[] {
  const end = zip.lastIndexOf("PK\x05\x06");
  const count = zip.readUInt16LE(end + 10);
  let at = zip.readUInt32LE(end + 16);
  return Array.from({ length: count }, () => {
    const length = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + length);
    at += 46 + length + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    return name;
  });
}

test("every entry is in the archive's directory, in order, however many there are", async () => {
  const parts: Buffer[] = [];
  const output = new Writable({
    write: (part: Buffer, _encoding, done) => {
      parts.push(part);
      done();
    },
  });
  const target = zipTarget(output);
  const root = { name: "" };
  await target.directory(root, undefined, []);
  const names: string[] = [];
  for (let index = 0; index < 1500; index++) {
    const name = `e${index}`;
    const path = { parent: root, name };
    if (index % 3 === 0) {
      await target.directory(path, undefined, []);
    } else if (index % 3 === 1) {
      await target.symlink(path, undefined, Buffer.from("to"));
    } else {
      const file = await target.file(path, meta, 3);
      await file?.writeAt(0, Buffer.from("abc"));
      await file?.finish();
    }
    names.push(index % 3 === 0 ? `${name}/` : name);
  }
  await target.finish();
  expect(namesIn(Buffer.concat(parts))).toEqual(names);
});
