import type { BlobStore, Environment, StoreLimits } from "@varve/core/blob";
import type { Command } from "commander";

/** What a kind of storage is to the command line; the kinds are in `storage.ts`. */

/** What the connection file says about a place. */
export interface StorageLocation {
  readonly type: string;
  readonly config: StorageConfig;
  /** How fast it may be asked, where whoever named the place said so too. */
  readonly limits?: StoreLimits | undefined;
}

export type StorageConfig = Readonly<Record<string, string | number | boolean | undefined>>;

/** Kopia's configuration of a storage, as its connection files and tokens have it. */
export type KopiaConfig = Readonly<Record<string, unknown>>;

export interface StorageType {
  /** The word on the command line and in the connection file. */
  readonly name: string;
  readonly description: string;
  /** A folder of this machine, which a cache on this machine makes no quicker. */
  readonly isNear?: true;
  addOptions(command: Command): void;
  /** From the options that `addOptions` added. */
  configOf(options: StorageConfig): StorageConfig | Promise<StorageConfig>;
  /** Members of the configuration that have the same name and meaning in Kopia's; the case of letters does not matter there. */
  readonly members: readonly string[];
  /** The members that have another form in Kopia's configuration; what is of no use is left out. */
  fromKopia?(config: KopiaConfig): StorageConfig;
  toKopia?(config: StorageConfig): KopiaConfig;
  /** One line for people, without secrets. */
  describe(config: StorageConfig): string;
  /**
   * Members of the configuration that nobody may see, and the environment variable that each comes from when the
   * configuration has none of them. One without a variable is kept whenever it is given.
   */
  readonly secrets: Readonly<Record<string, string | undefined>>;
  /** Throws `corrupt` for a configuration that lacks something. */
  open(config: StorageConfig, options: OpenStoreOptions): Promise<BlobStore>;
}

export interface OpenStoreOptions {
  readonly environment: Environment;
  readonly readOnly?: boolean;
  /** Make the place when it does not exist; buckets and containers are made by their owners. */
  readonly create?: boolean;
}

/** A member that is text, or `undefined`; so is the empty text. */
export function textOf(config: StorageConfig | KopiaConfig, name: string): string | undefined {
  const value = config[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}
