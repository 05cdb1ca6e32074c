import { type ObjectId, splitObjectId } from "../object/object-id.ts";
import type { Repository } from "../repository/repository.ts";
import { IdSet } from "./id-set.ts";
import type { Findings, Reason } from "./structure.ts";

/** Leads what was found bad in contents back to the objects that need them. */
export class ObjectProblems {
  readonly #repository: Repository;
  readonly #findings: Findings;
  readonly #signal: AbortSignal | undefined;
  readonly #clean: IdSet;

  constructor(options: {
    repository: Repository;
    findings: Findings;
    signal?: AbortSignal | undefined;
  }) {
    this.#repository = options.repository;
    this.#clean = new IdSet(options.repository.contents.index);
    this.#findings = options.findings;
    this.#signal = options.signal;
  }

  /** The first thing that keeps the object from being read, or nothing. */
  async of(object: ObjectId): Promise<Reason | undefined> {
    const known = this.#findings.objects.get(object);
    if (known !== undefined || this.#clean.has(object)) {
      return known;
    }
    const reason = await this.ofContents(object);
    if (reason === undefined) {
      this.#clean.add(object);
    } else if (splitObjectId(object).indirections > 0) {
      this.#findings.objects.set(object, reason); // spares reading its index again
    }
    return reason;
  }

  async ofContents(object: ObjectId): Promise<Reason | undefined> {
    const { indirections, contentId } = splitObjectId(object);
    if (indirections === 0) {
      return this.#findings.contents.get(contentId);
    }
    for await (const id of this.#repository.objects.contents(object, { signal: this.#signal })) {
      const reason = this.#findings.contents.get(id);
      if (reason !== undefined) {
        return reason;
      }
    }
    return undefined;
  }
}
