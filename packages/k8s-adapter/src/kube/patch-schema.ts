import type { CallOptions } from "@varve/core";

/**
 * How the members of built-in types are merged, as every API server says in its OpenAPI documents: the same tags by which
 * it merges strategic merge patches itself.
 */

/** Of an object. */
export interface PatchSchema {
  member(name: string): PatchMember;
}

export interface PatchMember {
  readonly strategies: readonly string[];
  readonly mergeKey: string | undefined;
  /** Of the member, if it is an object, or of its elements, if it is a list. */
  readonly schema: PatchSchema;
}

/** `undefined`: not a built-in type, or one that this server does not have. Each group's document is asked for once. */
export type PatchSchemaOf = (
  apiVersion: string,
  kind: string,
  options?: CallOptions,
) => Promise<PatchSchema | undefined>;

/** `openApi` gives the document of `v1`, or of a group and version. */
export function patchSchemas(
  openApi: (apiVersion: string, options?: CallOptions) => Promise<unknown>,
): PatchSchemaOf {
  const documents = new Map<string, Promise<unknown>>();
  return async (apiVersion, kind, options) => {
    if (!/^[a-z0-9][a-z0-9.-]*(?:\/[a-z0-9]+)?$/.test(apiVersion)) {
      return undefined;
    }
    const asked = documents.get(apiVersion) ?? openApi(apiVersion, options);
    documents.set(apiVersion, asked);
    let document: unknown;
    try {
      document = await asked;
    } catch (error) {
      documents.delete(apiVersion);
      throw error;
    }
    return findSchema(document, { apiVersion, kind });
  };
}

type Fields = Readonly<Record<string, unknown>>;

/** Custom resources have schemas, too, under the names of their groups. */
const BUILT_IN =
  /^io\.k8s\.(?:api|apiextensions-apiserver\.pkg\.apis|kube-aggregator\.pkg\.apis)\./;

function findSchema(
  document: unknown,
  { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
): PatchSchema | undefined {
  const schemas = fieldsOf(fieldsOf(fieldsOf(document)["components"])["schemas"]);
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const found = Object.entries(schemas).find(([name, schema]) => {
    const kinds = fieldsOf(schema)["x-kubernetes-group-version-kind"];
    return (
      BUILT_IN.test(name) &&
      Array.isArray(kinds) &&
      kinds
        .map(fieldsOf)
        .some(
          (each) => each["group"] === group && each["version"] === version && each["kind"] === kind,
        )
    );
  });
  return found && schemaOf(found[1], schemas);
}

function schemaOf(schema: unknown, schemas: Fields): PatchSchema {
  const { properties, additionalProperties } = resolve(schema, schemas);
  const members = fieldsOf(properties);
  return {
    member(name) {
      const own = fieldsOf(Object.hasOwn(members, name) ? members[name] : additionalProperties);
      const strategy = own["x-kubernetes-patch-strategy"];
      const mergeKey = own["x-kubernetes-patch-merge-key"];
      return {
        strategies: typeof strategy === "string" ? strategy.split(",") : [],
        mergeKey: typeof mergeKey === "string" ? mergeKey : undefined,
        get schema() {
          return schemaOf(own["items"] ?? own, schemas);
        },
      };
    },
  };
}

const REFERENCE = "#/components/schemas/";

/** The schema itself, or the one that it refers to: no chain of references is longer than one. */
function resolve(schema: unknown, schemas: Fields): Fields {
  const own = fieldsOf(schema);
  const { allOf } = own;
  const all: readonly unknown[] = Array.isArray(allOf) ? allOf : [];
  for (const { $ref } of [own, ...all.map(fieldsOf)]) {
    if (typeof $ref === "string" && $ref.startsWith(REFERENCE)) {
      return fieldsOf(schemas[$ref.slice(REFERENCE.length)]);
    }
  }
  return own;
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {}; // its members are looked at one by one
}
