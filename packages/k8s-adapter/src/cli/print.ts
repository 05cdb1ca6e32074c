import { stringify } from "yaml";
import type { KubeObject, ResourceRef } from "../kube/kube-api.ts";
import type { CliContext } from "./context.ts";

/** Resources as people read them. */

export interface Column {
  readonly title: string;
  readonly value: (object: KubeObject) => unknown;
}

export function field(...path: readonly string[]): (object: KubeObject) => unknown {
  return (object) =>
    path.reduce<unknown>(
      (value, key) => (value as Record<string, unknown> | undefined)?.[key],
      object,
    );
}

/** Lines of equal columns, without what a shell has to cut off. */
export function table(objects: readonly KubeObject[], columns: readonly Column[]): string {
  const rows = [
    columns.map(({ title }) => title),
    ...objects.map((object) => columns.map(({ value }) => text(value(object)))),
  ];
  const widths = columns.map((_column, index) =>
    Math.max(...rows.map((row) => row[index]?.length ?? 0)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join("   ")
        .trimEnd(),
    )
    .join("\n");
}

function text(value: unknown): string {
  return value === undefined || value === null || value === ""
    ? "-"
    : typeof value === "string"
      ? value
      : JSON.stringify(value);
}

export type OutputFormat = "table" | "yaml" | "json";

/** One object by its name, or all, by name. */
export async function printResources(
  { kube, namespace, print }: CliContext,
  type: ResourceRef,
  {
    names,
    columns,
    output,
  }: {
    readonly names: readonly string[];
    readonly columns: readonly Column[];
    readonly output: OutputFormat;
  },
): Promise<void> {
  const objects: KubeObject[] = [];
  for (const name of names) {
    objects.push(await kube.get(type, { namespace, name }));
  }
  if (names.length === 0) {
    objects.push(...(await kube.listAll(type, { namespace })).items);
  }
  if (output === "table") {
    print(table(objects, columns));
  } else {
    const shown =
      names.length === 1 ? objects[0] : { apiVersion: "v1", kind: "List", items: objects };
    print(output === "json" ? JSON.stringify(shown, null, 2) : stringify(shown).trimEnd());
  }
}
