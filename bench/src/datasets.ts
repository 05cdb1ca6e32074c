import { closeSync, openSync, writeSync } from "node:fs";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fillRandom, fillText, pick, seedOf } from "./random.ts";

/**
 * What is backed up: four kinds of data, each made from its name and a scale alone, each with a small change that can
 * be made and taken back. Bytes are a function of (dataset, place, version), so nothing has to be kept to undo it.
 */
export interface Dataset {
  readonly name: string;
  /** For people; what it is at scale 1. */
  readonly title: string;
  /** For people: what the small change is. */
  readonly changeTitle: string;
  /** Fills an empty directory. */
  generate(directory: string, scale: number): void;
  /** Version 1 makes the small change, version 0 takes it back. */
  change(directory: string, scale: number, version: Version): void;
}

type Version = 0 | 1;

export interface PreparedDataset {
  readonly path: string;
  readonly files: number;
  readonly bytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

const image: Dataset = {
  name: "image",
  title: "disk image, one file of 2 GiB",
  changeTitle: "0.1 % of its 64 KiB blocks are written anew",
  generate(directory, scale) {
    const segment = new Uint8Array(IMAGE_SEGMENT);
    const segments = imageSegments(scale);
    writeInPieces(join(directory, "disk.img"), segments, (index) => {
      fillImageSegment(segment, index, segments);
      return segment;
    });
  },
  change(directory, scale, version) {
    const blocksOfSegment = IMAGE_SEGMENT / IMAGE_BLOCK;
    const segment = new Uint8Array(IMAGE_SEGMENT);
    const segments = imageSegments(scale);
    const changes = Math.max(1, Math.round((segments * blocksOfSegment) / 1000));
    patch(join(directory, "disk.img"), changes, (index) => {
      const block = pick(seedOf(IMAGE, 2, index), segments * blocksOfSegment);
      const inSegment = (block % blocksOfSegment) * IMAGE_BLOCK;
      const bytes = segment.subarray(inSegment, inSegment + IMAGE_BLOCK);
      if (version === 0) {
        fillImageSegment(segment, Math.floor(block / blocksOfSegment), segments);
      } else {
        fillRandom(bytes, seedOf(IMAGE, 3, block));
      }
      return { offset: block * IMAGE_BLOCK, bytes };
    });
  },
};

const source: Dataset = {
  name: "source",
  title: "source tree, 50,000 files, 1.6 GB",
  changeTitle: "1 file of 200 is written anew, as many of 1,000 are added",
  generate(directory, scale) {
    for (let index = 0; index < sourceFiles(scale); index++) {
      writeTreeFile(join(directory, sourcePath(index)), sourceBytes(index, 0));
    }
  },
  change(directory, scale, version) {
    const files = sourceFiles(scale);
    for (let index = 0; index < files; index += 200) {
      writeTreeFile(join(directory, sourcePath(index)), sourceBytes(index, version));
    }
    for (let index = 0; index < files; index += 1000) {
      const path = join(directory, dirname(sourcePath(index)), "added.ts");
      if (version === 0) {
        rmSync(path, { force: true });
      } else {
        writeTreeFile(path, sourceBytes(files + index, 0));
      }
    }
  },
};

const tiny: Dataset = {
  name: "tiny",
  title: "200,000 files of 100 bytes",
  changeTitle: "1 file of 1,000 is written anew",
  generate(directory, scale) {
    for (let index = 0; index < tinyFiles(scale); index++) {
      writeTreeFile(join(directory, tinyPath(index)), tinyBytes(index, 0));
    }
  },
  change(directory, scale, version) {
    for (let index = 0; index < tinyFiles(scale); index += 1000) {
      writeTreeFile(join(directory, tinyPath(index)), tinyBytes(index, version));
    }
  },
};

const database: Dataset = {
  name: "database",
  title: "database, one file of 1 GiB",
  changeTitle: "1 % of its 8 KiB pages, anywhere in it, are written anew",
  generate(directory, scale) {
    const group = new Uint8Array(PAGE * PAGES_OF_GROUP);
    writeInPieces(join(directory, "data.db"), databaseGroups(scale), (index) => {
      for (let page = 0; page < PAGES_OF_GROUP; page++) {
        fillPage(group.subarray(page * PAGE, (page + 1) * PAGE), index * PAGES_OF_GROUP + page, 0);
      }
      return group;
    });
  },
  change(directory, scale, version) {
    const pages = databaseGroups(scale) * PAGES_OF_GROUP;
    const bytes = new Uint8Array(PAGE);
    patch(join(directory, "data.db"), Math.ceil(pages / 100), (index) => {
      // One of each hundred, so that exactly that many differ.
      const page = Math.min(pages - 1, index * 100 + pick(seedOf(DATABASE, 2, index), 100));
      fillPage(bytes, page, version);
      return { offset: page * PAGE, bytes };
    });
  },
};

export const DATASETS: readonly Dataset[] = [image, source, tiny, database];

// Changed whenever the bytes of a dataset change, so that none is reused that others would not make.
const GENERATION = 1;

/** Makes a dataset in `cache`, or finds it there from an earlier run. */
export function prepareDataset(dataset: Dataset, cache: string, scale: number): PreparedDataset {
  const path = join(cache, `${dataset.name}-${scale}-v${GENERATION}`);
  if (statSync(readyMark(path), { throwIfNoEntry: false }) === undefined) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
    dataset.generate(path, scale);
    writeFileSync(readyMark(path), "");
  }
  return { path, ...sizeOfTree(path) };
}

/** Makes the small change, calls back, and takes the change back; a crash meanwhile costs the dataset, not its truth. */
export async function withChange(
  dataset: Dataset,
  options: { readonly path: string; readonly scale: number },
  during: () => Promise<void>,
): Promise<void> {
  const { path, scale } = options;
  rmSync(readyMark(path));
  dataset.change(path, scale, 1);
  try {
    await during();
  } finally {
    dataset.change(path, scale, 0);
    writeFileSync(readyMark(path), "");
  }
}

/** Files below a directory and their bytes. */
export function sizeOfTree(directory: string): { files: number; bytes: number } {
  let files = 0;
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) {
      files++;
      bytes += statSync(join(entry.parentPath, entry.name)).size;
    }
  }
  return { files, bytes };
}

function readyMark(path: string): string {
  return `${path}.ready`;
}

// First member of every seed.
const IMAGE = 1;
const SOURCE = 2;
const TINY = 3;
const DATABASE = 4;

const IMAGE_SEGMENT = 4 * MIB;
const IMAGE_BLOCK = 64 * KIB;
const IMAGE_KINDS = ["random", "text", "zeros", "text", "random", "repeated", "text", "random"];

function imageSegments(scale: number): number {
  return Math.max(IMAGE_KINDS.length, Math.round((2048 * MIB * scale) / IMAGE_SEGMENT));
}

/** Regions of one kind are 32 MiB at full scale, several chunks, so that a repetition can be found. */
function fillImageSegment(segment: Uint8Array, index: number, segments: number): void {
  const regionSegments = Math.max(1, segments >>> 6);
  const region = Math.floor(index / regionSegments);
  switch (IMAGE_KINDS[region % IMAGE_KINDS.length]) {
    case "zeros":
      segment.fill(0);
      break;
    case "text":
      fillText(segment, seedOf(IMAGE, 0, index));
      break;
    case "repeated": // what stood four regions before: text
      fillText(segment, seedOf(IMAGE, 0, index - 4 * regionSegments));
      break;
    default:
      fillRandom(segment, seedOf(IMAGE, 1, index));
  }
}

function sourceFiles(scale: number): number {
  return Math.max(20, Math.round(50_000 * scale));
}

function sourcePath(index: number): string {
  const group = Math.floor(index / 500);
  const folder = Math.floor(index / 20) % 25;
  return `package-${group}/src/module-${folder}/file-${index}.ts`;
}

/** One file of four is a copy of an earlier one, one of twenty does not compress. */
function sourceBytes(index: number, version: Version): Uint8Array {
  const copied = version === 0 && index >= 4 && index % 4 === 3;
  const content = copied ? index - 1 - 4 * pick(seedOf(SOURCE, 0, index), index >>> 2) : index;
  const bytes = new Uint8Array(sourceSize(content));
  const fill = content % 20 === 9 ? fillRandom : fillText;
  fill(bytes, seedOf(SOURCE, 1, content, version));
  return bytes;
}

/** Many small, few large, 32 KB on average. */
function sourceSize(index: number): number {
  const kind = pick(seedOf(SOURCE, 2, index), 100);
  const [from, to] =
    kind < 60
      ? [512, 8]
      : kind < 90
        ? [8 * KIB, 64]
        : kind < 99
          ? [64 * KIB, 256]
          : [256 * KIB, 2048];
  return from + pick(seedOf(SOURCE, 3, index), to * KIB - from);
}

function tinyFiles(scale: number): number {
  return Math.max(1000, Math.round(200_000 * scale));
}

function tinyPath(index: number): string {
  return `d${Math.floor(index / 10_000)}/d${Math.floor(index / 500) % 20}/f${index}`;
}

function tinyBytes(index: number, version: Version): Uint8Array {
  const bytes = new Uint8Array(100);
  fillRandom(bytes, seedOf(TINY, index, version));
  return bytes;
}

const PAGE = 8 * KIB;
const PAGES_OF_GROUP = 128;

function databaseGroups(scale: number): number {
  return Math.max(1, Math.round((1024 * MIB * scale) / (PAGE * PAGES_OF_GROUP)));
}

/** A header, rows of words and of numbers, and free space: no page equals another. */
function fillPage(page: Uint8Array, index: number, version: Version): void {
  const used = 5 * KIB + pick(seedOf(DATABASE, 0, index), 2 * KIB);
  const words = used >>> 1;
  fillRandom(page.subarray(0, 24), seedOf(DATABASE, 1, index, version));
  fillText(page.subarray(24, words), seedOf(DATABASE, 3, index, version));
  fillRandom(page.subarray(words, used), seedOf(DATABASE, 4, index, version));
  page.fill(0, used);
}

function writeTreeFile(path: string, bytes: Uint8Array): void {
  const directory = dirname(path);
  if (statSync(directory, { throwIfNoEntry: false }) === undefined) {
    mkdirSync(directory, { recursive: true });
  }
  writeFileSync(path, bytes);
}

function writeInPieces(path: string, count: number, piece: (index: number) => Uint8Array): void {
  const file = openSync(path, "w");
  try {
    for (let index = 0; index < count; index++) {
      writeSync(file, piece(index));
    }
  } finally {
    closeSync(file);
  }
}

function patch(
  path: string,
  count: number,
  change: (index: number) => { offset: number; bytes: Uint8Array },
): void {
  const file = openSync(path, "r+");
  try {
    for (let index = 0; index < count; index++) {
      const { offset, bytes } = change(index);
      writeSync(file, bytes, 0, bytes.length, offset);
    }
  } finally {
    closeSync(file);
  }
}
