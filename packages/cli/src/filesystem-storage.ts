import { resolve } from "node:path";
import { openFileSystemStore, VarveError } from "@varve/core/blob";
import { InvalidArgumentError } from "commander";
import { type StorageType, textOf } from "./storage-type.ts";

export const FILESYSTEM: StorageType = {
  name: "filesystem",
  description: "a folder: a local disk or a mounted share",
  isNear: true,
  addOptions: (command) => {
    command
      .requiredOption("--path <folder>", "where the repository lies")
      .option("--file-mode <mode>", "permissions of new files, octal (0600)", parseMode)
      .option("--dir-mode <mode>", "permissions of new folders, octal (0700)", parseMode)
      .option("--flat", "all blobs of a new repository in one folder");
  },
  configOf: ({ path, fileMode, dirMode, flat }) => ({
    path: resolve(String(path)),
    fileMode,
    dirMode,
    flat,
  }),
  members: ["path", "fileMode", "dirMode", "flat"],
  fromKopia: ({ dirShards }) => ({
    flat: Array.isArray(dirShards) && dirShards.length === 0 ? true : undefined,
  }),
  toKopia: ({ flat }) => (flat === true ? { dirShards: [] } : {}),
  describe: ({ path }) => `filesystem ${String(path)}`,
  secrets: {},
  open: async (config, { readOnly = false, create = false }) => {
    const { fileMode, dirMode, flat } = config;
    const path = textOf(config, "path");
    if (path === undefined) {
      throw new VarveError("corrupt", "the connection file names no path");
    }
    return await openFileSystemStore(path, {
      readOnly,
      create,
      ...(typeof fileMode === "number" ? { fileMode } : {}),
      ...(typeof dirMode === "number" ? { directoryMode: dirMode } : {}),
      ...(flat === true ? { shards: [] } : {}),
    });
  },
};

function parseMode(text: string): number {
  if (!/^(?:0o)?[0-7]{3,4}$/.test(text)) {
    throw new InvalidArgumentError("not an octal mode like 0600");
  }
  return Number.parseInt(text.replace("0o", ""), 8);
}
