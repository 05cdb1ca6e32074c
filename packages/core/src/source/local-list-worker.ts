import { parentPort, workerData } from "node:worker_threads";
import { listPacked } from "./local-listing.ts";
import { claimed, type ListRequest } from "./local-list-thread.ts";
import type { PackedListing } from "./packed-listing.ts";

/** The thread that lists ahead; see `local-list-thread.ts`. */

const claims = new Int32Array(workerData as SharedArrayBuffer); // what ListThread gives

parentPort?.on("message", (requests: readonly ListRequest[]) => {
  for (const { id, slot, path } of requests) {
    if (!claimed(claims, slot, id)) {
      continue; // the walk was here first
    }
    let listing: PackedListing | undefined;
    try {
      listing = listPacked(path);
    } catch {
      // the walk meets the same error when it comes there, and reports it
    }
    const transfer = listing === undefined ? [] : [listing.facts.buffer];
    parentPort?.postMessage({ id, listing }, transfer);
  }
});
