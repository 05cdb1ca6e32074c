import { closeSync, fstatSync, unlinkSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../base/errors.ts";
import { openExactTimes } from "./local-exact-times.ts";
import {
  applyMetadata,
  type EntryMetadata,
  type MetadataOptions,
  type Owner,
  SET_ID_BITS,
} from "./local-metadata.ts";
import { createReplacing, failure } from "./local-place.ts";
import type { BatchResult, FileBatch, WriterData, WriterOptions } from "./local-writers.ts";

/** The main program of a thread that makes small files. It ends when the main thread terminates it. */

assert(parentPort !== null, "local-writer-entry runs in a worker thread");
const port = parentPort;
const { memory, options: given } = workerData as WriterData; // what LocalWriters gave
const options: WriterOptions & MetadataOptions = {
  ...given,
  exactTimes: openExactTimes(),
};
port.on("message", (batch: FileBatch) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  port.postMessage(writeBatch(batch));
});

function writeBatch(batch: FileBatch): BatchResult {
  const failures: BatchResult["failures"][number][] = [];
  /** By directory, for this batch: whose the files are that we make there. */
  const owners = new Map<number, Owner>();
  for (const [position, place] of batch.places.entries()) {
    const at = typeof place === "string" ? place : Buffer.from(place);
    try {
      makeFile(at, {
        bytes: new Uint8Array(memory, batch.offsets[position], batch.lengths[position]),
        meta: metadataAt(batch, position),
        ownerOfNew: (fd) => ownerIn(owners, batch.directories[position] ?? -1, fd),
      });
    } catch (error) {
      const { code, message } = failure(error, "make file");
      failures.push({ position, code, message });
    }
  }
  return { batchId: batch.batchId, failures };
}

function makeFile(
  at: string | Buffer,
  file: {
    bytes: Uint8Array;
    meta: EntryMetadata | undefined;
    ownerOfNew: (fd: number) => Owner | undefined;
  },
): void {
  const { bytes, meta } = file;
  const fd = createReplacing(at, options);
  try {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done);
    }
    if (meta !== undefined) {
      // Nobody's word but the system's is taken for the owner of a program that runs with the owner's rights.
      const owner = (meta.mode & SET_ID_BITS) === 0 ? file.ownerOfNew(fd) : undefined;
      applyMetadata(fd, meta, options, owner);
    }
  } catch (error) {
    unlinkSync(at);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function ownerIn(owners: Map<number, Owner>, directory: number, fd: number): Owner {
  let owner = owners.get(directory);
  if (owner === undefined) {
    const { uid, gid } = fstatSync(fd);
    owner = { uid, gid };
    owners.set(directory, owner);
  }
  return owner;
}

function metadataAt(batch: FileBatch, position: number): EntryMetadata | undefined {
  const [mode = -1, uid = 0, gid = 0] = batch.owners.subarray(position * 3, position * 3 + 3);
  return mode < 0
    ? undefined
    : { mode, uid: uid >>> 0, gid: gid >>> 0, mtimeNs: batch.timesNs[position] ?? 0n };
}
