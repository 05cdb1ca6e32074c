import { expect, test } from "vitest";
import {
  boolean,
  duration,
  list,
  map,
  mappings,
  ordered,
  orSelectors,
  secretKey,
  selector,
} from "./flags.ts";

test("lists, maps and mappings gather what they are given", () => {
  expect(list("a, b", list("c"))).toEqual(["c", "a", "b"]);
  expect(map("a=1,b=x=y", map("c="))).toEqual({ c: "", a: "1", b: "x=y" });
  expect(mappings("a:b,c:d")).toEqual({ a: "b", c: "d" });
  expect(ordered("pods=n/a,n/b;persistentvolumes=p")).toEqual({
    pods: "n/a,n/b",
    persistentvolumes: "p",
  });
  expect(secretKey("cloud=keys")).toEqual({ name: "cloud", key: "keys" });
});

test("a selector is read as kubectl reads it", () => {
  expect(selector("app=web,tier in (a, b),env!=dev,!old,new")).toEqual({
    matchLabels: { app: "web" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["a", "b"] },
      { key: "env", operator: "NotIn", values: ["dev"] },
      { key: "old", operator: "DoesNotExist" },
      { key: "new", operator: "Exists" },
    ],
  });
  expect(orSelectors("a=1 or b=2")).toEqual([
    { matchLabels: { a: "1" } },
    { matchLabels: { b: "2" } },
  ]);
});

test("what cannot be understood is refused", () => {
  const wrong: (() => unknown)[] = [
    () => map("a"),
    () => mappings("a:b:c"),
    () => duration("1 day"),
    () => boolean("yes"),
    () => selector("a b"),
    () => ordered("pods"),
    () => secretKey("cloud"),
  ];
  for (const parse of wrong) {
    expect(parse).toThrowError();
  }
});
