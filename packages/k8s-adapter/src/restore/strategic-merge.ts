import type { PatchMember, PatchSchema } from "../kube/patch-schema.ts";

/**
 * Kubernetes' strategic merge patches, as the API server applies them: lists of objects are merged by a key that the type
 * names, and members whose names begin with `$` say what cannot be said by data.
 */

export type Fields = Readonly<Record<string, unknown>>;

const ORDER = "$setElementOrder/";
const DELETE_FROM = "$deleteFromPrimitiveList/";

/** A new object; neither of the two is changed. Throws an error for a patch that the server would refuse. */
export function strategicMerge(original: Fields, patch: Fields, schema: PatchSchema): Fields {
  const { $patch: directive, $retainKeys: retained, ...changes } = patch;
  if (directive === "replace") {
    return strategicMerge({}, changes, schema);
  }
  if (directive === "delete") {
    return {};
  }
  if (directive !== undefined) {
    throw new Error(`$patch: ${JSON.stringify(directive)} is not known`);
  }
  const result = new Map(Object.entries(retain(original, changes, retained)));
  const ordered = orderLists(result, changes, schema);
  for (const [name, value] of Object.entries(changes)) {
    if (name.startsWith(DELETE_FROM)) {
      const list = name.slice(DELETE_FROM.length);
      const gone = new Set(listOf(value, name));
      const kept = result.get(list);
      if (Array.isArray(kept)) {
        const rest = kept.filter((each) => !gone.has(each));
        result.set(list, rest);
      }
    } else if (value === null) {
      result.delete(name);
    } else if (!name.startsWith(ORDER) && !ordered.has(name)) {
      result.set(name, mergeMember(result.get(name), value, schema.member(name)));
    }
  }
  return Object.fromEntries(result);
}

function retain(original: Fields, changes: Fields, retained: unknown): Fields {
  if (retained === undefined) {
    return original;
  }
  const kept = new Set(listOf(retained, "$retainKeys"));
  for (const [name, value] of Object.entries(changes)) {
    if (value !== null && !name.startsWith("$") && !kept.has(name)) {
      throw new Error(`${name} is not among its $retainKeys`);
    }
  }
  return Object.fromEntries(Object.entries(original).filter(([name]) => kept.has(name)));
}

/** The lists of which the patch gives the order; merged with what it says of their elements. */
function orderLists(
  result: Map<string, unknown>,
  changes: Fields,
  schema: PatchSchema,
): ReadonlySet<string> {
  const done = new Set<string>();
  for (const [directive, value] of Object.entries(changes)) {
    const name = directive.slice(ORDER.length);
    const before = result.get(name) ?? [];
    const change = changes[name] ?? [];
    if (!directive.startsWith(ORDER) || !Array.isArray(before) || !Array.isArray(change)) {
      continue;
    }
    if (result.has(name) || Object.hasOwn(changes, name)) {
      const member = schema.member(name);
      const order = listOf(value, directive);
      const keyOf = elementKey(member, [...before, ...change, ...order]);
      checkOrder(change, order, keyOf);
      const merged = change.length === 0 ? before : mergeMember(before, change, member);
      result.set(name, inOrder(listOf(merged, name), { order, before, keyOf }));
      done.add(name);
    }
  }
  return done;
}

function checkOrder(change: readonly unknown[], order: readonly unknown[], keyOf: KeyOf): void {
  const keys = order.map(keyOf);
  let last = -1;
  for (const element of change.filter((each) => directiveOf(each) === undefined)) {
    const position = keys.indexOf(keyOf(element));
    if (position <= last) {
      throw new Error("the elements of a list are in another order than its $setElementOrder");
    }
    last = position;
  }
}

function mergeMember(before: unknown, change: unknown, member: PatchMember): unknown {
  if (Array.isArray(change)) {
    const isMerged = member.strategies.includes("merge");
    return isMerged ? mergeList(Array.isArray(before) ? before : [], change, member) : change;
  }
  if (!isObject(change)) {
    return change;
  }
  const isMerged = isObject(before) && !member.strategies.includes("replace");
  return strategicMerge(isMerged ? before : {}, change, member.schema);
}

function mergeList(
  before: readonly unknown[],
  change: readonly unknown[],
  member: PatchMember,
): readonly unknown[] {
  const keyOf = elementKey(member, [...before, ...change]);
  const changes = change.filter((each) => directiveOf(each) === undefined);
  const directives = change.filter((each) => directiveOf(each) !== undefined);
  if (directives.some((each) => directiveOf(each) === "replace")) {
    return changes.map((each) => mergeMember(undefined, each, elementOf(member)));
  }
  const deleted = new Set(directives.map(keyOf));
  const merged = before.filter((each) => !deleted.has(keyOf(each)));
  for (const element of changes) {
    const at = merged.findIndex((each) => keyOf(each) === keyOf(element));
    const made = mergeMember(merged[at], element, elementOf(member));
    merged.splice(at < 0 ? merged.length : at, at < 0 ? 0 : 1, made);
  }
  return inOrder(merged, { order: changes, before, keyOf });
}

/** As an element of the list: merged whatever the strategy of the list is. */
const elementOf = ({ schema }: PatchMember): PatchMember => ({
  strategies: [],
  mergeKey: undefined,
  schema,
});

type KeyOf = (element: unknown) => unknown;

/** What makes two elements the same: a member of objects, anything else itself. */
function elementKey({ mergeKey }: PatchMember, elements: readonly unknown[]): KeyOf {
  if (!elements.some(isObject)) {
    return (element) => element;
  }
  if (mergeKey === undefined) {
    throw new Error("a list of objects has no key to merge it by");
  }
  return (element) => {
    const key = isObject(element) ? element[mergeKey] : undefined;
    if (key === undefined) {
      throw new Error(`an element of a list lacks the key ${mergeKey}`);
    }
    return key;
  };
}

/**
 * Elements that `order` names stand in that order, all others as they stood before; where the two meet, an element comes first if
 * it stood first, and one that is new before those that are not named.
 */
function inOrder(
  elements: readonly unknown[],
  {
    order,
    before,
    keyOf,
  }: {
    readonly order: readonly unknown[];
    readonly before: readonly unknown[];
    readonly keyOf: KeyOf;
  },
): readonly unknown[] {
  const wanted = order.map(keyOf);
  const stood = before.map(keyOf);
  const rank = (element: unknown): number => wanted.indexOf(keyOf(element));
  const named = elements.filter((each) => rank(each) >= 0).sort((a, b) => rank(a) - rank(b));
  const stoodBefore = (a: unknown, b: unknown): boolean => {
    const [first, second] = [stood.indexOf(keyOf(a)), stood.indexOf(keyOf(b))];
    return first >= 0 && first < second;
  };
  const result: unknown[] = [];
  for (const other of elements.filter((each) => rank(each) < 0)) {
    const next = named.findIndex((each) => stoodBefore(other, each));
    result.push(...named.splice(0, next < 0 ? named.length : next), other);
  }
  return [...result, ...named];
}

function directiveOf(element: unknown): unknown {
  const directive = isObject(element) ? element["$patch"] : undefined;
  if (directive !== undefined && directive !== "delete" && directive !== "replace") {
    throw new Error(`$patch: ${JSON.stringify(directive)} is not known`);
  }
  return directive;
}

function listOf(value: unknown, name: string): readonly unknown[] {
  if (!Array.isArray(value)) {
    throw new Error(`${name} is no list`);
  }
  return value;
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
