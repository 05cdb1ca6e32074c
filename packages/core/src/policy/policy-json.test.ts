import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isVarveError } from "../base/errors.ts";
import { validCron } from "./cron.ts";
import { compressorFor, metadataCompressorFor } from "./compression-choice.ts";
import { POLICY_FIELDS, nested } from "./policy-fields.ts";
import { policyFromJson, policyToJson } from "./policy-json.ts";
import {
  componentsBelow,
  formatTarget,
  inheritanceChain,
  parseTarget,
  policyLabels,
  targetOfLabels,
} from "./policy-target.ts";

describe("policyFromJson", () => {
  test("keeps unknown members, fits known ones to their names, drops null", () => {
    const policy = policyFromJson(
      {
        Retention: { KEEPLATEST: 3, keepFortnightly: 2, keepDaily: null },
        future: { x: [1] },
        files: { ignore: ["a"] },
        logging: { entries: { CacheHit: 1 } },
      },
      "test",
    );
    expect(policy).toEqual({
      retention: { keepLatest: 3, keepFortnightly: 2 },
      future: { x: [1] },
      files: { ignore: ["a"] },
      logging: { entries: { cacheHit: 1 } },
    });
    expect(policyToJson({ ...policy, retention: { ...policy.retention, keepLatest: 4 } })).toEqual({
      retention: { keepLatest: 4, keepFortnightly: 2 },
      future: { x: [1] },
      files: { ignore: ["a"] },
      logging: { entries: { cacheHit: 1 } },
    });
  });

  test.each(POLICY_FIELDS.map((field) => [field.path.join("."), field.path, field.type] as const))(
    "%s of a wrong type is corrupt",
    (_, path, type) => {
      const wrong = type === "string" ? 1 : "text";
      expect(() => policyFromJson(nested([[path, wrong]]), "test")).toThrow(
        expect.objectContaining({ code: "corrupt" }),
      );
    },
  );

  test.each([
    ["not an object", []],
    ["a section that is a list", { files: [] }],
    ["a list of numbers", { files: { ignore: [1] } }],
    ["a time that does not exist", { scheduling: { timeOfDay: [{ hour: 24, min: 0 }] } }],
    ["an action that is a text", { actions: { beforeFolder: "rm" } }],
  ])("%s is corrupt", (_, payload) => {
    expect(() => policyFromJson(payload, "test")).toThrow(
      expect.objectContaining({ code: "corrupt" }),
    );
  });

  test("any JSON gives a policy or a VarveError, and a policy survives a round trip", () => {
    const keys = fc.constantFrom(
      "files",
      "Files",
      "ignore",
      "retention",
      "keepLatest",
      "__proto__",
      "noParent",
      "scheduling",
      "timeOfDay",
      "hour",
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom(null, true, 1, -1, 1e300, "x", ""),
        fc.array(tie("value"), { maxLength: 3 }),
        fc
          .array(fc.tuple(keys, tie("value")), { maxLength: 4 })
          .map((entries) => Object.fromEntries(entries)),
      ),
    }));
    fc.assert(
      fc.property(value, (payload) => {
        try {
          const policy = policyFromJson(payload, "fuzz");
          expect(policyToJson(policyFromJson(policyToJson(policy), "fuzz"))).toEqual(
            policyToJson(policy),
          );
        } catch (error) {
          expect(isVarveError(error, "corrupt")).toBe(true);
        }
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});

describe("targets", () => {
  const client = { hostname: "box", username: "ann" };
  test.each([
    ["--global", "(global)", ["(global)"]],
    ["@h", "@h", ["@h", "(global)"]],
    ["u@h", "u@h", ["u@h", "@h", "(global)"]],
    ["u@h:/a/b", "u@h:/a/b", ["u@h:/a/b", "u@h:/a", "u@h:/", "u@h", "@h", "(global)"]],
    ["/a/", "ann@box:/a", ["ann@box:/a", "ann@box:/", "ann@box", "@box", "(global)"]],
    ["/", "ann@box:/", ["ann@box:/", "ann@box", "@box", "(global)"]],
    [
      "C:\\x\\y",
      "ann@box:C:\\x\\y",
      ["ann@box:C:\\x\\y", "ann@box:C:\\x", "ann@box:C:\\", "ann@box", "@box", "(global)"],
    ],
    ["u@h:rel/x", "u@h:rel/x", ["u@h:rel/x", "u@h:rel", "u@h", "@h", "(global)"]],
  ])("%s is %s and inherits along %j", (text, formatted, chain) => {
    const target = parseTarget(text, client);
    expect(formatTarget(target)).toBe(formatted);
    expect(targetOfLabels(policyLabels(target))).toEqual(target);
    expect(inheritanceChain(target).map(formatTarget)).toEqual(chain);
  });

  test.each(["", "rel/path", "@", "u@", "@h:/x"])("%j is no target", (text) => {
    expect(() => parseTarget(text, client)).toThrow(
      expect.objectContaining({ code: "invalid-argument" }),
    );
  });

  test("labels that mean no target are not one", () => {
    for (const labels of [
      { policyType: "host" },
      { policyType: "user", hostname: "h" },
      { policyType: "path", hostname: "h", username: "u" },
      { policyType: "x", hostname: "h", username: "u", path: "/" },
    ]) {
      expect(targetOfLabels(labels)).toBeUndefined();
    }
  });

  test.each([
    ["/", "/a/b", ["a", "b"]],
    ["/a", "/a/b", ["b"]],
    ["/a", "/ab", undefined],
    ["/a", "/a", undefined],
    ["C:\\a", "C:\\a\\b/c", ["b", "c"]],
    ["/a", "/a\\b", undefined],
  ])("below %s, %s is %j", (ancestor, path, expected) => {
    expect(componentsBelow(ancestor, path)).toEqual(expected);
  });
});

describe("compression", () => {
  const compression = {
    compressorName: "zstd",
    onlyCompress: [".zip"],
    neverCompress: [".zip", ".gz"],
    minSize: 10,
    maxSize: 100,
  };
  test.each([
    ["a.txt", 50, "zstd"],
    ["a.gz", 50, "none"],
    ["a.GZ", 50, "zstd"],
    ["a.tar.gz", 50, "none"],
    [".gz", 50, "none"],
    ["gz", 50, "zstd"],
    ["a.zip", 50, "zstd"],
    ["a.txt", 9, "none"],
    ["a.txt", 10, "zstd"],
    ["a.txt", 100, "zstd"],
    ["a.zip", 101, "none"],
  ])("%s of %d bytes: %s", (name, sizeBytes, expected) => {
    expect(compressorFor({ compression }, { name, sizeBytes })).toBe(expected);
  });

  test("nothing named means none", () => {
    expect(compressorFor({}, { name: "a", sizeBytes: 1 })).toBe("none");
    expect(
      compressorFor({ compression: { compressorName: "" } }, { name: "a", sizeBytes: 1 }),
    ).toBe("none");
    expect(metadataCompressorFor({})).toBe("none");
    expect(metadataCompressorFor({ metadataCompression: { compressorName: "zstd" } })).toBe("zstd");
  });
});

describe("cron expressions", () => {
  test.each([
    "0 3 * * *",
    "*/5 0-6,8 1 JAN-MAR MON#1 # comment",
    "0 0 0 L * ? 2030",
    "@daily",
    "# only a comment",
    "",
  ])("%j is accepted", (expression) => {
    expect(validCron(expression)).toBe(true);
  });
  test.each(["* * * *", "a b", "* * * * * * * *", "1- * * * *", "@never"])(
    "%j is not",
    (expression) => {
      expect(validCron(expression)).toBe(false);
    },
  );
});
