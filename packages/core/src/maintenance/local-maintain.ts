import { createServer, type Server } from "node:net";
import { toHex } from "../base/bytes.ts";
import type { Repository } from "../repository/repository.ts";
import { type MaintenanceOptions, type MaintenanceReport, runMaintenance } from "./run.ts";

/**
 * Maintenance by one process of this machine at a time (behaviour §4.1). The lock is a name that the kernel lends to one process and
 * takes back when it dies, however it dies: nothing stale is left, and nothing is written beside the repository.
 */

/**
 * Runs maintenance as {@link runMaintenance} does, unless another process of this machine is at it: then `mode` is `none` and
 * `busy` is set. Where there are no such names (macOS), the caller sees to it that there is one process.
 */
export async function maintain(
  repository: Repository,
  options: MaintenanceOptions = {},
): Promise<MaintenanceReport> {
  const lock = await takeLock(`varve-maintenance-${toHex(repository.format.uniqueId)}`);
  if (lock === "busy") {
    return { mode: "none", busy: true, tasks: [] };
  }
  try {
    return await runMaintenance(repository, options);
  } finally {
    lock?.close();
  }
}

/** `undefined` where the platform has none. */
async function takeLock(name: string): Promise<Server | "busy" | undefined> {
  const path = { linux: `\0${name}`, win32: `\\\\.\\pipe\\${name}` }[process.platform as string];
  if (path === undefined) {
    return undefined;
  }
  const server = createServer((connection) => connection.destroy()).unref();
  return await new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") {
        resolve("busy");
      } else {
        reject(error);
      }
    });
    server.listen({ path, exclusive: true }, () => resolve(server));
  });
}
