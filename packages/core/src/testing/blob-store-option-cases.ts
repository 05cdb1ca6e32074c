import type { StoreFeature } from "../blob/store.ts";
import { check, checkBytes, checkFails, type StoreCheck } from "./checks.ts";

const ONE = Uint8Array.of(1);
const TWO = Uint8Array.of(2, 2);
const LONG = "-0123456789abcdef0123456789abcdef";
const MINUTE_MS = 60_000;

/** What the options of the calls promise, with each feature and without. */
export const OPTION_CASES: readonly StoreCheck[] = [
  {
    name: "ifAbsent never replaces, and one of several puts at once wins; unsupported without the feature",
    async check(store, id) {
      if (!store.features.has("put-if-absent")) {
        const put = store.put(id("x"), [ONE], { ifAbsent: true });
        await checkUnsupported(put, "put-if-absent");
        await checkFails(store.stat(id("x")), "blob-not-found", "the refused put wrote nothing");
        return;
      }
      for (const name of ["x", LONG]) {
        await store.put(id(name), [ONE], { ifAbsent: true });
        const again = store.put(id(name), [TWO], { ifAbsent: true });
        await checkFails(again, "blob-exists", "second put");
        checkBytes(await store.get(id(name)), ONE, "the first put stands");
      }
      const racers = Array.from({ length: 8 }, (_, index) =>
        store.put(id(`race${LONG}`), [Uint8Array.of(index)], { ifAbsent: true }),
      );
      const outcomes = await Promise.allSettled(racers);
      const winners = outcomes.flatMap(({ status }, index) =>
        status === "fulfilled" ? [index] : [],
      );
      check(winners.length === 1, `${winners.length} of 8 puts at once succeeded`);
      checkBytes(
        await store.get(id(`race${LONG}`)),
        Uint8Array.from(winners),
        "the winner's bytes",
      );
    },
  },
  {
    name: "a time that is set is told by put, stat and list; unsupported without the feature",
    async check(store, id) {
      const mtimeMs = 1_700_000_000_123;
      if (!store.features.has("set-mtime")) {
        await checkUnsupported(store.put(id("x"), [ONE], { mtimeMs }), "set-mtime");
        await checkFails(store.stat(id("x")), "blob-not-found", "the refused put wrote nothing");
        return;
      }
      const put = await store.put(id(LONG), [ONE], { mtimeMs });
      check(put.mtimeMs === mtimeMs, `put tells ${put.mtimeMs}`);
      check((await store.stat(id(LONG))).mtimeMs === mtimeMs, "stat tells the time");
      for await (const info of store.list(id(""))) {
        check(info.mtimeMs === mtimeMs, `list tells ${info.mtimeMs}`);
      }
    },
  },
  {
    name: "retention is taken and can be extended; unsupported without the feature",
    async check(store, id) {
      const { mtimeMs } = await store.put(id("now"), [ONE]);
      const retention = { mode: "governance", untilMs: mtimeMs + MINUTE_MS } as const;
      const later = { ...retention, untilMs: mtimeMs + 2 * MINUTE_MS };
      if (!store.features.has("object-lock")) {
        await checkUnsupported(store.put(id("x"), [ONE], { retention }), "object-lock");
        await checkFails(store.stat(id("x")), "blob-not-found", "the refused put wrote nothing");
        await checkUnsupported(store.extendRetention(id("now"), retention), "object-lock");
        return;
      }
      const missing = store.extendRetention(id("missing"), retention);
      await checkFails(missing, "blob-not-found", "extend retention of a missing blob");
      await store.put(id("x"), [ONE], { retention });
      await store.extendRetention(id("x"), later);
      await store.extendRetention(id("x"), retention);
      checkBytes(await store.get(id("x")), ONE, "a blob under retention is read");
    },
  },
  {
    name: "a call whose signal is aborted rejects with its reason and changes nothing",
    async check(store, id) {
      await store.put(id("there"), [ONE]);
      const reason = new Error("told to stop");
      const signal = AbortSignal.abort(reason);
      const calls = {
        put: () => store.put(id("x"), [ONE], { signal }),
        replace: () => store.put(id("there"), [TWO], { signal }),
        get: () => store.get(id("there"), { signal }),
        stat: () => store.stat(id("there"), { signal }),
        delete: () => store.delete(id("there"), { signal }),
        list: () => store.list(id(""), { signal })[Symbol.asyncIterator]().next(),
      };
      for (const [what, call] of Object.entries(calls)) {
        const outcome: unknown = await call().catch((error: unknown) => error);
        check(outcome === reason, `${what}: rejects with the signal's reason`);
      }
      await checkFails(store.stat(id("x")), "blob-not-found", "the aborted put wrote nothing");
      checkBytes(await store.get(id("there")), ONE, "the aborted calls changed nothing");
    },
  },
  {
    name: "many calls at once under one signal put few listeners on it, and take them off again",
    async check(store, id) {
      await store.put(id("there"), [ONE]);
      const { signal, listeners } = countedSignal();
      const calls = Array.from({ length: 50 }, () => store.get(id("there"), { signal }));
      await Promise.all(calls);
      check(listeners.most <= MAX_LISTENERS, `${listeners.most} listeners on one signal`);
      check(listeners.now === 0, `${listeners.now} listeners left on the signal`);
    },
  },
  {
    name: "the label is not empty and capacity, when known, makes sense",
    async check(store) {
      check(store.label.length > 0, "label");
      const capacity = await store.capacity?.();
      if (capacity !== undefined) {
        check(capacity.sizeBytes > 0, "the volume has a size");
        check(capacity.freeBytes >= 0 && capacity.freeBytes <= capacity.sizeBytes, "free space");
      }
    },
  },
];

async function checkUnsupported(running: Promise<unknown>, feature: StoreFeature): Promise<void> {
  await checkFails(running, "unsupported", `a store without feature ${feature}`);
}

// Node warns of a leak when there are more.
const MAX_LISTENERS = 10;

function countedSignal(): { signal: AbortSignal; listeners: { now: number; most: number } } {
  const { signal } = new AbortController();
  const listeners = { now: 0, most: 0 };
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...parameters: Parameters<typeof add>) => {
    listeners.now++;
    listeners.most = Math.max(listeners.most, listeners.now);
    add(...parameters);
  };
  signal.removeEventListener = (...parameters: Parameters<typeof remove>) => {
    listeners.now--;
    remove(...parameters);
  };
  return { signal, listeners };
}
