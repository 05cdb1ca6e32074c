import { createGzip, type Gzip } from "node:zlib";
import { errorMessage, type Environment } from "@varve/core";
import type { LogFields, RunLog } from "./run-log.ts";

/** One half of `-results.gz` (semantics spec section 3.1). */
export interface RunResult {
  velero?: string[];
  cluster?: string[];
  namespaces?: Record<string, string[]>;
}

/** What is kept as text of one kind; more are counted only, so that a run that fails at every item stays small. */
const MAX_KEPT = 10_000;

/** A {@link RunLog} that is kept: as the text of `-logs.gz`, as counts, and as the entries of `-results.gz`. */
export class RecordedLog implements RunLog {
  readonly #environment: Environment;
  readonly #fields: Readonly<Record<string, string>>;
  readonly #gzip: Gzip;
  readonly #parts: Uint8Array[] = [];
  readonly #ended: Promise<void>;
  readonly #results = { warnings: {} as RunResult, errors: {} as RunResult };
  readonly #counts = { warnings: 0, errors: 0 };

  /** `fields` stand on every line, as `backup: "velero/b1"`. */
  constructor(environment: Environment, fields: Readonly<Record<string, string>>) {
    this.#environment = environment;
    this.#fields = fields;
    this.#gzip = createGzip();
    this.#gzip.on("data", (part: Uint8Array) => this.#parts.push(part));
    this.#ended = new Promise((resolve, reject) => {
      this.#gzip.once("end", resolve).once("error", reject);
    });
  }

  get warnings(): number {
    return this.#counts.warnings;
  }

  get errors(): number {
    return this.#counts.errors;
  }

  /** Both members are always there. */
  get results(): { readonly warnings: RunResult; readonly errors: RunResult } {
    return this.#results;
  }

  info(message: string, fields: LogFields = {}): void {
    this.#write("info", message, fields);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#write("warning", message, fields);
    this.#keep("warnings", message, fields);
  }

  error(message: string, fields: LogFields = {}): void {
    this.#write("error", message, fields);
    this.#keep("errors", message, fields);
  }

  /** Ends the log and gives its text, compressed. */
  async close(): Promise<readonly Uint8Array[]> {
    this.#gzip.end();
    await this.#ended;
    return this.#parts;
  }

  #write(level: string, message: string, fields: LogFields): void {
    const all = { ...this.#fields, ...fields };
    const rest = Object.keys(all)
      .sort()
      .flatMap((key) => (all[key] === undefined ? [] : [`${key}=${logValue(all[key])}`]));
    const time = new Date(this.#environment.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
    const line = [`time="${time}"`, `level=${level}`, `msg=${JSON.stringify(message)}`, ...rest];
    if (!this.#gzip.writableEnded) {
      this.#gzip.write(`${line.join(" ")}\n`);
    }
    this.#environment.log({
      level: level === "info" ? "debug" : level === "warning" ? "warning" : "error",
      message,
      fields: Object.fromEntries(
        Object.entries(all).flatMap(([key, value]) =>
          value === undefined ? [] : [[key, errorText(value)]],
        ),
      ),
    });
  }

  #keep(kind: "warnings" | "errors", message: string, fields: LogFields): void {
    this.#counts[kind]++;
    if (this.#counts[kind] > MAX_KEPT) {
      return;
    }
    const result = this.#results[kind];
    const text = resultText(message, fields);
    if (fields.namespace === undefined) {
      (result.velero ??= []).push(text);
    } else {
      const namespaces = (result.namespaces ??= {});
      (namespaces[fields.namespace] ??= []).push(text);
    }
  }
}

/** ` resource: /pods name: /writer message: /<text> error: /<error>`, as real Velero writes it (spec 3.1). */
export function resultText(message: string, { resource, name, error }: LogFields): string {
  return [
    resource === undefined ? "" : ` resource: /${resource}`,
    name === undefined ? "" : ` name: /${name}`,
    ` message: /${message}`,
    error === undefined ? "" : ` error: /${errorText(error)}`,
  ].join("");
}

function errorText(error: unknown): string {
  return typeof error === "object" && !(error instanceof Error)
    ? JSON.stringify(error)
    : errorMessage(error);
}

function logValue(value: unknown): string {
  const text = errorText(value);
  return /^[\w./:@^+-]*$/.test(text) ? text : JSON.stringify(text);
}
