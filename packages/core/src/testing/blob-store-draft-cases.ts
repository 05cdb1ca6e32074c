import { check, checkBytes, checkFails, type StoreCheck } from "./checks.ts";

const FOUR = Uint8Array.of(1, 1, 2, 2);
const PIECES = [
  { offset: 2, bytes: FOUR.subarray(2) },
  { offset: 0, bytes: FOUR.subarray(0, 2) },
];
const LONG = "-0123456789abcdef0123456789abcdef";

/** What drafts promise; a store without them meets it by having none. */
export const DRAFT_CASES: readonly StoreCheck[] = [
  {
    name: "a draft is nowhere until it is published, and then what put would have stored",
    async check(store, id) {
      for (const name of ["x", LONG]) {
        const draft = await store.draft?.(id(name));
        if (draft === undefined) {
          return;
        }
        await checkFails(store.stat(id(name)), "blob-not-found", "stat of an open draft");
        await checkFails(store.get(id(name)), "blob-not-found", "get of an open draft");
        for await (const info of store.list(id(""))) {
          check(info.id !== id(name), "an open draft is listed");
        }
        const { mtimeMs, ...published } = await draft.publish(PIECES);
        check(published.id === id(name) && published.size === 4, "publish tells id and size");
        checkBytes(await store.get(id(name)), FOUR, "get");
        check((await store.stat(id(name))).mtimeMs === mtimeMs, "publish and stat tell one time");
        await draft.discard();
        checkBytes(await store.get(id(name)), FOUR, "get after a discard that came too late");
      }
    },
  },
  {
    name: "a draft replaces when it is published, and changes nothing when it is discarded or aborted",
    async check(store, id) {
      if (store.draft === undefined) {
        return;
      }
      await store.put(id(LONG), [new Uint8Array(5000)]);
      const discarded = await store.draft(id(LONG));
      await discarded.discard();
      await discarded.discard();
      const reason = new Error("stop");
      const signal = AbortSignal.abort(reason);
      const aborted = await (await store.draft(id(LONG))).publish(PIECES, { signal }).then(
        () => "nothing",
        (error: unknown) => error,
      );
      check(aborted === reason, "an aborted publish throws the reason");
      check((await store.stat(id(LONG))).size === 5000, "neither of them changed the blob");
      await (await store.draft(id(LONG))).publish(PIECES);
      checkBytes(await store.get(id(LONG)), FOUR, "get after replace");
    },
  },
];
