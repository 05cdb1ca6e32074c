import { seededEnvironment } from "@varve/core/testing";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { scheduleControllers } from "../../src/schedule/schedule-controller.ts";
import { type Backup, type Schedule, VELERO } from "../../src/velero/resources.ts";
import { type LocationServer, startLocationServer } from "./location-server.ts";

/** Schedules on a real API server, by a clock that the tests move: every step is one call of the controller. */

const START = Date.parse("2100-01-01T00:00:30Z"); // later than any object is made
const clock = seededEnvironment({ seed: 1, startMs: START });
const [controller] = scheduleControllers();
const server: LocationServer = await startLocationServer([], { environment: clock });
afterAll(() => server[Symbol.asyncDispose]());
const { context, kube, namespace } = server;

const get = async (name: string): Promise<Schedule> =>
  (await kube.get(VELERO.schedules, { namespace, name })) as Schedule;
const step = async (name: string): Promise<{ readonly againMs: number } | undefined> =>
  (await controller?.reconcile(context, await get(name), {})) ?? undefined;
const backups = async (): Promise<readonly Backup[]> =>
  (await kube.listAll(VELERO.backups, { namespace })).items as readonly Backup[];
const names = (): Promise<string[]> => server.names(VELERO.backups);
const finish = (name: string, phase = "Completed"): Promise<unknown> =>
  kube.mergePatch(VELERO.backups, { namespace, name }, { status: { phase } });

/** As if it had been made a little before. */
async function schedule(name: string, spec: object, metadata: object = {}): Promise<void> {
  const lastSkipped = new Date(clock.nowMs()).toISOString();
  const template = { includedNamespaces: ["shop"], storageLocation: "main", ttl: "24h0m0s" };
  await server.create(VELERO.schedules, name, {
    metadata,
    spec: { template, ...spec },
    status: { lastSkipped },
  });
}

beforeEach(async () => {
  for (const { metadata } of await backups()) {
    await kube.delete(VELERO.backups, { namespace, name: metadata.name });
  }
});

describe("a schedule", () => {
  test("claim 32: every ten minutes makes backups ten minutes apart, named by their times", async () => {
    await schedule("ten", { schedule: "*/10 * * * *" });
    const startMs = clock.nowMs();
    const made: number[] = [];
    for (let count = 0; made.length < 3 && count < 20; count++) {
      const { againMs = 0 } = (await step("ten")) ?? {};
      const all = await names();
      if (all.length > made.length) {
        made.push(clock.nowMs());
        await finish(all.at(-1) ?? "");
      } else {
        clock.advance(againMs);
      }
    }
    expect(made.map((ms) => (ms - startMs) / 60_000)).toEqual([9.5, 19.5, 29.5]);
    const stamps = made.map((ms) => new Date(ms).toISOString().slice(0, 19).replaceAll(/\D/g, ""));
    expect(await names()).toEqual(stamps.map((stamp) => `ten-${stamp}`));
  });

  test("claim 34, 35: the backup is the template, the schedule stays Enabled", async () => {
    const metadata = { labels: { team: "a" }, annotations: { note: "x" } };
    await schedule("daily", { schedule: "0 7 * * *", useOwnerReferencesInBackup: true }, metadata);
    await step("daily");
    clock.advance(24 * 3_600_000);
    await step("daily");
    const [backup] = await backups();
    const { status, metadata: owner } = await get("daily");
    expect(backup?.metadata.name).toMatch(/^daily-\d{14}$/);
    expect(backup?.metadata.labels).toEqual({ team: "a", "velero.io/schedule-name": "daily" });
    expect(backup?.metadata.annotations).toEqual({ note: "x" });
    expect(backup?.metadata.ownerReferences?.[0]).toMatchObject({
      kind: "Schedule",
      uid: owner.uid,
    });
    expect(backup?.spec).toEqual({
      includedNamespaces: ["shop"],
      storageLocation: "main",
      ttl: "24h0m0s",
    });
    expect(status?.phase).toBe("Enabled");
    expect(Date.parse(status?.lastBackup ?? "")).toBe(Math.floor(clock.nowMs() / 1000) * 1000);
  });

  test("labels of the template take the place of its own", async () => {
    const template = { metadata: { labels: { from: "template" } } };
    await schedule("labelled", { schedule: "@hourly", template }, { labels: { team: "a" } });
    clock.advance(3_600_000);
    await step("labelled");
    const [backup] = await backups();
    expect(backup?.metadata.labels).toEqual({
      from: "template",
      "velero.io/schedule-name": "labelled",
    });
  });

  for (const phase of ["", "Queued", "ReadyToStart", "WaitingForPluginOperations", "Finalizing"]) {
    test(`claim 33: while a backup is ${phase || "new"}, none is begun, and times that pass are counted`, async () => {
      const name = `busy${phase.toLowerCase().slice(0, 5)}`;
      await schedule(name, { schedule: "*/10 * * * *" });
      clock.advance(600_000);
      await step(name);
      const [first = ""] = await names();
      if (phase !== "") {
        await finish(first, phase);
      }
      // Half an hour has three such times, whenever it begins.
      for (let steps = 0; steps < 6; steps++) {
        clock.advance(300_000);
        await step(name);
      }
      expect(await names()).toEqual([first]);
      const { annotations } = (await get(name)).metadata;
      expect(annotations?.["varve.dev/skipped-runs"]).toBe("3");
      const { body } = await context.metrics.text();
      expect(body).toContain(`varve_schedule_skipped_total{schedule="${name}"} 3`);
      const events = { group: "", version: "v1", resource: "events", namespaced: true };
      const { items } = await kube.listAll(events, { namespace });
      const ours = items.filter((event) => Object(event["involvedObject"]).name === name);
      expect(ours.map((event) => event["reason"])).toEqual(Array(3).fill("BackupSkipped"));
      await finish(first);
      await step(name);
      await step(name);
      expect(await names()).toHaveLength(2);
    });
  }

  test("times without a server are made up for once, and counted", async () => {
    await schedule("away", { schedule: "@hourly" });
    await step("away");
    clock.advance(5 * 3_600_000);
    await step("away");
    await step("away");
    expect(await names()).toHaveLength(1);
    expect((await get("away")).metadata.annotations?.["varve.dev/skipped-runs"]).toBe("4");
  });

  test("a server that is killed before it writes down what it made makes no second one", async () => {
    await schedule("killed", { schedule: "@hourly" });
    const before = await get("killed");
    clock.advance(3_600_000);
    await step("killed");
    const [name = ""] = await names();
    await finish(name);
    clock.advance(5000);
    await controller?.reconcile(context, { ...before, status: { phase: "Enabled" } }, {});
    expect(await names()).toEqual([name]);
  });

  test("a paused one makes none, and makes up for one when it goes on", async () => {
    await schedule("paused", { schedule: "@hourly", paused: true });
    clock.advance(3 * 3_600_000);
    expect(await step("paused")).toBeUndefined();
    expect(await names()).toEqual([]);
    await kube.mergePatch(
      VELERO.schedules,
      { namespace, name: "paused" },
      { spec: { paused: false } },
    );
    await step("paused");
    expect(await names()).toHaveLength(1);
  });

  test("skipImmediately lets pass what is due, once", async () => {
    await schedule("skip", { schedule: "@hourly", skipImmediately: true });
    clock.advance(3 * 3_600_000);
    await step("skip");
    await step("skip");
    expect(await names()).toEqual([]);
    const { spec, status } = await get("skip");
    expect(spec.skipImmediately).toBe(false);
    expect(Date.parse(status?.lastSkipped ?? "")).toBe(Math.floor(clock.nowMs() / 1000) * 1000);
    clock.advance(3_600_000);
    await step("skip");
    expect(await names()).toHaveLength(1);
  });

  test("claim 31: a bad expression is FailedValidation, and Enabled when it is mended", async () => {
    await schedule("bad", { schedule: "0 0 * * 7" });
    await step("bad");
    const bad = await get("bad");
    expect(bad.status?.phase).toBe("FailedValidation");
    expect(bad.status?.validationErrors?.[0]).toContain("day of the week");
    const patch = { spec: { schedule: "0 0 * * 0" } };
    await kube.mergePatch(VELERO.schedules, { namespace, name: "bad" }, patch);
    await step("bad");
    const good = await get("bad");
    expect(good.status?.phase).toBe("Enabled");
    expect(good.status?.validationErrors).toBeUndefined();
  });
});
