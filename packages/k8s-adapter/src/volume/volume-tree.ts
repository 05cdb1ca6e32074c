import { localSource, type SourceEntry } from "@varve/core";
import type { CallOptions } from "@varve/core/blob";

/**
 * A mounted volume as a source: its root has the name of the resource that asked, and leaves out what does not belong to
 * the volume's data.
 */

/** What restores leave for `restore-wait` (spec section 4.6). */
export const MARKER_FOLDER = ".velero";
/** Read-only views of the past that file servers show at the root of an export: they can be copied and never restored. */
export const SNAPSHOT_FOLDERS: readonly string[] = [".snapshot", "~snapshot"];

export async function volumeTree(
  path: string,
  {
    name,
    snapshotFolders,
    signal,
  }: CallOptions & {
    readonly name: string;
    /** True: file servers' snapshot folders are part of the data. */
    readonly snapshotFolders: boolean;
  },
): Promise<SourceEntry> {
  const root = await localSource(path, { ahead: true, signal });
  const left = new Set([MARKER_FOLDER, ...(snapshotFolders ? [] : SNAPSHOT_FOLDERS)]);
  return {
    name,
    meta: root.meta,
    path: root.path,
    deviceId: root.deviceId,
    read: (options) => root.read(options),
    async *children(options) {
      for await (const child of root.children(options)) {
        if (!left.has(child.name)) {
          yield child;
        }
      }
    },
    ...(root.child === undefined
      ? {}
      : {
          child: async (childName, options) =>
            left.has(childName) ? undefined : await root.child?.(childName, options),
        }),
  };
}
