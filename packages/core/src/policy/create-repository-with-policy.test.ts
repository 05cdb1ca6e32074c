import { expect, test } from "vitest";
import { createMemoryStore } from "../blob/memory-store.ts";
import { openRepository } from "../repository/open-repository.ts";
import { createRepositoryWithPolicy } from "./create-repository-with-policy.ts";
import { DEFAULT_POLICY } from "./default-policy.ts";
import { getPolicy } from "./policies.ts";
import { GLOBAL_TARGET } from "./policy-target.ts";

const password = "secret";

test.each([
  ["by default FastCDC, in the policy", undefined, "FASTCDC-1M", "DYNAMIC-4M-BUZHASH"],
  ["another FastCDC, in the policy", "FASTCDC-4M", "FASTCDC-4M", "DYNAMIC-4M-BUZHASH"],
  ["one of Kopia's, in the format", "FIXED-1M", undefined, "FIXED-1M"],
])(
  "a new repository has Kopia's global policy and a splitter: %s",
  async (_what, splitter, inPolicy, inFormat) => {
    const store = createMemoryStore();
    await createRepositoryWithPolicy(store, { password, splitter });
    await using repository = await openRepository(store, { password, readOnly: true });
    expect(repository.format.splitter).toBe(inFormat);
    expect(await getPolicy(repository, GLOBAL_TARGET)).toEqual({
      ...DEFAULT_POLICY,
      ...(inPolicy === undefined ? {} : { splitter: { algorithm: inPolicy } }),
    });
  },
);

test("an unknown splitter is refused before anything is stored", async () => {
  const store = createMemoryStore();
  await expect(
    createRepositoryWithPolicy(store, { password, splitter: "FASTCDC" }),
  ).rejects.toThrow(/"FASTCDC": known are .*FASTCDC-4M/);
  for await (const { id } of store.list("")) {
    expect.unreachable(id);
  }
});
