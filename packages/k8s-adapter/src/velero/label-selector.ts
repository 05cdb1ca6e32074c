import type { LabelSelector } from "./resources.ts";

/** Label selectors: as text for the API server's lists, and applied to labels that we hold. */

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"];

/** What is wrong with it; empty when it can be used. */
export function selectorProblems(selector: LabelSelector): string[] {
  return (selector.matchExpressions ?? []).flatMap(({ key, operator, values }) => {
    if (!OPERATORS.includes(operator)) {
      return [`label selector: ${JSON.stringify(operator)} is not an operator`];
    }
    const needsValues = operator === "In" || operator === "NotIn";
    return needsValues === (values?.length ?? 0) > 0
      ? []
      : [`label selector: ${operator} of ${key} ${needsValues ? "needs" : "takes no"} values`];
  });
}

/** For the query of a list; empty when it selects everything. */
export function selectorText(selector: LabelSelector): string {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const others = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    switch (operator) {
      case "In":
        return `${key} in (${values.join(",")})`;
      case "NotIn":
        return `${key} notin (${values.join(",")})`;
      case "Exists":
        return key;
      default:
        return `!${key}`;
    }
  });
  return [...equal, ...others].join(",");
}

/** All requirements hold; none are always met. */
export function selectorMatches(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>> = {},
): boolean {
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      const value = labels[key];
      switch (operator) {
        case "In":
          return value !== undefined && values.includes(value);
        case "NotIn":
          return value === undefined || !values.includes(value);
        case "Exists":
          return value !== undefined;
        case "DoesNotExist":
          return value === undefined;
        default:
          return false;
      }
    })
  );
}
