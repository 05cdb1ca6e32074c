import { readFileSync } from "node:fs";
import { openFileSystemStore, openRepository } from "@varve/core";
import { backUpVolume } from "../dist/volume/copy-volume.js";

/** A volume is backed up by a process that can be killed, as it was last compiled; its options come as JSON. */

const { store, password, ...options } = JSON.parse(readFileSync(0, "utf8"));
const blobs = await openFileSystemStore(store);
const repository = await openRepository(blobs, { password, workers: 1 });
await backUpVolume(repository, options);
await repository[Symbol.asyncDispose]();
