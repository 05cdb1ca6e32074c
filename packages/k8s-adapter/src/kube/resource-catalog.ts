import type { CallOptions } from "@varve/core";
import type { ResourceType } from "./kube-api.ts";

/** The types that the API server has, and how people name them (spec section 2.3). */
export interface ResourceCatalog {
  /** Preferred versions of all that can be listed, created, read and deleted, in backup's order (spec 2.3 steps 2 to 4). */
  readonly types: readonly ResourceType[];
  /** Every type of every version. */
  readonly all: readonly ResourceType[];
  /** Of plural, singular, short name, kind, with or without a group; undefined when there is none. */
  resolve(name: string): ResourceType | undefined;
  /** `resource` or `resource.group`: what a filter compares; the name itself when there is no such type. */
  canonical(name: string): string;
  forKind(apiVersion: string, kind: string): ResourceType | undefined;
  /** Asks the server again. */
  refresh(options?: CallOptions): Promise<void>;
}

/** `pods`, `deployments.apps`: as in the tarball's folders and in filters. */
export function groupResource({ group, resource }: { group: string; resource: string }): string {
  return group === "" ? resource : `${resource}.${group}`;
}
