import { expect, test } from "vitest";
import { selectorMatches, selectorProblems, selectorText } from "./label-selector.ts";

const selector = {
  matchLabels: { app: "web" },
  matchExpressions: [
    { key: "tier", operator: "In", values: ["front", "back"] },
    { key: "old", operator: "DoesNotExist" },
  ],
};

test("all requirements of a selector must hold", () => {
  expect(selectorMatches(selector, { app: "web", tier: "front" })).toBe(true);
  expect(selectorMatches(selector, { app: "web" })).toBe(false);
  expect(selectorMatches(selector, { app: "web", tier: "back", old: "1" })).toBe(false);
  expect(selectorMatches({}, undefined)).toBe(true);
});

test("the API server is asked for the same", () => {
  expect(selectorText(selector)).toBe("app=web,tier in (front,back),!old");
  expect(selectorText({})).toBe("");
});

test("operators that there are not, and values that do not fit, are told", () => {
  const expressions = [
    { key: "a", operator: "Like", values: ["x"] },
    { key: "a", operator: "In" },
    { key: "a", operator: "Exists", values: ["x"] },
  ];
  expect(selectorProblems({ matchExpressions: expressions })).toHaveLength(3);
  expect(selectorProblems(selector)).toEqual([]);
});
