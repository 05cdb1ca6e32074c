import { parentPort, workerData } from "node:worker_threads";
import { listPacked } from "./local-listing.ts";
import { claimed, type FoundListing, type ListRequest, WAITING } from "./local-list-thread.ts";
import { countOf, type PackedListing } from "./packed-listing.ts";

/** The thread that lists ahead; see `local-list-thread.ts`. */

/** Sent at once, as long as the walk does not wait: a message costs as much as a look at several files. */
const MAX_FOUND = 16;
const MAX_FOUND_ENTRIES = 2000;

const claims = new Int32Array(workerData as SharedArrayBuffer); // what ListThread gives
let found: FoundListing[] = [];
let entries = 0;

parentPort?.on("message", (requests: readonly ListRequest[]) => {
  // From the far end, where the walk comes last: the two seldom meet at a directory.
  for (const { id, slot, path } of requests.toReversed()) {
    if (!claimed(claims, slot, id)) {
      continue; // the walk was here first
    }
    const listing = list(path);
    found.push({ id, listing });
    entries += listing === undefined ? 0 : countOf(listing);
    const isEnough = found.length >= MAX_FOUND || entries >= MAX_FOUND_ENTRIES;
    if (isEnough || Atomics.load(claims, WAITING) !== 0) {
      send();
    }
  }
  send();
});

function list(path: string): PackedListing | undefined {
  try {
    return listPacked(path);
  } catch {
    return undefined; // the walk meets the same error when it comes there, and reports it
  }
}

function send(): void {
  if (found.length > 0) {
    const buffers = found.flatMap(({ listing }) =>
      listing === undefined ? [] : [listing.facts.buffer],
    );
    parentPort?.postMessage(found, buffers);
  }
  found = [];
  entries = 0;
}
