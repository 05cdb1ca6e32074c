import { fork } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { createTestRepository } from "../../test/upload-fixture.ts";
import { maintain } from "./local-maintain.ts";

test("two of one machine do not maintain one repository at once", async () => {
  const { repository } = await createTestRepository();
  const both = await Promise.all([
    maintain(repository, { mode: "quick" }),
    maintain(repository, { mode: "quick" }),
  ]);
  expect(both.map(({ mode, busy = false }) => ({ mode, busy }))).toEqual([
    { mode: "quick", busy: false },
    { mode: "none", busy: true },
  ]);
  expect(await maintain(repository, { mode: "quick" })).toMatchObject({ mode: "quick" });
});

test("a process that is killed leaves no lock behind", async () => {
  const { repository } = await createTestRepository();
  const name = `varve-maintenance-${Buffer.from(repository.format.uniqueId).toString("hex")}`;
  const holds = `require("net").createServer().listen("\\0" + process.argv[1], () => process.send(1))`;
  const child = fork("-e", { execArgv: ["-e", holds, name], stdio: "ignore" });
  await once(child, "message");
  expect(await maintain(repository, { mode: "quick" })).toMatchObject({ busy: true });
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await maintain(repository, { mode: "quick" })).toMatchObject({ mode: "quick" });
});
