import { parentPort } from "node:worker_threads";
import { listPacked, type PackedListing } from "./local-listing.ts";

/** The thread that lists ahead; see `local-list-thread.ts`. */

parentPort?.on("message", ({ id, path }: { id: number; path: string }) => {
  let listing: PackedListing | undefined;
  try {
    listing = listPacked(path);
  } catch {
    // the walk meets the same error when it comes there, and reports it
  }
  const transfer = listing === undefined ? [] : [listing.facts.buffer, listing.mtimesNs.buffer];
  parentPort?.postMessage({ id, listing }, transfer);
});
