import type { CallOptions } from "@varve/core";

/**
 * The API server as this package sees it: objects of any type as plain JSON, exactly as the server gave them. It knows
 * nothing of Velero. One implementation, over the connection settings of `@kubernetes/client-node`.
 */

/** Any object of the API. Members are kept as they came; integers beyond 2^53 as `LosslessNumber`. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [member: string]: unknown;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string | null;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
  [member: string]: unknown;
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** What a URL needs. */
export interface ResourceRef {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** The plural, as in URLs. */
  readonly resource: string;
  readonly namespaced: boolean;
}

/** A type as discovery tells of it. */
export interface ResourceType extends ResourceRef {
  readonly kind: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly verbs: readonly string[];
  /** The version that the server prefers for the group. */
  readonly preferred: boolean;
}

/** Where one object is; no namespace for cluster-scoped types. */
export interface ObjectName {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface ListOptions extends CallOptions {
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Objects a request; default 500. */
  readonly pageSize?: number | undefined;
}

export interface DeleteOptions extends CallOptions {
  /** Only the object that has this uid. */
  readonly uid?: string | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagation?: "Orphan" | "Background" | "Foreground" | undefined;
}

export interface WriteOptions extends CallOptions {
  readonly subresource?: "status" | undefined;
  readonly fieldManager?: string | undefined;
  readonly dryRun?: boolean | undefined;
}

export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface ExecOptions extends CallOptions {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** As it is: no shell. */
  readonly command: readonly string[];
  /** The call fails with code `timeout` after it; the command goes on. */
  readonly timeoutMs: number;
}

export interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  /** 0: it succeeded. */
  readonly exitCode: number;
}

/** Every method may throw {@link KubeError} and the signal's reason. */
export interface KubeApi {
  /** Every type of every group, each version; groups in the server's order. Groups that do not answer are named. */
  discover(
    options?: CallOptions,
  ): Promise<{ readonly types: readonly ResourceType[]; readonly failed: readonly string[] }>;
  /** The OpenAPI v3 document of `v1`, or of a group and version; throws `not-found`. */
  openApi(apiVersion: string, options?: CallOptions): Promise<unknown>;
  serverVersion(
    options?: CallOptions,
  ): Promise<{ gitVersion: string; major: string; minor: string }>;
  /** Each object once, page by page; a page that expired begins anew and gives nothing twice. Items carry apiVersion and kind. */
  list(type: ResourceRef, options?: ListOptions): AsyncIterable<KubeObject>;
  /** All of them at once, with the version from which to watch; for types of which there are few. */
  listAll(
    type: ResourceRef,
    options?: ListOptions,
  ): Promise<{ readonly items: readonly KubeObject[]; readonly resourceVersion: string }>;
  /** Throws `not-found`. */
  get(type: ResourceRef, name: ObjectName, options?: CallOptions): Promise<KubeObject>;
  /** Throws `already-exists`. The namespace and type are taken from `type` and `object`. */
  create(type: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeObject>;
  /** PUT; throws `conflict` unless the resourceVersion is current. */
  replace(type: ResourceRef, object: KubeObject, options?: WriteOptions): Promise<KubeObject>;
  /** A JSON merge patch (RFC 7396). A resourceVersion in it makes it conditional. */
  mergePatch(
    type: ResourceRef,
    name: ObjectName,
    patch: object,
    options?: WriteOptions,
  ): Promise<KubeObject>;
  /** True when there was one. */
  delete(type: ResourceRef, name: ObjectName, options?: DeleteOptions): Promise<boolean>;
  /** Events after `resourceVersion` until the server ends the watch; throws `expired` when that version is too old. */
  watch(
    type: ResourceRef,
    options: ListOptions & { readonly resourceVersion: string },
  ): AsyncIterable<WatchEvent>;
  exec(options: ExecOptions): Promise<ExecResult>;
}

export type KubeErrorCode =
  | "not-found"
  | "already-exists"
  | "conflict"
  | "invalid"
  | "forbidden"
  | "expired"
  | "timeout"
  | "unavailable"
  | "failed";

/** What the API server, or the way to it, said. Never holds tokens. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly code: KubeErrorCode;
  /** HTTP; 0 without an answer. */
  readonly status: number;
  constructor(
    code: KubeErrorCode,
    message: string,
    { status = 0, cause }: { status?: number; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.code = code;
    this.status = status;
  }
}

export function isKubeError(error: unknown, code: KubeErrorCode): error is KubeError {
  return error instanceof KubeError && error.code === code;
}

/** For what need not be there. */
export function ignoreMissing(error: unknown): undefined {
  if (!isKubeError(error, "not-found")) {
    throw error;
  }
}
