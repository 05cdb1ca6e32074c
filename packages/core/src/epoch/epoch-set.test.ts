import { describe, expect, test } from "vitest";
import { type BlobInfo, parseBlobId } from "../blob/store.ts";
import { resolveEpochs } from "./epoch-set.ts";

function blobs(text: string): BlobInfo[] {
  return text
    .split(" ")
    .filter((id) => id !== "")
    .map((id) => ({ id: parseBlobId(id), size: 1, mtimeMs: 0 }));
}

function liveOf(text: string): string {
  return resolveEpochs(blobs(text))
    .live.map(({ id }) => id)
    .join(" ");
}

describe("the live set", () => {
  test.each([
    ["W=0, nothing", "", ""],
    ["W=0", "xn0_a xn0_b", "xn0_a xn0_b"],
    ["W=0, written ahead", "xn0_a xn1_b xn2_c", "xn0_a xn1_b"],
    ["W=1", "xe1 xn0_a xn1_b", "xn0_a xn1_b"],
    ["W=1, a compaction of an epoch that is not settled", "xe1 xn0_a xs0_s-s1-c1", "xn0_a"],
    ["W=2, settled without compaction", "xe1 xe2 xn0_a xn1_b xn2_c", "xn0_a xn1_b xn2_c"],
    ["W=2, settled", "xe1 xe2 xn0_a xn1_b xn2_c xs0_s-s1-c1", "xs0_s-s1-c1 xn1_b xn2_c"],
    ["W=2, inputs cleaned up", "xe2 xn1_b xs0_s-s1-c1", "xs0_s-s1-c1 xn1_b"],
    ["W=2, half a compaction", "xe2 xn0_a xs0_s-s1-c2", "xn0_a"],
    ["W=2, a compaction in two", "xe2 xn0_a xs0_s-s1-c2 xs0_t-s1-c2", "xs0_s-s1-c2 xs0_t-s1-c2"],
    ["W=3", "xe2 xe3 xn2_c xn3_d xs0_s-s1-c1 xs1_t-s2-c1", "xs0_s-s1-c1 xs1_t-s2-c1 xn2_c xn3_d"],
    ["W=3, a hole", "xe3 xn1_b xn4_e xs0_s-s1-c1", "xs0_s-s1-c1 xn1_b xn4_e"],
    [
      "W=4, range and raw",
      "xe4 xr0_2_r-s1-c1 xn0_a xs1_s-s2-c1 xn3_b xn4_c",
      "xr0_2_r-s1-c1 xn3_b xn4_c",
    ],
    ["W=4, half a range", "xe4 xr0_2_r-s1-c2 xn0_a xs1_s-s2-c1 xn4_c", "xn0_a xs1_s-s2-c1 xn4_c"],
    ["W=5, a range of epoch 0 alone", "xe5 xr0_0_r-s1-c1 xn0_a xn1_b", "xn0_a xn1_b"],
    ["W=6, a range that does not start at 0", "xe6 xr1_3_r-s1-c1 xn0_a xn2_b", "xn0_a xn2_b"],
    [
      "W=7, range, single and raw",
      "xe7 xr0_3_r-s1-c1 xs4_s-s2-c1 xs5_t-s3-c1 xn5_x xn6_a xn7_b xn8_c xn9_d",
      "xr0_3_r-s1-c1 xs4_s-s2-c1 xs5_t-s3-c1 xn6_a xn7_b xn8_c",
    ],
    [
      "W=7, a chain",
      "xe7 xr0_2_r-s1-c1 xr3_5_q-s2-c1 xs4_s-s3-c1 xn6_a",
      "xr0_2_r-s1-c1 xr3_5_q-s2-c1 xn6_a",
    ],
    ["epoch 1 is not epoch 10", "xe1 xn1_a xn10_b", "xn1_a"],
    ["epochs are ordered as numbers", "xe11 xn10_b xn9_a", "xn9_a xn10_b"],
    ["foreign and malformed names", "xe1 xn0_a xeel xn_b xfoo xs1 xr1_2 xwx", "xn0_a"],
  ])("%s", (_, listed, expected) => {
    expect(liveOf(listed)).toBe(expected);
  });
  test("a stray marker far ahead costs nothing and settles everything", () => {
    expect(liveOf("xe999999999999999 xn0_a xs1_s-s1-c1 xn1_b")).toBe("xn0_a xs1_s-s1-c1");
  });
});

describe("markers that are lost", () => {
  const name = `_${"a".repeat(32)}-s0123456789abcdef`;
  test.each([
    ["a settled epoch is known by its compaction", `xe4 xs3${name}-c1 xn4${name}147-c1`, 5],
    ["by a range", `xr0_9${name}-c1`, 11],
    ["by what was written", `xe1 xn3${name}147-c1`, 3],
    ["not by a name that nobody writes", "xe1 xn3_a xs7_s-s1-c1", 1],
  ])("%s", (_, listed, epoch) => {
    const { writeEpoch, live } = resolveEpochs(blobs(listed));
    expect(writeEpoch).toBe(epoch);
    expect(live.length).toBe(
      listed.split(" ").filter((id) => id.endsWith("-c1")).length - (epoch === 1 ? 1 : 0),
    );
  });
});

describe("the chain of ranges", () => {
  test.each([
    ["the longest wins over the first step", "xr0_4_a xr0_2_b xr3_9_c", ["0-2", "3-9"]],
    ["fewer ranges win at the same end", "xr0_2_a xr3_9_b xr0_9_c", ["0-9"]],
    ["fewer ranges win further on", "xr0_1_a xr2_3_b xr4_9_c xr2_9_d", ["0-1", "2-9"]],
    ["a gap ends it", "xr0_2_a xr4_9_b", ["0-2"]],
    ["an overlap is no way on", "xr0_3_a xr3_9_b", ["0-3"]],
    ["a backward range is none", "xr0_3_a xr4_2_b", ["0-3"]],
    ["a range of one epoch counts", "xr0_3_a xr4_4_b xr5_6_c", ["0-3", "4-4", "5-6"]],
    ["an incomplete link breaks it", "xr0_3_a-s1-c1 xr4_6_b-s2-c2", ["0-3"]],
  ])("%s", (_, listed, expected) => {
    const { ranges } = resolveEpochs(blobs(`xe20 ${listed}`));
    expect(ranges.map(({ first, last }) => `${first}-${last}`)).toEqual(expected);
  });
  test("ten thousand ranges are chained without recursion", () => {
    const links = Array.from({ length: 10_000 }, (_, index) => `xr${index * 2}_${index * 2 + 1}_a`);
    expect(resolveEpochs(blobs(`xe30000 ${links.join(" ")}`)).ranges.length).toBe(10_000);
  });
});

test("the highest marker and watermark count", () => {
  const { writeEpoch, watermarkSeconds } = resolveEpochs(blobs("xe2 xe10 xe9 xw1700 xw900"));
  expect({ writeEpoch, watermarkSeconds }).toEqual({ writeEpoch: 10, watermarkSeconds: 1700 });
});
