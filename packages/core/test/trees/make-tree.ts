import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";

/** Reproducible bytes: SHA-256 of seed and counter, one after another. */
export function seededBytes(seed: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let offset = 0; offset < length; offset += 32) {
    const block = createHash("sha256").update(`${seed}:${offset}`).digest();
    bytes.set(block.subarray(0, Math.min(32, length - offset)), offset);
  }
  return bytes;
}

/** Reproducible text that compresses about four times. */
export function seededText(seed: string, length: number): string {
  const random = seededBytes(seed, Math.ceil(length / 4));
  let text = "";
  for (let index = 0; text.length < length; index++) {
    text += `${WORDS[(random[index % random.length] ?? 0) % WORDS.length]} `;
  }
  return text.slice(0, length);
}

const WORDS =
  "varve layer of sediment laid down in one year clay silt summer winter lake ice".split(" ");

/**
 * A small folder with everything that a backup must bring back: empty, small, large, compressible and random files, a
 * duplicate, zeros, a hole, odd names, modes, links, deep and empty folders.
 */
export function makeTree(folder: string, options: { seed: string; largeFileBytes?: number }): void {
  const { seed, largeFileBytes = 700_000 } = options;
  const file = (path: string, data: Uint8Array | string): void =>
    writeFileSync(`${folder}/${path}`, data);
  for (const path of ["", "docs", "docs/deep/er/and/deeper", "empty", "many", "odd names"]) {
    mkdirSync(`${folder}/${path}`, { recursive: true });
  }
  file("empty.txt", "");
  file("docs/random.bin", seededBytes(`${seed}/random`, largeFileBytes));
  file("docs/copy of random.bin", seededBytes(`${seed}/random`, largeFileBytes));
  file("docs/text.txt", seededText(`${seed}/text`, largeFileBytes));
  file("docs/zeros.bin", new Uint8Array(500_000));
  file("docs/deep/er/and/deeper/leaf", "leaf\n");
  for (let index = 0; index < 40; index++) {
    file(`many/file-${index}.txt`, seededText(`${seed}/${index}`, 20 + index * 97));
  }
  for (const name of [
    "with space",
    "new\nline",
    'quo"te',
    "back\\slash",
    "ünï-çødé-日本語-😀",
    "<&>",
    "-dash",
  ]) {
    file(`odd names/${name}`, `named ${JSON.stringify(name)}`);
  }
  writeFileSync(
    Buffer.concat([Buffer.from(`${folder}/odd names/`), Buffer.from([0x62, 0xff, 0xfe, 0x64])]),
    "not UTF-8",
  );
  const hole = openSync(`${folder}/docs/hole.bin`, "w");
  ftruncateSync(hole, 400_000);
  closeSync(hole);
  symlinkSync("docs/text.txt", `${folder}/link`);
  symlinkSync("nowhere", `${folder}/dangling`);
  symlinkSync("docs", `${folder}/link to folder`);
  chmodSync(`${folder}/empty.txt`, 0o4755);
  chmodSync(`${folder}/many/file-1.txt`, 0o400);
  chmodSync(`${folder}/many`, 0o2750);
  chmodSync(`${folder}/empty`, 0o1777);
  utimesSync(`${folder}/docs/text.txt`, 1_600_000_000, 1_600_000_000.25);
  utimesSync(`${folder}/empty`, 1_500_000_000, 1_500_000_000);
  utimesSync(`${folder}/docs`, 1_400_000_000, 1_400_000_000);
}

/** How exactly an inventory looks: stock Kopia cannot bring back everything that varve does. */
export interface InventoryOptions {
  /** Kopia gives restored directories the newest time below them (behaviour of Kopia, not of the format). */
  readonly directoryTimes?: boolean;
  /** Kopia sets link times with microseconds only. */
  readonly linkTimes?: boolean;
  /** Kopia replaces names that are not UTF-8. */
  readonly rawNames?: boolean;
}

/** Every path below `folder` (Latin-1 text of its bytes) with one line of facts. */
export function inventory(folder: string, options: InventoryOptions = {}): Map<string, string> {
  const { directoryTimes = true, linkTimes = true, rawNames = true } = options;
  const found = new Map<string, string>();
  const visit = (relative: Buffer): void => {
    const path = Buffer.concat([Buffer.from(`${folder}/`), relative]);
    const stat = lstatSync(path, { bigint: true });
    const facts: unknown[] = [(stat.mode & 0o7777n).toString(8), stat.uid, stat.gid];
    if (stat.isDirectory()) {
      facts.unshift("directory");
      facts.push(directoryTimes ? stat.mtimeNs : "");
      for (const name of readdirSync(path, { encoding: "buffer" })) {
        visit(Buffer.concat(relative.length === 0 ? [name] : [relative, Buffer.from("/"), name]));
      }
    } else if (stat.isSymbolicLink()) {
      facts.unshift("link");
      facts.push(readlinkSync(path, "latin1"), linkTimes ? stat.mtimeNs : "");
    } else {
      facts.unshift("file");
      const sha256 = createHash("sha256").update(readFileSync(path)).digest("hex");
      facts.push(stat.mtimeNs, stat.size, sha256);
    }
    const name = rawNames ? relative : Buffer.from(new TextDecoder().decode(relative));
    found.set(name.toString("latin1"), facts.join(" "));
  };
  visit(Buffer.alloc(0));
  return found;
}
