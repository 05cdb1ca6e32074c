import type { KubeObject } from "../kube/kube-api.ts";

/** What became of every object: `restore-<restore>-resource-list.json.gz` (spec section 3.5). */
export type ItemOutcome = "created" | "updated" | "failed" | "skipped";

export class RestoredList {
  readonly #outcomes = new Map<string, Map<string, ItemOutcome>>();

  set({ apiVersion = "", kind = "", metadata }: KubeObject, outcome: ItemOutcome): void {
    const key = `${apiVersion}/${kind}`;
    const items = this.#outcomes.get(key) ?? new Map<string, ItemOutcome>();
    const { namespace, name } = metadata;
    items.set(namespace === undefined ? name : `${namespace}/${name}`, outcome);
    this.#outcomes.set(key, items);
  }

  toJson(): Record<string, string[]> {
    return Object.fromEntries(
      [...this.#outcomes].map(([key, items]) => [
        key,
        [...items].map(([name, outcome]) => `${name}(${outcome})`).sort(),
      ]),
    );
  }
}
